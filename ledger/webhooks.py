"""Step 4 on a webhook's way: a verified body becomes a typed claim, or is unreadable for a stated reason.

What the provider claims is taken as it stands; what it means for the message is decided later, by the fold.
Where the contract is silent this is tolerant: a member of an unexpected type is left out of the claim, and stays in the raw body.
"""

import hashlib

import msgspec

from ledger.errors import UnreadableBody
from ledger.json_values import JSONObject, canonical, is_identifier, legible, parse_object
from ledger.provider import MESSAGE_ID_CHARACTERS_MAX, OUTBOUND_KINDS, SEQUENCE_MAX, Kind
from ledger.times import UNIX_DIGITS_MAX, read_time

FACT_KEY_BYTES = 16
OCCURRENCE_MEMBERS = ("occurredAt", "timestamp", "createdAt", "sentAt", "receivedAt")


class Webhook(msgspec.Struct, frozen=True):
    """What one webhook claims. Texts are legible; `occurred_at_us` is in microseconds since 1970."""

    event_type: str
    message_id: str
    fact_key: bytes
    sequence: int | None
    external_reference: str | None
    provider_message_ref: str | None
    conversation_id: str | None
    number_id: str | None
    sender: str | None
    recipient: str | None
    occurred_at_us: int | None


def parse(body: bytes) -> Webhook:
    """The claim in a body, or UnreadableBody with the reason."""
    claimed = parse_object(body)
    event_type = _event_type(claimed)
    return Webhook(
        event_type=event_type,
        message_id=read_identifier(claimed.get("messageId"), "messageId"),
        fact_key=fact_key("webhook", claimed),
        sequence=_sequence(claimed, event_type),
        external_reference=text_or_none(claimed.get("externalReference")),
        provider_message_ref=text_or_none(claimed.get("providerMessageRef")),
        conversation_id=text_or_none(claimed.get("conversationId")),
        number_id=text_or_none(claimed.get("numberId")),
        sender=text_or_none(claimed.get("from")),
        recipient=text_or_none(claimed.get("to")),
        occurred_at_us=_occurred_at_us(claimed),
    )


def fact_key(source: str, claimed: JSONObject) -> bytes:
    """The fact key: 128 bits of SHA-256 over the canonical JSON, so headers, white space and member order never count."""
    return hashlib.sha256(source.encode("ascii") + b"\n" + canonical(claimed)).digest()[:FACT_KEY_BYTES]


def read_identifier(value: object, member: str) -> str:
    """A messageId or a key of that kind: text of 1 to 512 characters without NUL or lone surrogates; else UnreadableBody."""
    if not isinstance(value, str):
        raise UnreadableBody(f"{member} is missing or not text")
    if not 1 <= len(value) <= MESSAGE_ID_CHARACTERS_MAX:
        raise UnreadableBody(f"{member} has {len(value)} characters, expected 1 to {MESSAGE_ID_CHARACTERS_MAX}")
    if not is_identifier(value):
        raise UnreadableBody(f"{member} contains NUL or a lone surrogate")
    return value


def text_or_none(value: object) -> str | None:
    """Legible text of a member that is text or a whole number; None where it is absent, empty or anything else."""
    if isinstance(value, str):
        return legible(value) or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _event_type(claimed: JSONObject) -> str:
    event_type = claimed.get("eventType")
    if not isinstance(event_type, str) or not event_type:
        raise UnreadableBody("eventType is missing, empty or not text")
    return legible(event_type)


def _sequence(claimed: JSONObject, event_type: str) -> int | None:
    sequence = claimed.get("sequence")
    if isinstance(sequence, int) and not isinstance(sequence, bool) and 0 <= sequence <= SEQUENCE_MAX:
        return None if event_type == Kind.INBOUND else sequence
    if event_type in OUTBOUND_KINDS:
        raise UnreadableBody(f"sequence of {event_type} is not a whole number from 0 to {SEQUENCE_MAX}")
    return None


def _occurred_at_us(claimed: JSONObject) -> int | None:
    for member in OCCURRENCE_MEMBERS:
        occurred_at_us = _time_or_none(claimed.get(member))
        if occurred_at_us is not None:
            return occurred_at_us
    return None


def _time_or_none(value: object) -> int | None:
    if isinstance(value, str):
        return read_time(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**UNIX_DIGITS_MAX:
        return read_time(str(value))
    return None
