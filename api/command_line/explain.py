"""`ledger explain`: one message's history in plain English, for who has to answer a customer."""

import sys
from collections.abc import Iterator, Sequence

from msgspec.structs import asdict
from rich.padding import Padding

from api.answers import event_answer, written
from api.audit.acts import Act
from api.command_line.hints import or_what_else_it_is
from api.command_line.history import MessageId
from api.command_line.opening import opened
from api.command_line.terminal import STYLE_OF, AsJson, print_json, rows_without_lines, said, to_stdout, when
from api.command_line.witnessing import note
from api.explanation import Explanation, Happening, known_of
from api.explanation import explain as explanation_of
from api.promise import Promise, Step
from api.shapes import HistoryEvent
from ledger.clock import now_us
from ledger.durations import took
from ledger.events import InboundMessageReceived
from ledger.json_values import parse_object
from ledger.log_entries import LogEntry, UnreadableEntry
from ledger.message import Message, external_reference, missing_sequences
from ledger.times import write_time
from projections.failures import is_code

INDENT = (0, 0, 0, 2)
DAY_CHARACTERS = len("2026-01-31")
TIME_CHARACTERS = len("2026-01-31 16:00:00.000")


class ExplainedEvent(HistoryEvent, kw_only=True):
    """An event as a history shows it, in words, and what is odd about it."""

    what: str
    remark: str


def explain(message_id: MessageId, *, as_json: AsJson = False) -> None:
    """Explain a message: what happened, what it means now, and what to do next.

    Reads the log itself, so it is right even while read models are behind.

    For example:

    $ ledger explain msg_abc123

    Exit status: 0 explained; 1 the ledger holds nothing of that message;
    2 wrong usage or settings.
    """
    with or_what_else_it_is(message_id), opened() as ledger:
        entries = list(ledger.whole_history(message_id))
    note(Act.READ_MESSAGE, message_id, items=len(entries))
    explained = explanation_of(known_of(message_id, entries), entries, now_us=now_us())
    if as_json:
        print_json(_as_json(explained))
    else:
        _print(explained)


def _print(explained: Explanation) -> None:
    message = explained.message
    status = message.status.value
    _line(said(message.message_id, "bold").append("  ").append_text(said(status, STYLE_OF[status])))
    if explained.caution is not None:
        _indented(explained.caution)
    _indented(explained.meaning.means)
    _print_failure(explained)
    if explained.meaning.does_not_mean is not None:
        _indented(explained.meaning.does_not_mean)
    _print_whose(message)
    _print_text(explained.happenings)
    _print_promise(explained)
    _print_happenings(explained.happenings)
    if explained.order is not None:
        _heading("The order")
        _indented(explained.order)
    for heading, lines in (("Worth knowing", explained.remarks), ("What to do next", explained.next_steps)):
        if lines:
            _heading(heading)
            _print_points(lines)


def _print_failure(explained: Explanation) -> None:
    if explained.failure is None:
        return
    code = (explained.failure_code or "").strip()
    told = f"{'Failure code' if is_code(code) else 'Failure'}: {code}. " if code else ""
    _indented(f"{told}Red Cloud said:" if explained.failure else "Red Cloud gave no details.")
    for name, value in explained.failure.items():
        _indented(f"{name}: {written(value)}", deeper=2)


def _print_whose(message: Message) -> None:
    """What it is known by elsewhere."""
    conversation = None if message.inbound is None else message.inbound.conversation_id
    told = (
        ("Your reference", external_reference(message)),
        ("From", _sender(message)),
        ("To", _recipient(message)),
        ("Conversation", conversation),
    )
    for name, value in told:
        if value is not None:
            _indented(f"{name}: {value}")


def _print_text(happenings: Sequence[Happening]) -> None:
    """What a customer wrote."""
    events = (each.entry.event for each in happenings if isinstance(each.entry, LogEntry))
    first = next((event for event in events if isinstance(event, InboundMessageReceived)), None)
    text = None if first is None else parse_object(first.receipt.body).get("body")
    if isinstance(text, str) and text:
        _heading("What the customer wrote")
        for line in text.splitlines():
            _indented(line)


def _print_promise(explained: Explanation) -> None:
    if not explained.steps:
        return
    _heading("What was promised, and when it became true (UTC)")
    table = rows_without_lines(2)
    for at_us, what in _promise_lines(explained):
        time_ = "" if at_us is None else when(at_us)
        if sys.stdout.isatty():
            table.add_row(said(time_, "dim"), said(what))
        else:
            _indented(f"{time_:{TIME_CHARACTERS}}  {what}")
    if table.row_count:
        to_stdout().print(Padding(table, INDENT))
    times = [step.at_us for step in explained.steps if step.at_us is not None]
    if any(step.is_superseded for step in explained.steps):
        _indented(
            "The steps stand as on a message's usual way; those that are superseded were told, and do not hold any more."
        )
    elif times != sorted(times):
        _indented(
            "The steps stand in the order that was meant, whatever their times say: webhooks overtake each other."
        )


def _promise_lines(explained: Explanation) -> Iterator[tuple[int | None, str]]:
    promise = explained.promise
    if promise is None:
        yield None, "promised: not known here, as nobody handed the request over (POST /sends)"
    else:
        yield promise.at_us, f"promised: Red Cloud answered {promise.answer} to the request {promise.idempotency_key}"
    for step in explained.steps:
        superseded = "; superseded by a higher sequence" if step.is_superseded else ""
        yield step.at_us, f"{step.status.value}{_since(step, promise)}{superseded}"


def _since(step: Step, promise: Promise | None) -> str:
    if step.at_us is None:
        lasts = "" if promise is None or promise.waiting_us is None else f" for {took(promise.waiting_us)}"
        return f": outstanding{lasts}" if step.is_outstanding else ": never heard of"
    told = "as Red Cloud told" if step.is_told_time else "as received"
    if promise is None:
        return f" ({told})"
    return (
        f", {'before' if step.after_us is None else took(step.after_us) + ' after'} the promise was recorded ({told})"
    )


def _print_happenings(happenings: Sequence[Happening]) -> None:
    times = [_recorded(each) for each in happenings]
    days = {time[:DAY_CHARACTERS] for time in times if time}
    if len(days) == 1:
        _heading(f"What happened on {days.pop()}, as it was recorded (UTC)")
        times = [time[DAY_CHARACTERS:].strip() for time in times]
    else:
        _heading("What happened, as it was recorded (UTC)")
    width = max(map(len, times), default=0)
    table = rows_without_lines(3)
    for time_, happening in zip(times, happenings, strict=True):
        if sys.stdout.isatty():
            style = STYLE_OF[happening.entry.effect.value]
            table.add_row(said(time_, "dim"), said(happening.what), said(happening.remark, style))
        else:
            _indented(f"{time_:{width}}  {happening.what} ({happening.remark})")
    if table.row_count:
        to_stdout().print(Padding(table, INDENT))


def _recorded(happening: Happening) -> str:
    """When; empty where that cannot be read."""
    entry = happening.entry
    return "" if isinstance(entry, UnreadableEntry) else when(entry.event.receipt.recorded_at_us)


def _print_points(lines: Sequence[str]) -> None:
    table = rows_without_lines(2, gap=1)
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


def _sender(message: Message) -> str | None:
    return None if message.inbound is None else message.inbound.sender


def _recipient(message: Message) -> str | None:
    if message.inbound is not None:
        return message.inbound.recipient
    return None if message.acceptance is None else message.acceptance.recipient


def _as_json(explained: Explanation) -> dict[str, object]:
    message = explained.message
    return {
        "messageId": message.message_id,
        "direction": message.direction,
        "from": _sender(message),
        "to": _recipient(message),
        "status": message.status,
        "means": explained.meaning.means,
        "doesNotMean": explained.meaning.does_not_mean,
        "caution": explained.caution,
        "failureCode": explained.failure_code,
        "failure": explained.failure,
        "promise": None if explained.promise is None else _promise_as_json(explained.promise),
        "steps": [_step_as_json(each) for each in explained.steps],
        "events": [
            ExplainedEvent(what=each.what, remark=each.remark, **asdict(event_answer(each.entry, masked=False)))
            for each in explained.happenings
        ],
        "order": explained.order,
        "missingSequences": missing_sequences(message),
        "conflictingSequences": message.conflicting,
        "remarks": explained.remarks,
        "nextSteps": explained.next_steps,
    }


def _promise_as_json(promise: Promise) -> dict[str, object]:
    return {
        "promisedAt": write_time(promise.at_us),
        "answer": promise.answer,
        "idempotencyKey": promise.idempotency_key,
        "outstandingSeconds": _seconds(promise.waiting_us),
    }


def _step_as_json(step: Step) -> dict[str, object]:
    return {
        "status": step.status,
        "at": None if step.at_us is None else write_time(step.at_us),
        "isTimeOfRedCloud": step.is_told_time,
        "secondsAfterPromise": _seconds(step.after_us),
        "isOutstanding": step.is_outstanding,
        "isSuperseded": step.is_superseded,
    }


def _seconds(time_us: int | None) -> float | None:
    return None if time_us is None else time_us / 1_000_000
