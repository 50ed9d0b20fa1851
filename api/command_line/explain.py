"""`ledger explain`: one message's history in plain English, for who has to answer a customer."""

import sys
import time
from collections.abc import Sequence

import msgspec
from rich.padding import Padding
from rich.table import Table

from api.answers import event_answer
from api.command_line.history import MessageId
from api.command_line.opening import opened
from api.command_line.terminal import STYLE_OF, AsJson, print_json, said, to_stdout, when
from api.explanation import Explanation, Happening
from api.explanation import explain as explanation_of
from ledger.message import external_reference, missing_sequences

INDENT = (0, 0, 0, 2)
DAY_CHARACTERS = len("2026-01-31")


def explain(message_id: MessageId, *, as_json: AsJson = False) -> None:
    """Explain a message: what happened, what it means now, and what to do next.

    Reads the log itself, so it is right even while read models are behind.

    For example:

    $ ledger explain msg_abc123

    Exit status: 0 explained; 1 the ledger holds nothing of that message;
    2 wrong usage or settings.
    """
    with opened() as ledger:
        entries = list(ledger.whole_history(message_id))
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
        _indented(f"Failure code: {explained.failure_code}. Red Cloud said:")
    for name, value in (explained.failure or {}).items():
        _indented(f"{name}: {value if isinstance(value, str) else msgspec.json.encode(value).decode()}", deeper=2)
    if explained.meaning.does_not_mean is not None:
        _indented(explained.meaning.does_not_mean)
    reference = external_reference(message)
    if reference is not None:
        _indented(f"Your reference: {reference}")
    _print_happenings(explained.happenings)
    if explained.order is not None:
        _heading("The order")
        _indented(explained.order)
    for heading, lines in (("Worth knowing", explained.remarks), ("What to do next", explained.next_steps)):
        if lines:
            _heading(heading)
            _print_points(lines)


def _print_happenings(happenings: Sequence[Happening]) -> None:
    times = [when(each.entry.event.receipt.received_at_us) for each in happenings]
    days = {time[:DAY_CHARACTERS] for time in times}
    if len(days) == 1:
        _heading(f"What happened on {days.pop()}, as it was recorded (UTC)")
        times = [time[DAY_CHARACTERS:].strip() for time in times]
    else:
        _heading("What happened, as it was recorded (UTC)")
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for time_, happening in zip(times, happenings, strict=True):
        if sys.stdout.isatty():
            style = STYLE_OF[happening.entry.effect.value]
            table.add_row(said(time_, "dim"), said(happening.what), said(happening.remark, style))
        else:
            _indented(f"{time_}  {happening.what} ({happening.remark})")
    if table.row_count:
        to_stdout().print(Padding(table, INDENT))


def _print_points(lines: Sequence[str]) -> None:
    table = Table(show_header=False, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for line in lines:
        if sys.stdout.isatty():
            table.add_row("-", said(line))
        else:
            _indented(f"- {line}")
    if table.row_count:
        to_stdout().print(Padding(table, INDENT))


def _line(text: object) -> None:
    to_stdout().print(text, soft_wrap=not sys.stdout.isatty())


def _heading(text: str) -> None:
    _line("")
    _line(said(text, "bold"))


def _indented(text: str, *, deeper: int = 0) -> None:
    if sys.stdout.isatty():
        to_stdout().print(Padding(said(text), (0, 0, 0, INDENT[-1] + deeper)))
    else:
        _line(said(" " * (INDENT[-1] + deeper) + text))


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
