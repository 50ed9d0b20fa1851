"""The page of a message: what its status means, the promise and what became of it, both orders, and every event.

Read from the log itself and never from a read model, so it is right even while read models are behind.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from starlette.responses import Response

from api.answers import written
from api.console.listed import party_of
from api.console.order import order_of
from api.console.rendering import day_of
from api.console.visit import Visit
from api.console.written import Written, written_of
from api.explanation import Explanation, Happening, explain, known_of
from api.promise import ENDS
from ledger.clock import now_us
from ledger.errors import UnreadableBody
from ledger.events import event_type_of, occurred_at_us_of, sequence_of
from ledger.json_values import parse_object
from ledger.log_entries import LogEntry, UnreadableEntry
from ledger.message import external_reference, missing_sequences, number_id
from ledger.provider import Direction, Effect, Status
from projections.failures import is_code

WORDS: Mapping[Status, tuple[str, str]] = {
    Status.ACCEPTED: ("Accepted", "taken into Red Cloud's queue"),
    Status.SENT: ("Sent", "taken into Red Cloud's send path"),
    Status.DELIVERED: ("Delivered", "a delivery confirmation came"),
    Status.FAILED: ("Failed", "given up by Red Cloud"),
}
"""Each step of the delivery in a word, and what it means."""
HEADLINES: Mapping[Status, str] = {
    Status.UNKNOWN: "known by events of unknown kinds alone",
    Status.SUBMITTED: "your request was accepted; nothing has been heard of the message yet",
    Status.ACCEPTED: "taken into Red Cloud's queue; not yet into its send path",
    Status.SENT: "taken into Red Cloud's send path; no delivery confirmation has come",
    Status.DELIVERED: "delivery was confirmed",
    Status.FAILED: "Red Cloud gave up; it will not be tried again by itself",
    Status.RECEIVED: "a customer wrote this",
}


class Event(NamedTuple):
    """An event as a row of the page."""

    version: int
    kind: str
    sequence: int | None
    effect: Effect
    late: bool
    received_at_us: int | None
    replayed_at_us: int | None
    occurred_at_us: int | None
    remark: str


def message_page(visit: Visit) -> Response:
    """A message."""
    message_id = visit.id_in("messageId")
    ledger = visit.service.ledger
    entries, is_cut = ledger.history_page(message_id)
    known = known_of(message_id, ledger.whole_history(message_id) if is_cut else entries)
    explained = explain(known, entries, now_us=now_us())
    events = [entry for entry in entries if isinstance(entry, LogEntry)]
    message = explained.message
    code = explained.failure_code
    visit.tell(items=len(entries))
    return visit.page(
        "message.html",
        message=message,
        headline=_headline(explained),
        explained=explained,
        remarks=[visit.said(remark) for remark in explained.remarks],
        next_steps=[visit.said(step) for step in explained.next_steps],
        failure_code=None if code is None else visit.said(code),
        failure_is_code=code is not None and is_code(code),
        failure=list(_details(visit, explained)),
        party=visit.phone(party_of(message)),
        party_whole=None if visit.masked else party_of(message),
        own_number=number_id(message),
        reference=external_reference(message),
        written=_written(visit, events),
        is_inbound=message.direction is Direction.INBOUND,
        is_outbound=message.direction is Direction.OUTBOUND,
        step_words=WORDS,
        promise=explained.promise,
        steps=explained.steps,
        end=next((step for step in explained.steps if step.is_now and step.status in ENDS), None),
        recipient=visit.phone(message.acceptance.recipient) if message.acceptance else None,
        order=None if known.unreadable else order_of(events),
        missing=missing_sequences(message),
        events=[_event(visit, each) for each in explained.happenings],
        day=_day(events),
        event_count=message.event_count + len(known.unreadable),
        is_cut=is_cut,
    )


def _headline(explained: Explanation) -> str:
    superseded = [WORDS[step.status][0].lower() for step in explained.steps if step.is_superseded]
    if not superseded:
        return HEADLINES[explained.message.status]
    return f"{WORDS[explained.message.status][1]}; it had been told as {' and '.join(superseded)} before, by a lower sequence"


def _written(visit: Visit, events: Sequence[LogEntry]) -> Written | None:
    """What a customer wrote; None for a message of ours, and where nobody can read it."""
    created = next((entry.event for entry in events if entry.effect is Effect.CREATED), None)
    if created is None:
        return None
    try:
        members = parse_object(created.receipt.body)
    except UnreadableBody:
        return None  # written by a program of its own, not received by us
    return written_of(visit, members.get("body"), members.get("media"))


def _details(visit: Visit, explained: Explanation) -> Iterator[tuple[str, str]]:
    """The members of the failure, as sent."""
    shown = visit.value(dict(explained.failure or {}))
    for name, value in _members(shown):
        if value is None:
            yield visit.said(name), "withheld" if visit.masked else "null"
        else:
            yield visit.said(name), visit.said(written(value))


def _members(value: object) -> Iterator[tuple[str, object]]:
    """Members with those of an object among them, by a path: `error.code`."""
    for name, member in value.items() if isinstance(value, dict) else ():
        if isinstance(member, dict) and member:
            yield from ((f"{name}.{below}", deeper) for below, deeper in member.items())
        else:
            yield name, member


def _event(visit: Visit, happening: Happening) -> Event:
    entry = happening.entry
    if isinstance(entry, UnreadableEntry):
        return Event(
            entry.version,
            visit.said(entry.topic),
            sequence=None,
            effect=entry.effect,
            late=False,
            received_at_us=None,
            replayed_at_us=None,
            occurred_at_us=None,
            remark=f"at {entry.position}: {happening.remark}",
        )
    return Event(
        entry.version,
        visit.said(event_type_of(entry.event)),
        sequence_of(entry.event),
        entry.effect,
        entry.event.receipt.late,
        entry.event.receipt.received_at_us,
        entry.event.receipt.replayed_at_us,
        occurred_at_us_of(entry.event),
        visit.said(_more(happening)),
    )


def _more(happening: Happening) -> str:
    """The remark without the word that the row shows already."""
    first, _, rest = happening.remark.partition(": ")
    if first == "changed nothing":
        return rest
    return "" if first == happening.entry.effect.value else happening.remark.removeprefix("noted; ")


def _day(entries: Sequence[LogEntry]) -> str | None:
    """The day of all times of a history, where it is one."""
    times = [entry.event.receipt.received_at_us for entry in entries]
    times += [entry.event.receipt.recorded_at_us for entry in entries]
    times += [at_us for entry in entries if (at_us := occurred_at_us_of(entry.event)) is not None]
    days = {day_of(time_us) for time_us in times}
    return days.pop() if len(days) == 1 else None
