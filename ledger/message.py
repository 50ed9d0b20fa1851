"""The functional aggregate: a message is what its events, folded in the order of the log, say of it.

`effect_of` is the provider's ordering rule and says what one event does to a message; `evolve` is the message after it;
`Fold` does both for many events. All are pure; the log, the read models, `history` and `asOf` all use these and nothing else.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple, assert_never

import msgspec

from ledger.events import (
    OUTBOUND_CLASSES,
    InboundMessageReceived,
    MessageEvent,
    MessageFailed,
    OutboundEvent,
    OutboundReported,
    RequestAccepted,
    UnknownKindReported,
)
from ledger.provider import STATUS_OF, Direction, Effect, Kind, Status

MISSING_SEQUENCES_SHOWN_MAX = 100


# What the fold of a large log looks up again and again, bound once: Enum members are found and hashed in Python.
_APPLIED, _SUPERSEDED, _REPEATED, _CONFLICTING = Effect.APPLIED, Effect.SUPERSEDED, Effect.REPEATED, Effect.CONFLICTING
_OUTBOUND, _INBOUND = Direction.OUTBOUND, Direction.INBOUND
_OUTBOUND_CLASSES = frozenset(OUTBOUND_CLASSES.values())
_STATUS_OF_CLASS = {OUTBOUND_CLASSES[kind]: status for kind, status in STATUS_OF.items()}


class Claim(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """That a sequence was claimed by an event of some kind."""

    sequence: int
    kind: Kind


class Reference(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A reference and the sequence of the event that carried it; the highest sequence wins, the first of equals holds."""

    text: str
    sequence: int


class RequestAcceptance(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Layer one of the state: what the provider answered when the message was handed over."""

    status: str
    recipient: str
    idempotency_key: str
    recorded_at_us: int
    number_id: str | None
    external_reference: str | None


class InboundMessage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who wrote to whom, in which conversation."""

    conversation_id: str | None
    number_id: str | None
    sender: str | None
    recipient: str | None


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of one message after some prefix of its events. `Message()` is before the first.

    `failure_body` is the raw body of the applied failure while the status is failed. Times are microseconds since 1970.
    """

    message_id: str = ""
    direction: Direction | None = None
    status: Status = Status.UNKNOWN
    sequence: int | None = None
    claims: tuple[Claim, ...] = ()
    filled: tuple[int, ...] = ()
    conflicting: tuple[int, ...] = ()
    external_reference: Reference | None = None
    provider_message_ref: Reference | None = None
    failure_body: bytes | None = None
    acceptance: RequestAcceptance | None = None
    inbound: InboundMessage | None = None
    event_count: int = 0
    first_recorded_at_us: int = 0
    status_changed_at_us: int = 0
    updated_at_us: int = 0


class Step(NamedTuple):
    """One event of a history, what it did, and the message after it."""

    event: MessageEvent
    effect: Effect
    message: Message


def fold(events: Iterable[MessageEvent]) -> Message:
    """The message after all its events."""
    folded = Fold()
    for event in events:
        folded.add(event)
    return folded.message()


def steps(events: Iterable[MessageEvent], message: Message = Message()) -> Iterator[Step]:  # noqa: B008 - a frozen value
    """Every event with its effect, in the order of the log."""
    folded = Fold(message)
    for event in events:
        effect = folded.add(event)
        yield Step(event, effect, folded.message())


def effect_of(message: Message, event: MessageEvent) -> Effect:
    """What an event does to a message: "The rule, exactly" of the HTTP contract."""
    return Fold(message).effect_of(event)


def evolve(message: Message, event: MessageEvent) -> Message:
    """The message after one more event."""
    folded = Fold(message)
    folded.add(event)
    return folded.message()


class Fold:
    """A message in the making: it takes event after event, and is a `Message` whenever asked.

    The rule stands here and nowhere else. A batch costs one new `Message` rather than one for every event, and an event
    of a message with very many sequences costs no more than any other.
    """

    __slots__ = (
        "acceptance",
        "claims",
        "conflicting",
        "direction",
        "event_count",
        "external_reference",
        "failure_body",
        "filled",
        "first_recorded_at_us",
        "inbound",
        "message_id",
        "provider_message_ref",
        "sequence",
        "status",
        "status_changed_at_us",
        "updated_at_us",
    )

    def __init__(self, message: Message = Message()) -> None:  # noqa: B008 - a frozen value
        self.message_id = message.message_id
        self.direction = message.direction
        self.status = message.status
        self.sequence = message.sequence
        self.claims: dict[int, tuple[Kind, ...]] = {}
        for claim in message.claims:
            self.claims[claim.sequence] = (*self.claims.get(claim.sequence, ()), claim.kind)
        self.filled = dict.fromkeys(message.filled)
        self.conflicting = set(message.conflicting)
        self.external_reference = message.external_reference
        self.provider_message_ref = message.provider_message_ref
        self.failure_body = message.failure_body
        self.acceptance = message.acceptance
        self.inbound = message.inbound
        self.event_count = message.event_count
        self.first_recorded_at_us = message.first_recorded_at_us
        self.status_changed_at_us = message.status_changed_at_us
        self.updated_at_us = message.updated_at_us

    def message(self) -> Message:
        """The message after the events so far."""
        return Message(
            self.message_id,
            self.direction,
            self.status,
            self.sequence,
            tuple([Claim(sequence, kind) for sequence, kinds in self.claims.items() for kind in kinds]),
            tuple(self.filled),
            tuple(sorted(self.conflicting)),
            self.external_reference,
            self.provider_message_ref,
            self.failure_body,
            self.acceptance,
            self.inbound,
            self.event_count,
            self.first_recorded_at_us,
            self.status_changed_at_us,
            self.updated_at_us,
        )

    def effect_of(self, event: MessageEvent) -> Effect:
        """What the event would do."""
        if type(event) in _OUTBOUND_CLASSES:
            return self._effect_of_outbound(event)  # type: ignore[arg-type]  # mypy does not narrow by such a test
        return self._effect_of_other(event)

    def add(self, event: MessageEvent) -> Effect:
        """Takes the next event; what it did.

        One of the other direction changes neither status nor direction; of an outbound one, what it refers to and that its
        sequence conflicts are shown all the same.
        """
        recorded_at_us = event.receipt.recorded_at_us
        if self.event_count == 0:
            self.message_id = event.message_id
            self.first_recorded_at_us = self.status_changed_at_us = recorded_at_us
        status_before = self.status
        # Nearly all events are outbound. A match on classes would cost as much again as the rule itself, because the
        # metaclass of msgspec's structs answers isinstance in Python.
        if type(event) in _OUTBOUND_CLASSES:
            effect = self._effect_of_outbound(event)  # type: ignore[arg-type]  # mypy does not narrow by such a test
            self._report(event, effect)  # type: ignore[arg-type]  # mypy does not narrow by such a test
        else:
            effect = self._effect_of_other(event)
            self._take_other(event, effect)
        if self.status is not status_before:
            self.status_changed_at_us = max(self.status_changed_at_us, recorded_at_us)
        self.event_count += 1
        # The log is in the order of committing, so what was received earlier may come later: no change goes back in time.
        self.updated_at_us = max(self.updated_at_us, recorded_at_us)
        return effect

    def _effect_of_outbound(self, event: OutboundEvent) -> Effect:
        if self.direction is _INBOUND:
            return _CONFLICTING
        kinds_before = self.claims.get(event.sequence)
        if kinds_before is not None:
            return _REPEATED if kinds_before == (event.KIND,) else _CONFLICTING
        if self.sequence is not None and event.sequence < self.sequence:
            return _SUPERSEDED
        return _APPLIED

    def _effect_of_other(self, event: MessageEvent) -> Effect:
        match event:
            case InboundMessageReceived():
                return Effect.CREATED if self.direction is None else _CONFLICTING
            case RequestAccepted():
                return _CONFLICTING if self.direction is _INBOUND else Effect.NOTED
            case UnknownKindReported():
                return Effect.NOTED
            case OutboundReported():
                return self._effect_of_outbound(event)
            case _:
                assert_never(event)

    def _take_other(self, event: MessageEvent, effect: Effect) -> None:
        match event:
            case InboundMessageReceived() if effect is Effect.CREATED:
                self._create(event)
            case RequestAccepted() if effect is Effect.NOTED:
                self._accept(event)
            case UnknownKindReported():
                self._fill(event)
            case _:
                pass

    def _report(self, event: OutboundEvent, effect: Effect) -> None:
        sequence = event.sequence
        text, held = event.external_reference, self.external_reference
        if text is not None and (held is None or held.sequence < sequence):
            self.external_reference = Reference(text, sequence)
        text, held = event.provider_message_ref, self.provider_message_ref
        if text is not None and (held is None or held.sequence < sequence):
            self.provider_message_ref = Reference(text, sequence)
        if effect is _CONFLICTING:
            self.conflicting.add(sequence)
        if self.direction is _INBOUND:
            return
        self.direction = _OUTBOUND
        kinds_before = self.claims.get(sequence, ())
        if event.KIND not in kinds_before:
            self.claims[sequence] = (*kinds_before, event.KIND)
        if effect is _APPLIED:
            self.sequence = sequence
            self.status = _STATUS_OF_CLASS[type(event)]
            self.failure_body = event.receipt.body if type(event) is MessageFailed else None

    def _create(self, event: InboundMessageReceived) -> None:
        self.direction = Direction.INBOUND
        self.status = Status.RECEIVED
        self.inbound = InboundMessage(event.conversation_id, event.number_id, event.sender, event.recipient)

    def _accept(self, event: RequestAccepted) -> None:
        self.direction = Direction.OUTBOUND
        if self.acceptance is None:
            self.acceptance = RequestAcceptance(
                event.status,
                event.recipient,
                event.idempotency_key,
                event.receipt.recorded_at_us,
                event.number_id,
                event.external_reference,
            )
        if self.status is Status.UNKNOWN:
            self.status = Status.SUBMITTED

    def _fill(self, event: UnknownKindReported) -> None:
        if event.sequence is not None:
            self.filled[event.sequence] = None


def missing_sequences(message: Message) -> list[int]:
    """The holes between the lowest and the highest outbound sequence seen, at most the first 100, never walked one by one."""
    claimed = {claim.sequence for claim in message.claims}
    missing: list[int] = []
    seen = sorted(claimed.union(message.filled))
    lowest, highest = min(claimed, default=0), max(claimed, default=0)
    for before, after in pairwise(seen):
        if after - before > 1 and lowest <= before and after <= highest:
            room = MISSING_SEQUENCES_SHOWN_MAX - len(missing)
            missing.extend(range(before + 1, min(after, before + 1 + room)))
    return missing


def external_reference(message: Message) -> str | None:
    """The user's business object: as the outbound events say, else as the request said."""
    if message.external_reference is not None:
        return message.external_reference.text
    return message.acceptance.external_reference if message.acceptance else None


def number_id(message: Message) -> str | None:
    """The company's number that the message went out from or came in to."""
    if message.inbound is not None:
        return message.inbound.number_id
    return message.acceptance.number_id if message.acceptance else None
