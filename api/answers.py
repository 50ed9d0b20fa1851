"""How log entries, sends and quarantined deliveries look from outside: the shapes of the HTTP contract, for every way in.

The command line prints these same shapes with `--json`.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from ledger.audit.entries import StoredEntry
from ledger.events import RequestAccepted, event_type_of, occurred_at_us_of, sequence_of
from ledger.ledger import RecordedSend
from ledger.log_entries import Entry, LogEntry, UnreadableEntry
from ledger.store.registers import QuarantinedDelivery
from ledger.times import write_time
from projections.answers import legible_value
from projections.masking import mask_phone
from projections.read_models import Page

JSON = dict[str, Any]
T = TypeVar("T")
Shown_contra = TypeVar("Shown_contra", contravariant=True)


class Shape(Protocol[Shown_contra]):
    """How an item of a list is shown."""

    def __call__(self, item: Shown_contra, /, *, masked: bool) -> JSON:
        """The item in the shape of the contract."""


def page_answer(page: Page[T], shape: Shape[T], *, masked: bool) -> JSON:
    """A page of a list."""
    return {"items": [shape(item, masked=masked) for item in page.items], "next": page.next}


def history_answer(message_id: str, entries: Sequence[Entry], *, masked: bool, following: str | None) -> JSON:
    """A message's history."""
    events = [event_answer(entry, masked=masked) for entry in entries]
    return {"messageId": message_id, "events": events, "next": following}


def feed_answer(entries: Sequence[Entry], cursor: str, *, masked: bool) -> JSON:
    """A page of the feed."""
    return {"events": [feed_event_answer(entry, masked=masked) for entry in entries], "next": cursor}


def feed_event_answer(entry: Entry, *, masked: bool) -> JSON:
    """An event as the feed shows it: as in a history, with its messageId."""
    message_id = entry.message_id if isinstance(entry, UnreadableEntry) else entry.event.message_id
    return {"messageId": message_id, **event_answer(entry, masked=masked)}


def event_answer(entry: Entry, *, masked: bool) -> JSON:
    """An event as a history shows it; the body is the JSON that was received, to the letter."""
    if isinstance(entry, UnreadableEntry):
        return _unreadable_answer(entry)
    event = entry.event
    receipt = event.receipt
    occurred_at_us = occurred_at_us_of(event)
    answer = {
        "version": entry.version,
        "position": str(entry.position),
        "eventType": event_type_of(event),
        "sequence": sequence_of(event),
        "effect": entry.effect.value,
        "late": receipt.late,
        "receivedAt": write_time(receipt.received_at_us),
        "occurredAt": None if occurred_at_us is None else write_time(occurred_at_us),
        "signature": None if isinstance(event, RequestAccepted) else _signature_answer(entry),
        "body": None if masked else msgspec.Raw(receipt.body),
        "bodySha256": hashlib.sha256(receipt.body).hexdigest(),
        "hash": entry.hash.hex(),
    }
    return answer if receipt.replayed_at_us is None else answer | {"replayedAt": write_time(receipt.replayed_at_us)}


def send_answer(idempotency_key: str, send: RecordedSend, *, masked: bool) -> JSON:
    """A registered send."""
    messages = [
        {
            "messageId": result.message_id,
            "to": mask_phone(result.recipient) if masked else result.recipient,
            "status": result.status,
            "position": None if position is None else str(position),
        }
        for result, position in zip(send.accepted.results, send.positions, strict=True)
    ]
    return {
        "idempotencyKey": idempotency_key,
        "recordedAt": write_time(send.recorded_at_us),
        "request": None if masked else legible_value(send.accepted.request),
        "messages": messages,
        "rejected": None if masked else legible_value(send.accepted.rejected),
    }


def quarantine_answer(delivery: QuarantinedDelivery) -> JSON:
    """A delivery in quarantine."""
    body = delivery.receipt.body
    replayed_at_us = delivery.replayed_at_us
    return {
        "quarantineId": delivery.quarantine_id,
        "reason": delivery.reason,
        "receivedAt": write_time(delivery.receipt.received_at_us),
        "attempts": delivery.attempts,
        "bodySha256": hashlib.sha256(body).hexdigest(),
        "bodyBytes": len(body),
        "replayedAt": None if replayed_at_us is None else write_time(replayed_at_us),
    }


def audit_answer(stored: StoredEntry) -> JSON:
    """An entry of the audit trail."""
    entry = stored.entry
    return {
        "number": stored.number,
        "at": write_time(entry.at_us),
        "holder": entry.holder,
        "way": entry.way,
        "act": entry.act,
        "subject": entry.subject,
        "asked": entry.asked,
        "outcome": entry.outcome,
        "result": entry.result,
        "requestId": entry.request_id,
        "hash": stored.hash.hex(),
    }


def written(value: object) -> str:
    """A JSON value in one line for people: text as it stands, anything else as JSON, which no encoder refuses."""
    return value if isinstance(value, str) else msgspec.json.encode(legible_value(value)).decode()


def _unreadable_answer(entry: UnreadableEntry) -> JSON:
    """All that is known of an event that this version cannot read."""
    return {
        "version": entry.version,
        "position": str(entry.position),
        "eventType": None,
        "sequence": None,
        "effect": entry.effect.value,
        "late": None,
        "receivedAt": None,
        "occurredAt": None,
        "signature": None,
        "body": None,
        "bodySha256": None,
        "hash": entry.hash.hex(),
        "topic": entry.topic,
    }


def _signature_answer(entry: LogEntry) -> JSON | None:
    receipt = entry.event.receipt
    if receipt.digest is None:
        return None
    return {"timestamp": receipt.timestamp, "secretId": receipt.secret_id, "verified": True}
