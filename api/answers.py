"""From what the ledger and its read models hold to the shapes of the HTTP contract, for every way in.

`masked` is for callers who may not see whole phone numbers nor what people wrote.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, cast

import msgspec
from msgspec import UNSET

from api import shapes
from api.audit.acts import Act, Way
from api.verifying import LastVerification
from ledger.audit.entries import StoredEntry
from ledger.events import RequestAccepted, event_type_of, occurred_at_us_of, sequence_of
from ledger.json_values import JSONObject, legible_value
from ledger.ledger import RecordedSend
from ledger.log_entries import Entry, LogEntry, UnreadableEntry
from ledger.message import InboundMessage, RequestAcceptance, external_reference, missing_sequences
from ledger.store.registers import QuarantinedDelivery
from ledger.times import write_time
from projections.failures import failure_code, failure_details
from projections.health import ProjectionStatus
from projections.masking import mask_numbers, mask_phone, mask_value
from projections.queries_conversations import Conversation, ConversationMessage
from projections.queries_messages import MessageStatus, Page

Held = TypeVar("Held")
Held_contra = TypeVar("Held_contra", contravariant=True)
Shown = TypeVar("Shown")
Shown_co = TypeVar("Shown_co", covariant=True)


class Answer(Protocol[Held_contra, Shown_co]):
    """How an item of a list is shown."""

    def __call__(self, item: Held_contra, /, *, masked: bool) -> Shown_co:
        """The item in the shape of the contract."""


def page_answer(page: Page[Held], answer: Answer[Held, Shown], *, masked: bool) -> shapes.Page[Shown]:
    """A page of a list."""
    return shapes.Page(items=[answer(item, masked=masked) for item in page.items], next=page.next)


def status_answer(status: MessageStatus, *, masked: bool = False) -> shapes.Message:
    """A status."""
    message = status.message
    details = None if message.failure_body is None else failure_details(message.failure_body)
    code = None if details is None else failure_code(details)
    return shapes.Message(
        message_id=message.message_id,
        direction=message.direction,
        status=message.status,
        sequence=message.sequence,
        external_reference=external_reference(message),
        provider_message_ref=message.provider_message_ref.text if message.provider_message_ref else None,
        failure=None if details is None else _legible(mask_value(details) if masked else details),
        failure_code=mask_numbers(code) if masked and code is not None else code,
        request_acceptance=_acceptance(message.acceptance, masked=masked),
        missing_sequences=missing_sequences(message),
        conflicting_sequences=list(message.conflicting),
        event_count=message.event_count,
        first_recorded_at=write_time(message.first_recorded_at_us),
        status_changed_at=write_time(message.status_changed_at_us),
        updated_at=write_time(message.updated_at_us),
        position=str(status.position),
        **_parties(message.inbound, masked=masked),
        parked_from=UNSET if status.parked_from is None else str(status.parked_from),
    )


def conversation_answer(conversation: Conversation, *, masked: bool = False) -> shapes.Conversation:
    """A conversation."""
    participants = list(conversation.participants)
    return shapes.Conversation(
        conversation_id=conversation.conversation_id,
        number_id=conversation.number_id,
        participants=sorted(map(mask_phone, participants)) if masked else participants,
        message_count=conversation.message_count,
        first_message_at=write_time(conversation.first_message_at_us),
        last_message_at=write_time(conversation.last_message_at_us),
        position=str(conversation.position),
    )


def conversation_message_answer(message: ConversationMessage, *, masked: bool = False) -> shapes.ConversationMessage:
    """A message of a conversation."""
    return shapes.ConversationMessage(
        message_id=message.message_id,
        from_=_phone(message.sender, masked=masked),
        to=_phone(message.recipient, masked=masked),
        body=None if masked else legible_value(message.body),
        media=None if masked else legible_value(message.media),
        occurred_at=_time(message.occurred_at_us),
        received_at=write_time(message.received_at_us),
        position=str(message.position),
    )


def history_answer(message_id: str, entries: Sequence[Entry], *, masked: bool, following: str | None) -> shapes.History:
    """A message's history."""
    events = [event_answer(entry, masked=masked) for entry in entries]
    return shapes.History(message_id=message_id, events=events, next=following)


def feed_answer(entries: Sequence[Entry], cursor: str, *, masked: bool) -> shapes.Feed:
    """A page of the feed."""
    return shapes.Feed(events=[feed_event_answer(entry, masked=masked) for entry in entries], next=cursor)


def feed_event_answer(entry: Entry, *, masked: bool) -> shapes.FeedEvent:
    """An event as the feed shows it: as in a history, with its messageId."""
    message_id = entry.message_id if isinstance(entry, UnreadableEntry) else entry.event.message_id
    return shapes.FeedEvent(message_id=message_id, **msgspec.structs.asdict(event_answer(entry, masked=masked)))


def event_answer(entry: Entry, *, masked: bool) -> shapes.HistoryEvent:
    """An event as a history shows it; the body is the JSON that was received, to the letter."""
    if isinstance(entry, UnreadableEntry):
        return _unreadable_answer(entry)
    event = entry.event
    receipt = event.receipt
    return shapes.HistoryEvent(
        version=entry.version,
        position=str(entry.position),
        event_type=event_type_of(event),
        sequence=sequence_of(event),
        effect=entry.effect,
        late=receipt.late,
        received_at=write_time(receipt.received_at_us),
        occurred_at=_time(occurred_at_us_of(event)),
        signature=None if isinstance(event, RequestAccepted) else _signature_answer(entry),
        body=None if masked else msgspec.Raw(receipt.body),
        # A short body can be guessed by its hash.
        body_sha256=None if masked else hashlib.sha256(receipt.body).hexdigest(),
        hash=entry.hash.hex(),
        replayed_at=UNSET if receipt.replayed_at_us is None else write_time(receipt.replayed_at_us),
    )


def send_answer(idempotency_key: str, send: RecordedSend, *, masked: bool) -> shapes.Send:
    """A registered send."""
    messages = [
        shapes.SentMessage(
            message_id=result.message_id,
            to=mask_phone(result.recipient) if masked else result.recipient,
            status=result.status,
            position=None if position is None else str(position),
        )
        for result, position in zip(send.accepted.results, send.positions, strict=True)
    ]
    return shapes.Send(
        idempotency_key=idempotency_key,
        recorded_at=write_time(send.recorded_at_us),
        request=None if masked else _legible(send.accepted.request),
        messages=messages,
        rejected=None if masked else [legible_value(each) for each in send.accepted.rejected],
    )


def projection_answer(status: ProjectionStatus) -> shapes.Projection:
    """A read model."""
    rebuild = status.rebuild
    return shapes.Projection(
        name=status.name,
        version=status.version,
        state=status.state,
        position=status.position,
        head=status.head,
        lag_events=status.lag_events,
        lag_seconds=status.lag_seconds,
        parked=status.parked,
        rebuild=None
        if rebuild is None
        else shapes.RebuildProgress(
            done=rebuild.done,
            total=rebuild.total,
            events_per_second=rebuild.events_per_second,
            seconds_left=rebuild.seconds_left,
        ),
    )


def verification_answer(found: LastVerification) -> shapes.Verification:
    """The last verification."""
    return shapes.Verification(
        at=write_time(found.at_us),
        holder=found.holder,
        way=cast("Way", found.way),
        clean=found.is_clean,
        events=found.events,
        audit_entries=found.audit_entries,
        findings=found.findings,
        positions=found.positions,
        heads=found.heads,
        deep=found.deep,
    )


def quarantine_answer(delivery: QuarantinedDelivery) -> shapes.QuarantinedDelivery:
    """A delivery in quarantine."""
    body = delivery.receipt.body
    return shapes.QuarantinedDelivery(
        quarantine_id=delivery.quarantine_id,
        reason=delivery.reason,
        received_at=write_time(delivery.receipt.received_at_us),
        attempts=delivery.attempts,
        body_sha256=hashlib.sha256(body).hexdigest(),
        body_bytes=len(body),
        replayed_at=_time(delivery.replayed_at_us),
    )


def audit_answer(stored: StoredEntry) -> shapes.AuditEntry:
    """An entry of the audit trail."""
    entry = stored.entry
    return shapes.AuditEntry(
        number=stored.number,
        at=write_time(entry.at_us),
        holder=entry.holder,
        way=cast("Way", entry.way),
        act=cast("Act", entry.act),
        subject=entry.subject,
        asked=entry.asked,
        outcome=entry.outcome,
        result=entry.result,
        request_id=entry.request_id,
        hash=stored.hash.hex(),
    )


def written(value: object) -> str:
    """A JSON value in one line for people: text as it stands, anything else as JSON, which no encoder refuses."""
    return value if isinstance(value, str) else msgspec.json.encode(legible_value(value)).decode()


def _unreadable_answer(entry: UnreadableEntry) -> shapes.HistoryEvent:
    """All that is known of an event that this version cannot read."""
    return shapes.HistoryEvent(
        version=entry.version,
        position=str(entry.position),
        event_type=None,
        sequence=None,
        effect=entry.effect,
        late=None,
        received_at=None,
        occurred_at=None,
        signature=None,
        body=None,
        body_sha256=None,
        hash=entry.hash.hex(),
        topic=entry.topic,
    )


def _signature_answer(entry: LogEntry) -> shapes.Signature | None:
    receipt = entry.event.receipt
    if receipt.digest is None or receipt.timestamp is None or receipt.secret_id is None:
        return None
    return shapes.Signature(timestamp=receipt.timestamp, secret_id=receipt.secret_id, verified=True)


def _acceptance(acceptance: RequestAcceptance | None, *, masked: bool) -> shapes.RequestAcceptance | None:
    if acceptance is None:
        return None
    return shapes.RequestAcceptance(
        status=acceptance.status,
        to=mask_phone(acceptance.recipient) if masked else acceptance.recipient,
        idempotency_key=acceptance.idempotency_key,
        recorded_at=write_time(acceptance.recorded_at_us),
    )


def _parties(inbound: InboundMessage | None, *, masked: bool) -> dict[str, Any]:
    if inbound is None:
        return {}
    return {
        "conversation_id": inbound.conversation_id,
        "number_id": inbound.number_id,
        "from_": _phone(inbound.sender, masked=masked),
        "to": _phone(inbound.recipient, masked=masked),
    }


def _phone(phone: str | None, *, masked: bool) -> str | None:
    return mask_phone(phone) if masked and phone is not None else phone


def _time(time_us: int | None) -> str | None:
    return None if time_us is None else write_time(time_us)


def _legible(value: object) -> JSONObject:
    return cast("JSONObject", legible_value(value))
