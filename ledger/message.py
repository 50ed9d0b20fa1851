"""The functional aggregate: a message is what its events, folded in the order of the log, say of it.

`effect_of` is the provider's ordering rule and says what one event does to a message; `evolve` is the message after it.
Both are pure; the log, the read models, `history` and `asOf` all use these two functions and no others.
"""

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import NamedTuple, assert_never

import msgspec

from ledger.events import (
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


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """That a sequence was claimed by an event of some kind."""

    sequence: int
    kind: Kind


class Reference(msgspec.Struct, frozen=True, array_like=True):
    """A reference and the sequence of the event that carried it; the highest sequence wins, the first of equals holds."""

    text: str
    sequence: int


class RequestAcceptance(msgspec.Struct, frozen=True, array_like=True):
    """Layer one of the state: what the provider answered when the message was handed over."""

    status: str
    recipient: str
    idempotency_key: str
    recorded_at_us: int
    number_id: str | None
    external_reference: str | None


class InboundMessage(msgspec.Struct, frozen=True, array_like=True):
    """Who wrote to whom, in which conversation."""

    conversation_id: str | None
    number_id: str | None
    sender: str | None
    recipient: str | None


class Message(msgspec.Struct, frozen=True, array_like=True):
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
    return reduce(evolve, events, Message())


def steps(events: Iterable[MessageEvent], message: Message = Message()) -> Iterator[Step]:  # noqa: B008 - a frozen value
    """Every event with its effect, in the order of the log."""
    for event in events:
        effect = effect_of(message, event)
        message = evolve(message, event)
        yield Step(event, effect, message)


def effect_of(message: Message, event: MessageEvent) -> Effect:
    """What an event does to a message: "The rule, exactly" of the HTTP contract."""
    match event:
        case UnknownKindReported():
            return Effect.NOTED
        case RequestAccepted():
            return Effect.CONFLICTING if message.direction is Direction.INBOUND else Effect.NOTED
        case InboundMessageReceived():
            return Effect.CREATED if message.direction is None else Effect.CONFLICTING
        case OutboundReported():
            return _effect_of_outbound(message, event)
        case _:
            assert_never(event)


def evolve(message: Message, event: MessageEvent) -> Message:
    """The message after one more event."""
    effect = effect_of(message, event)
    received_at_us = event.receipt.received_at_us
    changes: dict[str, object] = {"event_count": message.event_count + 1, "updated_at_us": received_at_us}
    if message.event_count == 0:
        changes |= {
            "message_id": event.message_id,
            "first_recorded_at_us": received_at_us,
            "status_changed_at_us": received_at_us,
        }
    match event:
        case UnknownKindReported():
            changes |= _filled(message, event)
        case RequestAccepted() if effect is Effect.NOTED:
            changes |= _accepted(message, event)
        case InboundMessageReceived() if effect is Effect.CREATED:
            changes |= _created(event)
        case OutboundReported():
            changes |= _reported(message, event, effect)
        case _:
            pass  # an event of the other direction is kept in the history and changes nothing
    if changes.get("status", message.status) is not message.status:
        changes["status_changed_at_us"] = received_at_us
    return msgspec.structs.replace(message, **changes)


def missing_sequences(message: Message) -> list[int]:
    """The holes between the lowest and the highest outbound sequence seen, at most the first 100, never walked one by one."""
    claimed = {claim.sequence for claim in message.claims}
    missing: list[int] = []
    seen = sorted(claimed.union(message.filled))
    lowest, highest = min(claimed, default=0), max(claimed, default=0)
    for before, after in zip(seen, seen[1:], strict=False):
        if lowest <= before and after <= highest:
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


def _effect_of_outbound(message: Message, event: OutboundEvent) -> Effect:
    if message.direction is Direction.INBOUND:
        return Effect.CONFLICTING
    kinds_before = [claim.kind for claim in message.claims if claim.sequence == event.sequence]
    if any(kind is not event.KIND for kind in kinds_before):
        return Effect.CONFLICTING
    if kinds_before:
        return Effect.REPEATED
    if message.sequence is not None and event.sequence < message.sequence:
        return Effect.SUPERSEDED
    return Effect.APPLIED


def _filled(message: Message, event: UnknownKindReported) -> dict[str, object]:
    if event.sequence is None or event.sequence in message.filled:
        return {}
    return {"filled": (*message.filled, event.sequence)}


def _accepted(message: Message, event: RequestAccepted) -> dict[str, object]:
    changes: dict[str, object] = {"direction": Direction.OUTBOUND}
    if message.acceptance is None:
        changes["acceptance"] = RequestAcceptance(
            event.status,
            event.recipient,
            event.idempotency_key,
            event.receipt.received_at_us,
            event.number_id,
            event.external_reference,
        )
    if message.status is Status.UNKNOWN:
        changes["status"] = Status.SUBMITTED
    return changes


def _created(event: InboundMessageReceived) -> dict[str, object]:
    return {
        "direction": Direction.INBOUND,
        "status": Status.RECEIVED,
        "inbound": InboundMessage(event.conversation_id, event.number_id, event.sender, event.recipient),
    }


def _reported(message: Message, event: OutboundEvent, effect: Effect) -> dict[str, object]:
    changes: dict[str, object] = {
        "external_reference": _higher(message.external_reference, event.external_reference, event.sequence),
        "provider_message_ref": _higher(message.provider_message_ref, event.provider_message_ref, event.sequence),
    }
    if effect is Effect.CONFLICTING and event.sequence not in message.conflicting:
        changes["conflicting"] = tuple(sorted((*message.conflicting, event.sequence)))
    claim = Claim(event.sequence, event.KIND)
    if message.direction is not Direction.INBOUND and claim not in message.claims:
        changes |= {"direction": Direction.OUTBOUND, "claims": (*message.claims, claim)}
    if effect is Effect.APPLIED:
        changes |= {
            "sequence": event.sequence,
            "status": STATUS_OF[event.KIND],
            "failure_body": event.receipt.body if isinstance(event, MessageFailed) else None,
        }
    return changes


def _higher(held: Reference | None, text: str | None, sequence: int) -> Reference | None:
    if text is None or (held is not None and held.sequence >= sequence):
        return held
    return Reference(text, sequence)
