"""`ledger tail`: the feed, live, beside a running server or without one."""

import sys
import time
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from api.answers import feed_event_answer
from api.audit.acts import Act
from api.command_line.opening import opened
from api.command_line.terminal import STYLE_OF, said, to_stdout, when
from api.command_line.witnessing import note
from api.visible import visible
from ledger.events import event_type_of, sequence_of
from ledger.ledger import Ledger
from ledger.log_entries import Entry, UnreadableEntry
from ledger.positions import Cursor
from ledger.provider import Effect

POLL_S = 0.25
PAGE_EVENTS = 500
LAST_EVENTS, LAST_EVENTS_MAX = 10, 1_000_000


def tail(
    *,
    lines: Annotated[
        int,
        typer.Option("--lines", "-n", min=0, max=LAST_EVENTS_MAX, help="How many of the latest events to begin with."),
    ] = LAST_EVENTS,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Go on with every new event until Ctrl-C, or end there.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines, in the shape of the feed's events.")
    ] = False,
) -> None:
    """Show events as they are recorded, in the order of the feed.

    With several partitions, order holds within each of them.

    For example:

    $ ledger tail

    $ ledger tail -n 1000 --no-follow --json | jq -r .messageId

    Exit status: 0 at the end; 130 after Ctrl-C.
    """
    with opened() as ledger:
        events = _events(ledger, _latest(ledger, lines), follow=follow)
        if as_json:
            _print_all_as_json(events, lines)
        else:
            for entry in events:
                _print(entry)


def _latest(ledger: Ledger, lines: int) -> Cursor:
    """The cursor so far before the end, shared out evenly over the partitions."""
    heads = ledger.heads()
    share = -(-lines // len(heads))
    return Cursor(tuple(max(0, head.position - share) for head in heads))


def _events(ledger: Ledger, cursor: Cursor, *, follow: bool) -> Iterator[Entry]:
    """Ends at the end of the log, or never: Ctrl-C ends it."""
    while True:
        page, cursor = ledger.feed(cursor, PAGE_EVENTS)
        yield from page
        if not page and not follow:
            return
        if not page:
            sys.stdout.flush()
            time.sleep(POLL_S)


def _print_all_as_json(events: Iterator[Entry], lines: int) -> None:
    """With bodies, so that the audit trail knows beforehand, and how many there were at the end."""
    note(Act.FOLLOW_FEED, asked={"lines": lines})
    items = 0
    try:
        for entry in events:
            _print_json(entry)
            items += 1
    finally:
        note(Act.FOLLOW_FEED, outcome="ended", items=items)


def _print_json(entry: Entry) -> None:
    line = msgspec.json.encode(feed_event_answer(entry, masked=False)).decode()
    line = line.replace("\r", " ").replace(
        "\n", " "
    )  # white space between the tokens of a raw body; a line is an event
    typer.echo(visible(line) if sys.stdout.isatty() else line)


def _print(entry: Entry) -> None:
    told = _told(entry)
    if not sys.stdout.isatty():
        typer.echo("\t".join(visible(each).strip() for each in told))
        return
    line = said("  ").join([said(each, STYLE_OF.get(each.strip(), "")) for each in told])
    to_stdout().print(line, soft_wrap=True)


def _told(entry: Entry) -> tuple[str, ...]:
    """The columns of an event."""
    if isinstance(entry, UnreadableEntry):
        what, effect = f"({entry.topic})", Effect.UNREADABLE.value
        return "", f"{entry.position!s:>9}", f"{what:<17}", "    ", f"{effect:<11}", entry.message_id or "(unknown)"
    event = entry.event
    sequence = sequence_of(event)
    return (
        when(event.receipt.recorded_at_us),
        f"{entry.position!s:>9}",
        f"{event_type_of(event):<17}",
        f"{'' if sequence is None else sequence:>4}",
        f"{entry.effect.value:<11}",
        event.message_id,
    )
