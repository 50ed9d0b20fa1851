"""`ledger status`: where a message is now, or where it was, as the log has it."""

import sys
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer
from rich.padding import Padding

from api.answers import status_answer, written
from api.audit.acts import Act
from api.command_line.hints import or_what_else_it_is
from api.command_line.history import MessageId
from api.command_line.opening import opened_read_models
from api.command_line.terminal import STYLE_OF, AsJson, print_json, rows_without_lines, said, to_stderr, to_stdout
from api.command_line.witnessing import note
from api.explanation import MEANINGS
from api.visible import visible
from ledger.errors import MalformedQuestion
from ledger.json_values import JSONObject
from ledger.positions import Position
from ledger.times import asked_time
from projections.queries_messages import MessageStatus
from projections.read_models import ReadModels

SHOWN_FIRST = ("messageId", "status")


def status(
    message_id: MessageId,
    *,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="TIME|POSITION",
            help="As the ledger knew it then: RFC 3339 with a zone, or a position such as 0-17.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show where a message is now.

    For example:

    $ ledger status msg_abc123

    $ ledger status msg_abc123 --as-of 2026-11-23T16:00:00Z

    $ ledger status msg_abc123 --json | jq -r .failureCode

    Exit status: 0 shown; 1 nothing is known of that message, or was not yet;
    2 wrong usage or settings.
    """
    with or_what_else_it_is(message_id), opened_read_models() as read_models:
        found = _status(read_models, message_id, as_of)
    note(Act.READ_MESSAGE, message_id, asked={"asOf": as_of})
    if found.parked_from is not None:
        told = (
            f"the event at {found.parked_from} cannot be read, so this is the message as it was before it;"
            " `ledger history` shows all of them, and says what to do"
        )
        to_stderr().print(said(told, "yellow"), soft_wrap=True)
    shown = status_answer(found)
    if as_json:
        print_json(shown)
    else:
        _print(msgspec.to_builtins(shown), found)


def _status(read_models: ReadModels, message_id: str, as_of: str | None) -> MessageStatus:
    if as_of is None:
        return read_models.current_status(message_id)
    try:
        asked: Position | int = Position.parse(as_of)
    except MalformedQuestion:
        asked = asked_time("--as-of", as_of, ", or a position such as 0-17")
    try:
        return read_models.status_as_of(message_id, asked)
    except MalformedQuestion as error:
        raise MalformedQuestion(f"--as-of: {error}") from None


def _print(shown: JSONObject, found: MessageStatus) -> None:
    if not sys.stdout.isatty():
        for name, value in _members(shown):
            typer.echo(f"{name}\t{visible(value)}")
        return
    console, word = to_stdout(), found.message.status.value
    console.print(said(shown["messageId"], "bold").append("  ").append_text(said(word, STYLE_OF[word])))
    console.print(Padding(said(MEANINGS[found.message.status].means, "dim"), (0, 0, 1, 2)))
    table = rows_without_lines(2)
    for name, value in _members(shown):
        if name not in SHOWN_FIRST and value:
            table.add_row(said(name, "cyan"), said(value))
    console.print(Padding(table, (0, 0, 0, 2)))


def _members(shown: JSONObject) -> Iterator[tuple[str, str]]:
    """Members of members by their path, e.g. `failure.code`; null and empty lists are empty."""
    for name, value in shown.items():
        match value:
            case dict():
                yield from ((f"{name}.{inner}", text) for inner, text in _members(value))
            case None | []:
                yield name, ""
            case _:
                yield name, written(value)
