"""A message's history in plain English: what happened, in which order it was meant and came, what it means now, what to do.

Pure: the history and the clock are arguments. The command line prints it; whoever else explains a message can use the same words.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, assert_never

from api.contradictions import (
    Contradictions,
    contradiction_remarks,
    contradiction_steps,
    is_disputed,
    listed,
)
from api.promise import Promise, Step, promise_of, steps_of
from ledger.durations import DAY_S, HOUR_S, MINUTE_S, SECOND_US
from ledger.events import (
    InboundMessageReceived,
    MessageDelivered,
    MessageFailed,
    MessageQueued,
    MessageSent,
    OutboundReported,
    RequestAccepted,
    UnknownKindReported,
    event_type_of,
    sequence_of,
)
from ledger.log_entries import WHY_UNREADABLE, Entry, LogEntry, UnreadableEntry
from ledger.message import MISSING_SEQUENCES_SHOWN_MAX, Fold, Message, missing_sequences
from ledger.positions import Position
from ledger.provider import Effect, Status
from projections.failures import failure_code, failure_details, is_code
from projections.stuck import STUCK_AFTER_S

RETRIES_END_US = (1 + 5 + 15 + 60) * MINUTE_S * SECOND_US
"""Red Cloud's last attempt at a webhook comes 81 minutes after the first."""
QUOTED_CHARACTERS_MAX = 160


class Meaning(NamedTuple):
    """What a status says, and what it must not be taken for."""

    means: str
    does_not_mean: str | None


NOT_READ = Meaning("Nothing is known of its delivery, because an event of it cannot be read.", None)
MEANINGS: Mapping[Status, Meaning] = {
    Status.UNKNOWN: Meaning(
        "Only events of kinds that this version does not know have come for it.",
        "It does not mean that something went wrong.",
    ),
    Status.SUBMITTED: Meaning(
        "Red Cloud accepted the request to send it. No step of its delivery has been heard of yet.",
        "It does not mean that it is on its way: this acceptance and the webhook message.queued are two different things.",
    ),
    Status.ACCEPTED: Meaning(
        "Red Cloud took it into its queue.",
        "It does not mean that a carrier has it, let alone the handset.",
    ),
    Status.SENT: Meaning(
        "Red Cloud took it into its send path.",
        "It does not mean that the handset has it: no delivery confirmation has come.",
    ),
    Status.DELIVERED: Meaning(
        "Red Cloud received a delivery confirmation for it.",
        "It does not mean that somebody has read it.",
    ),
    Status.FAILED: Meaning(
        "Red Cloud gave up on it. By its contract that is final: it will not be tried again by itself.",
        None,
    ),
    Status.RECEIVED: Meaning(
        "A customer wrote it, and it came in.",
        "It is a message of its own, not an answer within the lifecycle of one that you sent.",
    ),
}


class Known(NamedTuple):
    """What the events of a message that can be read make of it, the places of those that cannot be, and what does not hold."""

    message: Message
    unreadable: Sequence[Position]
    contradictions: Contradictions


def known_of(message_id: str, entries: Iterable[Entry]) -> Known:
    """What a whole history tells of its message."""
    folded, unreadable, contradictions = Fold(Message(message_id)), list[Position](), Contradictions()
    for entry in entries:
        if isinstance(entry, UnreadableEntry):
            unreadable.append(entry.position)
        else:
            effect = folded.add(entry.event)
            contradictions.add(entry.event, effect, entry.version, folded.direction)
    return Known(folded.message(), unreadable, contradictions)


@dataclass(frozen=True, slots=True)
class Happening:
    """One event in words; `remark` says what it changed, or why it changed nothing."""

    entry: Entry
    what: str
    remark: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A message explained. `failure` is as in `GET /messages/{messageId}`; `order` is None where it came as it was meant.

    `caution` says which events cannot be read, so that all the rest is told without them.
    `steps` are those of an outbound message, heard of or not.
    """

    message: Message
    meaning: Meaning
    caution: str | None
    failure_code: str | None
    failure: Mapping[str, object] | None
    promise: Promise | None
    steps: tuple[Step, ...]
    happenings: tuple[Happening, ...]
    order: str | None
    remarks: tuple[str, ...]
    next_steps: tuple[str, ...]


def explain(known: Known, entries: Sequence[Entry], *, now_us: int) -> Explanation:
    """Explains a history, in the order of recording; `now_us` is microseconds since 1970.

    The entries may be only its beginning; `known` is of all of it: the first events alone would tell an old status for the
    present one.
    """
    message, unreadable, _ = known
    events = [entry for entry in entries if isinstance(entry, LogEntry)]
    failure = None if message.failure_body is None else failure_details(message.failure_body)
    code = None if failure is None else failure_code(failure)
    promise = promise_of(message, now_us=now_us)
    return Explanation(
        message=message,
        meaning=NOT_READ if unreadable and message.status is Status.UNKNOWN else MEANINGS[message.status],
        caution=_caution(unreadable),
        failure_code=code,
        failure=failure,
        promise=promise,
        steps=tuple(steps_of(message, events, promise)),
        happenings=tuple(_happenings(entries)),
        order=_order(events),
        remarks=tuple(_remarks(known, events)),
        next_steps=tuple(_next_steps(known, failure, code, now_us)),
    )


def _caution(unreadable: Sequence[Position]) -> str | None:
    if not unreadable:
        return None
    if len(unreadable) == 1:
        return f"The event at {unreadable[0]} cannot be read: {WHY_UNREADABLE}. All of this is told without it."
    return (
        f"{len(unreadable)} events cannot be read, the first of them at {unreadable[0]}: {WHY_UNREADABLE}."
        " All of this is told without them."
    )


def _happenings(entries: Sequence[Entry]) -> Iterator[Happening]:
    first_kinds: dict[int, str] = {}
    highest: int | None = None
    is_created = False
    for entry in entries:
        yield Happening(entry, _what(entry), _remark(entry, first_kinds, highest, is_created=is_created))
        is_created = is_created or entry.effect is Effect.CREATED
        if isinstance(entry, LogEntry) and isinstance(entry.event, OutboundReported):
            first_kinds.setdefault(entry.event.sequence, event_type_of(entry.event))
            if entry.effect is Effect.APPLIED:
                highest = entry.event.sequence


def _what(entry: Entry) -> str:  # noqa: PLR0911 - one a kind
    if isinstance(entry, UnreadableEntry):
        return f"Something was recorded, and stored as {entry.topic!r}."
    event = entry.event
    match event:
        case RequestAccepted():
            return f"Your application: Red Cloud accepted the request ({event.status})."
        case MessageQueued():
            return "Red Cloud took it into its queue."
        case MessageSent():
            return "Red Cloud took it into its send path."
        case MessageDelivered():
            return "Red Cloud received a delivery confirmation."
        case MessageFailed():
            return "Red Cloud gave up on it."
        case InboundMessageReceived():
            return f"A customer ({event.sender or 'number not told'}) wrote it."
        case UnknownKindReported():
            return f"Red Cloud reported {event.event_type!r}, a kind that this version does not know."
        case _:
            assert_never(event)


def _remark(  # noqa: PLR0911 - one an effect
    entry: Entry, first_kinds: Mapping[int, str], highest: int | None, *, is_created: bool
) -> str:
    if isinstance(entry, UnreadableEntry) or entry.effect is Effect.UNREADABLE:
        return "this version of the ledger cannot read it"
    sequence = sequence_of(entry.event)
    match entry.effect:
        case Effect.APPLIED:
            return f"applied: {STATUS_WORDS[event_type_of(entry.event)]}"
        case Effect.CREATED:
            return "created: received"
        case Effect.SUPERSEDED:
            return f"changed nothing: sequence {highest} had come before"
        case Effect.REPEATED:
            return f"changed nothing: sequence {sequence} had come before, in another body"
        case Effect.CONFLICTING if sequence is not None and sequence in first_kinds:
            return f"changed nothing: sequence {sequence} was {first_kinds[sequence]} before, and the first one holds"
        case Effect.CONFLICTING if is_created and isinstance(entry.event, InboundMessageReceived):
            return "changed nothing: it had come before, in another body, and the first one holds"
        case Effect.CONFLICTING:
            return "changed nothing: it contradicts what the message was when it was first heard of"
        case Effect.NOTED:
            return "noted; no step of the delivery"
        case _:
            assert_never(entry.effect)


STATUS_WORDS = {
    "message.queued": Status.ACCEPTED.value,
    "message.sent": Status.SENT.value,
    "message.delivery": Status.DELIVERED.value,
    "message.failed": Status.FAILED.value,
}


def _order(entries: Sequence[LogEntry]) -> str | None:
    came = [entry.event.sequence for entry in entries if isinstance(entry.event, OutboundReported)]
    distinct = list(dict.fromkeys(came))
    if distinct == sorted(distinct):
        return None
    return f"Meant as {listed(sorted(distinct))}; came as {listed(distinct)}. Only the order that was meant counts."


def _remarks(known: Known, entries: Sequence[LogEntry]) -> Iterator[str]:
    message = known.message
    if known.unreadable:
        first = known.unreadable[0]
        yield f"Behind: GET /messages, ledger status and lists are without the event at {first} and all after it."
    if missing := missing_sequences(message):
        more = " and more" if len(missing) == MISSING_SEQUENCES_SHOWN_MAX else ""
        is_one = len(missing) == 1 and not more
        never = ("was" if is_one else "were") + " never read"
        if not known.unreadable:
            never = ("has" if is_one else "have") + " never come"
        yield f"Missing: sequence {listed(missing)}{more} {'lies' if is_one else 'lie'} between others and {never}."
    yield from contradiction_remarks(message, known.contradictions)
    late = [entry.version for entry in entries if entry.event.receipt.late]
    if late:
        yield (
            f"Late: event {listed(late)} came long after (or before) the time that its signature carries."
            " A retry of Red Cloud's, or a clock that is wrong."
        )
    replayed = [entry.version for entry in entries if entry.event.receipt.replayed_at_us is not None]
    if replayed:
        yield f"Replayed: event {listed(replayed)} had been received before, and waited in quarantine until it could be read."
    repeated = sum(entry.effect is Effect.REPEATED for entry in entries)
    if repeated:
        yield f"Repeated: {repeated} of the events came with the kind and sequence of one before, in another body. The first one holds."
    if message.acceptance is None and message.status not in (Status.RECEIVED, Status.UNKNOWN):
        yield "Your application never handed over the request to send it (POST /sends), so what was promised is not known here."


def _next_steps(known: Known, failure: Mapping[str, object] | None, code: str | None, now_us: int) -> Iterator[str]:
    message, unreadable, contradictions = known
    if unreadable:
        yield f"Tell the operator of this ledger that the event at {unreadable[0]} cannot be read: {WHY_UNREADABLE}."
    silent_us = now_us - message.updated_at_us
    reference = message.provider_message_ref
    asked = list(contradiction_steps(message, contradictions))
    yield from asked
    if (step := _step_of(message, failure, code, silent_us)) and not (asked and message.status in STUCK_AFTER_S):
        yield step
    # Else what is missing may be what cannot be read.
    if missing_sequences(message) and not unreadable:
        yield _told_of_missing(silent_us)
    if is_disputed(message, contradictions):
        yield "Ask Red Cloud which of the conflicting reports is true."
    if reference is not None and message.status is not Status.DELIVERED:
        yield f"When you ask Red Cloud, quote its reference {reference.text}."


def _step_of(message: Message, failure: Mapping[str, object] | None, code: str | None, silent_us: int) -> str | None:
    """What its status alone asks for."""
    match message.status:
        case Status.FAILED:
            return (
                f"{_told_of_failure(failure, code)}; then correct the cause, and send a new message: this one is over."
            )
        case Status.SUBMITTED | Status.ACCEPTED | Status.SENT:
            return _step_while_silent(message.status, silent_us)
        case Status.UNKNOWN:
            return "Look whether a newer version of this program knows the kind."
        case Status.DELIVERED | Status.RECEIVED:
            return None
        case _:
            assert_never(message.status)


def _step_while_silent(status: Status, silent_us: int) -> str:
    if silent_us > RETRIES_END_US:
        return (
            f"Nothing has come for {_lasting(silent_us)}, and Red Cloud's retries of a webhook end after 81 minutes:"
            " ask Red Cloud what became of it."
        )
    if silent_us > STUCK_AFTER_S[status] * SECOND_US:
        return (
            f"It is stuck: the last word is {_lasting(silent_us)} old. Look whether Red Cloud's deliveries reach this ledger"
            " (docs/RUNBOOK.md); a webhook may be retried for 81 minutes."
        )
    return f"Wait: the last word is {_lasting(silent_us)} old, and webhooks may be retried for 81 minutes."


def _told_of_missing(silent_us: int) -> str:
    if silent_us <= RETRIES_END_US:
        return "The missing webhooks may still be retried; look again later."
    return (
        "The missing webhooks will not come any more: look whether Red Cloud's deliveries to this ledger failed then."
    )


def _told_of_failure(failure: Mapping[str, object] | None, code: str | None) -> str:
    if not failure:
        return "Ask Red Cloud why, as it gave no details"
    if code is None or not code.strip():
        return "Read the failure above"
    if is_code(code):
        return f"Look up the code {code} with Red Cloud"
    short = code if len(code) <= QUOTED_CHARACTERS_MAX else f"{code[:QUOTED_CHARACTERS_MAX]} …"
    return f"Ask Red Cloud what it means by “{short}”"


def _lasting(time_us: int) -> str:
    seconds = max(0, time_us // SECOND_US)
    if seconds < MINUTE_S:
        return "less than a minute"
    for unit_s, one, upper_s in ((MINUTE_S, "minute", HOUR_S), (HOUR_S, "hour", 2 * DAY_S), (DAY_S, "day", None)):
        if upper_s is None or seconds < upper_s:
            count = seconds // unit_s
            return f"{count} {one}" if count == 1 else f"{count} {one}s"
    raise AssertionError(time_us)
