"""What was promised of a message, and when it became true: the request's acceptance, and each step of the delivery after it.

Pure: the history and the clock are arguments. The two layers stay apart: an acceptance promises that Red Cloud tries, and no
step is taken for true before its webhook has come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ledger.events import MessageEvent, OutboundReported, event_type_of, occurred_at_us_of
from ledger.log_entries import LogEntry
from ledger.message import Message
from ledger.provider import Direction, Effect, Kind, Status

WAY = (Status.ACCEPTED, Status.SENT, Status.DELIVERED)
"""The way of an outbound message that goes well."""
ENDS = frozenset({Status.DELIVERED, Status.FAILED})
KIND_OF: Mapping[Status, Kind] = {
    Status.ACCEPTED: Kind.QUEUED,
    Status.SENT: Kind.SENT,
    Status.DELIVERED: Kind.DELIVERY,
    Status.FAILED: Kind.FAILED,
}


class Step(NamedTuple):
    """A step of the delivery. `at_us` is when it became true, as Red Cloud told or else as we received it; None: never heard of.

    `after_us` is the time from the promise; None where there is neither or the clocks do not agree. `is_outstanding` says that
    it has not come, and that nothing after it has either. `is_superseded`: it was told, and a higher sequence told of an earlier
    step, or of the other end.
    """

    status: Status
    at_us: int | None
    is_told_time: bool
    is_now: bool
    after_us: int | None
    is_outstanding: bool
    is_superseded: bool


@dataclass(frozen=True, slots=True)
class Promise:
    """An acceptance and what became of it. `at_us` is when the request was handed over to us.

    `waiting_us` is how long an end has been outstanding; None once there is one.
    """

    at_us: int
    answer: str
    idempotency_key: str
    waiting_us: int | None

    def since(self, at_us: int) -> int | None:
        """The time from the promise to a moment; None for one that lies before it."""
        return at_us - self.at_us if at_us >= self.at_us else None


def promise_of(message: Message, *, now_us: int) -> Promise | None:
    """What was promised; None where nobody handed it over, or a customer wrote the message."""
    acceptance = message.acceptance
    if acceptance is None or message.direction is not Direction.OUTBOUND:
        return None
    waiting_us = None if message.status in ENDS else max(0, now_us - acceptance.recorded_at_us)
    return Promise(acceptance.recorded_at_us, acceptance.status, acceptance.idempotency_key, waiting_us)


def steps_of(message: Message, entries: Sequence[LogEntry], promise: Promise | None) -> list[Step]:
    """The steps of the way that an outbound message takes, those that nobody has heard of among them."""
    if message.direction is not Direction.OUTBOUND:
        return []
    heard = _heard(message, entries)
    way = _way(message.status, heard)
    now = way.index(message.status) if message.status in way else len(way)
    last = max((number for number, status in enumerate(way) if KIND_OF[status] in heard), default=-1)
    steps = []
    for number, status in enumerate(way):
        at_us, is_told = heard.get(KIND_OF[status], (None, False))
        after_us = None if at_us is None or promise is None else promise.since(at_us)
        is_superseded = at_us is not None and (number > now or (number < now and status in ENDS))
        steps.append(
            Step(
                status,
                at_us,
                is_told,
                message.status is status,
                after_us,
                is_outstanding=number > last,
                is_superseded=is_superseded,
            )
        )
    return steps


def _heard(message: Message, entries: Sequence[LogEntry]) -> dict[str, tuple[int, bool]]:
    """When each kind was first heard of."""
    heard: dict[str, tuple[int, bool]] = {}
    for entry in entries:
        if isinstance(entry.event, OutboundReported) and entry.effect is not Effect.CONFLICTING:
            heard.setdefault(event_type_of(entry.event), _happened(entry.event))
    if message.status in KIND_OF:  # it may stand beyond the entries
        heard.setdefault(KIND_OF[message.status], (message.status_changed_at_us, False))
    return heard


def _way(status: Status, heard: Mapping[str, object]) -> Sequence[Status]:
    """The steps that go well, and a failure that was told; the end that holds is the last one."""
    if Kind.FAILED not in heard:
        return WAY
    begun = (Status.ACCEPTED, Status.SENT) if Kind.SENT in heard else (Status.ACCEPTED,)
    if status is not Status.FAILED:
        return (*begun, Status.FAILED, Status.DELIVERED)
    return (*begun, Status.DELIVERED, Status.FAILED) if Kind.DELIVERY in heard else (*begun, Status.FAILED)


def _happened(event: MessageEvent) -> tuple[int, bool]:
    """When something happened, and whether Red Cloud told; else it is when it was received."""
    at_us = occurred_at_us_of(event)
    return (event.receipt.received_at_us, False) if at_us is None else (at_us, True)
