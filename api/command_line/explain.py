"""`ledger explain`: one message's history in plain English, for who has to answer a customer."""

import sys
import time

import msgspec
from rich.padding import Padding
from rich.table import Table

from api.answers import event_answer
from api.command_line.history import MessageId, whole_history
from api.command_line.opening import opened
from api.command_line.terminal import STYLE_OF, AsJson, print_json, said, to_stdout, when
from api.explanation import Explanation, Happening
from api.explanation import explain as explanation_of
from ledger.message import external_reference, missing_sequences

INDENT = (0, 0, 0, 2)


def explain(message_id: MessageId, *, as_json: AsJson = False) -> None:
    """Explain a message: what happened, what it means now, and what to do next.

    Reads the log itself, so it is right even while read models are behind.

    For example:

    $ ledger explain msg_abc123

    Exit status: 0 explained; 1 the ledger holds nothing of that message;
    2 wrong usage or settings.
    """
    with opened() as ledger:
        entries = list(whole_history(ledger, message_id))
    explained = explanation_of(entries, now_us=time.time_ns() // 1_000)
    if as_json:
        print_json(_as_json(explained))
    else:
        _print(explained)


def _print(explained: Explanation) -> None:
    message = explained.message
    status = message.status.value
    _line(said(message.message_id, "bold").append("  ").append_text(said(status, STYLE_OF[status])))
    _indented(explained.meaning.means)
    if explained.failure_code is not None:
        _indented(f"The failure code is {explained.failure_code}.")
    if explained.failure:
        _indented("Red Cloud said: " + msgspec.json.encode(explained.failure).decode())
    if explained.meaning.does_not_mean is not None:
        _indented(explained.meaning.does_not_mean)
    reference = external_reference(message)
    if reference is not None:
        _indented(f"Your reference: {reference}")
    _heading("What happened, as it was recorded (UTC)")
    _print_happenings(explained.happenings)
    if explained.order is not None:
        _heading("The order")
        _indented(explained.order)
    for heading, lines in (("Worth knowing", explained.remarks), ("What to do next", explained.next_steps)):
        if lines:
            _heading(heading)
            for line in lines:
                _indented(f"- {line}")


def _print_happenings(happenings: tuple[Happening, ...]) -> None:
    if not sys.stdout.isatty():
        for happening in happenings:
            _indented(f"{when(happening.entry.event.receipt.received_at_us)}  {happening.what} ({happening.remark})")
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for happening in happenings:
        style = STYLE_OF[happening.entry.effect.value]
        received = said(when(happening.entry.event.receipt.received_at_us), "dim")
        table.add_row(received, said(happening.what), said(happening.remark, style))
    to_stdout().print(Padding(table, INDENT))


def _line(text: object) -> None:
    to_stdout().print(text, soft_wrap=not sys.stdout.isatty())


def _heading(text: str) -> None:
    _line("")
    _line(said(text, "bold"))


def _indented(text: str) -> None:
    if sys.stdout.isatty():
        to_stdout().print(Padding(said(text), INDENT))
    else:
        _line(said(f"  {text}"))


def _as_json(explained: Explanation) -> dict[str, object]:
    message = explained.message
    return {
        "messageId": message.message_id,
        "direction": message.direction,
        "status": message.status,
        "means": explained.meaning.means,
        "doesNotMean": explained.meaning.does_not_mean,
        "failureCode": explained.failure_code,
        "failure": explained.failure,
        "events": [
            event_answer(each.entry, masked=False) | {"what": each.what, "remark": each.remark}
            for each in explained.happenings
        ],
        "order": explained.order,
        "missingSequences": missing_sequences(message),
        "conflictingSequences": message.conflicting,
        "remarks": explained.remarks,
        "nextSteps": explained.next_steps,
    }
