"""Step 5 on a webhook's way: a claim becomes a domain event, a fact in the past tense that is never changed again.

Each class has an explicit topic, the name under which it is stored for ever; renaming a class changes nothing in the log.
An event carries the typed fields that identify and order it, and the raw body verbatim with what is needed to check its
signature again. It does not say what it means for the message: that is the fold's business (`ledger/message.py`).
"""

import hashlib
from typing import ClassVar
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from ledger.provider import Kind
from ledger.signatures import Signature
from ledger.webhooks import Webhook

STREAM_NAMESPACE = uuid5(NAMESPACE_URL, "urn:lifecycle-ledger:message")


class Receipt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How a fact reached us: when (microseconds since 1970), the exact bytes, and what proves who sent them.

    The three parts of the signature are None where the provider's signing is switched off, and for request acceptances.
    `replayed_at_us` is None but for what waited in quarantine: of that, when it was recorded.
    """

    received_at_us: int
    body: bytes
    late: bool = False
    secret_id: str | None = None
    timestamp: str | None = None
    digest: bytes | None = None
    replayed_at_us: int | None = None

    @property
    def recorded_at_us(self) -> int:
        """When the log took it, as near as a receipt tells: from then on the ledger knew of it."""
        return self.received_at_us if self.replayed_at_us is None else self.replayed_at_us


def receipt_of(body: bytes, signature: Signature | None, received_at_us: int) -> Receipt:
    """The receipt of a delivery; `signature` is None where signing is switched off."""
    if signature is None:
        return Receipt(received_at_us, body)
    return Receipt(received_at_us, body, signature.late, signature.secret_id, signature.timestamp, signature.digest)


class OutboundReported(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the four kinds of the outbound lifecycle have in common."""

    KIND: ClassVar[Kind]

    message_id: str
    sequence: int
    external_reference: str | None
    provider_message_ref: str | None
    occurred_at_us: int | None
    receipt: Receipt


class MessageQueued(OutboundReported, frozen=True, array_like=True, gc=False):
    """Red Cloud took the message into its queueing path. It is not carrier delivery."""

    TOPIC: ClassVar[str] = "message.queued"
    KIND = Kind.QUEUED


class MessageSent(OutboundReported, frozen=True, array_like=True, gc=False):
    """The message advanced into the provider's send path. It is not handset delivery."""

    TOPIC: ClassVar[str] = "message.sent"
    KIND = Kind.SENT


class MessageDelivered(OutboundReported, frozen=True, array_like=True, gc=False):
    """A delivery confirmation was received."""

    TOPIC: ClassVar[str] = "message.delivered"
    KIND = Kind.DELIVERY


class MessageFailed(OutboundReported, frozen=True, array_like=True, gc=False):
    """Terminal failure; the details are members of the body, under names that the provider does not document."""

    TOPIC: ClassVar[str] = "message.failed"
    KIND = Kind.FAILED


class InboundMessageReceived(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A customer wrote: the creation of a message, never a step of an outbound one."""

    TOPIC: ClassVar[str] = "message.inbound"

    message_id: str
    conversation_id: str | None
    number_id: str | None
    sender: str | None
    recipient: str | None
    occurred_at_us: int | None
    receipt: Receipt


class UnknownKindReported(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The provider reported a kind that this version does not know. Kept on the message; changes no status."""

    TOPIC: ClassVar[str] = "message.unknown-kind"

    message_id: str
    event_type: str
    sequence: int | None
    occurred_at_us: int | None
    receipt: Receipt


class RequestAccepted(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Layer one: the provider accepted the request to send this message, as our user's own application tells."""

    TOPIC: ClassVar[str] = "request.accepted"

    message_id: str
    idempotency_key: str
    status: str
    recipient: str
    number_id: str | None
    external_reference: str | None
    receipt: Receipt


OutboundEvent = MessageQueued | MessageSent | MessageDelivered | MessageFailed
MessageEvent = OutboundEvent | InboundMessageReceived | UnknownKindReported | RequestAccepted

OUTBOUND_CLASSES: dict[str, type[OutboundEvent]] = {
    Kind.QUEUED: MessageQueued,
    Kind.SENT: MessageSent,
    Kind.DELIVERY: MessageDelivered,
    Kind.FAILED: MessageFailed,
}


def stream_id(message_id: str) -> UUID:
    """The id of a message's stream: a deterministic UUID (version 5, RFC 9562) of its messageId."""
    return UUID(bytes=stream_key(message_id))


def stream_key(message_id: str) -> bytes:
    """The 16 bytes of `stream_id`, made without the standard library's UUID object: this is on the hot path."""
    digest = bytearray(hashlib.sha1(STREAM_NAMESPACE.bytes + message_id.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return bytes(digest)


def event_of(webhook: Webhook, receipt: Receipt) -> MessageEvent:
    """The domain event that a webhook's claim is."""
    if (outbound := OUTBOUND_CLASSES.get(webhook.event_type)) and webhook.sequence is not None:
        return outbound(
            webhook.message_id,
            webhook.sequence,
            webhook.external_reference,
            webhook.provider_message_ref,
            webhook.occurred_at_us,
            receipt,
        )
    if webhook.event_type == Kind.INBOUND:
        return InboundMessageReceived(
            webhook.message_id,
            webhook.conversation_id,
            webhook.number_id,
            webhook.sender,
            webhook.recipient,
            webhook.occurred_at_us,
            receipt,
        )
    return UnknownKindReported(
        webhook.message_id, webhook.event_type, webhook.sequence, webhook.occurred_at_us, receipt
    )


def event_type_of(event: MessageEvent) -> str:
    """The provider's `eventType` of an event, or `request.accepted`."""
    match event:
        case OutboundReported():
            return event.KIND.value
        case InboundMessageReceived():
            return Kind.INBOUND.value
        case RequestAccepted():
            return Kind.REQUEST_ACCEPTED.value
        case UnknownKindReported():
            return event.event_type


def sequence_of(event: MessageEvent) -> int | None:
    """The sequence that an event claims, where its kind has one."""
    return event.sequence if isinstance(event, OutboundReported | UnknownKindReported) else None


def occurred_at_us_of(event: MessageEvent) -> int | None:
    """When it happened, in the provider's own words, in microseconds since 1970."""
    return None if isinstance(event, RequestAccepted) else event.occurred_at_us
