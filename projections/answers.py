"""How the answers of the read models look from outside: the shapes of the HTTP contract, for every way in.

`masked` is for callers who may not see whole phone numbers nor what people wrote.
"""

from ledger.json_values import JSONObject, legible
from ledger.message import InboundMessage, Message, RequestAcceptance, external_reference, missing_sequences
from ledger.times import write_time
from projections.failures import failure_code, failure_details
from projections.health import ProjectionStatus
from projections.masking import mask_numbers, mask_phone, mask_value
from projections.queries_conversations import Conversation, ConversationMessage
from projections.queries_messages import MessageStatus


def status_json(status: MessageStatus, *, masked: bool = False) -> JSONObject:
    """A status in the shape of `GET /messages/{messageId}`."""
    message = status.message
    answer: JSONObject = {
        "messageId": message.message_id,
        "direction": message.direction.value if message.direction else None,
        "status": message.status.value,
        "sequence": message.sequence,
        "externalReference": external_reference(message),
        "providerMessageRef": message.provider_message_ref.text if message.provider_message_ref else None,
        **_failure(message, masked=masked),
        "requestAcceptance": _acceptance(message.acceptance, masked=masked),
        "missingSequences": missing_sequences(message),
        "conflictingSequences": list(message.conflicting),
        "eventCount": message.event_count,
        "firstRecordedAt": write_time(message.first_recorded_at_us),
        "statusChangedAt": write_time(message.status_changed_at_us),
        "updatedAt": write_time(message.updated_at_us),
        "position": str(status.position),
    }
    if message.inbound is not None:
        answer |= _parties(message.inbound, masked=masked)
    return answer if status.parked_from is None else answer | {"parkedFrom": str(status.parked_from)}


def conversation_json(conversation: Conversation, *, masked: bool = False) -> JSONObject:
    """A conversation in the shape of `GET /conversations/{conversationId}`."""
    participants: list[object] = list(conversation.participants)
    return {
        "conversationId": conversation.conversation_id,
        "numberId": conversation.number_id,
        "participants": sorted(map(str, map(_phone, conversation.participants))) if masked else participants,
        "messageCount": conversation.message_count,
        "firstMessageAt": write_time(conversation.first_message_at_us),
        "lastMessageAt": write_time(conversation.last_message_at_us),
        "position": str(conversation.position),
    }


def conversation_message_json(message: ConversationMessage, *, masked: bool = False) -> JSONObject:
    """An item of `GET /conversations/{conversationId}/messages`."""
    occurred_at_us = message.occurred_at_us
    return {
        "messageId": message.message_id,
        "from": mask_phone(message.sender) if masked else message.sender,
        "to": mask_phone(message.recipient) if masked else message.recipient,
        "body": None if masked else legible_value(message.body),
        "media": None if masked else legible_value(message.media),
        "occurredAt": None if occurred_at_us is None else write_time(occurred_at_us),
        "receivedAt": write_time(message.received_at_us),
        "position": str(message.position),
    }


def projection_json(status: ProjectionStatus) -> JSONObject:
    """An item of `GET /projections`."""
    rebuild = status.rebuild
    return {
        "name": status.name,
        "version": status.version,
        "state": status.state,
        "position": status.position,
        "head": status.head,
        "lagEvents": status.lag_events,
        "lagSeconds": status.lag_seconds,
        "parked": status.parked,
        "rebuild": None
        if rebuild is None
        else {
            "done": rebuild.done,
            "total": rebuild.total,
            "eventsPerSecond": rebuild.events_per_second,
            "secondsLeft": rebuild.seconds_left,
        },
    }


def legible_value(value: object) -> object:
    """Any JSON value with all its text legible."""
    match value:
        case str():
            return legible(value)
        case list():
            return [legible_value(item) for item in value]
        case dict():
            return {legible(name): legible_value(member) for name, member in value.items()}
        case _:
            return value


def _failure(message: Message, *, masked: bool) -> JSONObject:
    if message.failure_body is None:
        return {"failure": None, "failureCode": None}
    details = failure_details(message.failure_body)
    code = failure_code(details)
    if not masked:
        return {"failure": legible_value(details), "failureCode": code}
    return {"failure": legible_value(mask_value(details)), "failureCode": None if code is None else mask_numbers(code)}


def _acceptance(acceptance: RequestAcceptance | None, *, masked: bool) -> JSONObject | None:
    if acceptance is None:
        return None
    return {
        "status": acceptance.status,
        "to": mask_phone(acceptance.recipient) if masked else acceptance.recipient,
        "idempotencyKey": acceptance.idempotency_key,
        "recordedAt": write_time(acceptance.recorded_at_us),
    }


def _parties(inbound: InboundMessage, *, masked: bool) -> JSONObject:
    return {
        "conversationId": inbound.conversation_id,
        "numberId": inbound.number_id,
        "from": mask_phone(inbound.sender) if masked else inbound.sender,
        "to": mask_phone(inbound.recipient) if masked else inbound.recipient,
    }


def _phone(phone: str) -> str:
    return mask_phone(phone) or ""
