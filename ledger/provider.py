"""Red Cloud's vocabulary, as tables that a support engineer can read.

The source is the provider's public contract. This module knows words only: no bytes, no time, no storage.
"""

from enum import StrEnum


class Kind(StrEnum):
    """The kinds of event that have a meaning here, by the provider's `eventType` (and one of our own)."""

    QUEUED = "message.queued"
    SENT = "message.sent"
    DELIVERY = "message.delivery"
    FAILED = "message.failed"
    INBOUND = "message.inbound"
    REQUEST_ACCEPTED = "request.accepted"


OUTBOUND_KINDS = frozenset({Kind.QUEUED, Kind.SENT, Kind.DELIVERY, Kind.FAILED})


class Status(StrEnum):
    """What is known of a message now. `docs/LIFECYCLE.md` says what each does and does not mean."""

    UNKNOWN = "unknown"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    RECEIVED = "received"


STATUS_OF = {
    Kind.QUEUED: Status.ACCEPTED,
    Kind.SENT: Status.SENT,
    Kind.DELIVERY: Status.DELIVERED,
    Kind.FAILED: Status.FAILED,
}


class Direction(StrEnum):
    """Which way a message travels; the first event that has a direction decides."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"


class Effect(StrEnum):
    """What an event did to its message when the history is folded in the order of the log."""

    APPLIED = "applied"
    SUPERSEDED = "superseded"
    REPEATED = "repeated"
    CONFLICTING = "conflicting"
    NOTED = "noted"
    CREATED = "created"
    UNREADABLE = "unreadable"
    """Not known: this version cannot read the event."""


SEQUENCE_MAX = 2**63 - 1
"""The highest sequence that we accept: what a signed 64-bit column holds."""

MESSAGE_ID_CHARACTERS_MAX = 512
"""The longest messageId or idempotency key that we accept, so that each fits into an index and a URL."""
