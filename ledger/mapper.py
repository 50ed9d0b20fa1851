"""The only place that knows how a domain event is stored: topic and state in, topic and state out.

The state is one byte, the version of the event's class, and then msgpack: an array of the class's fields in their order.
A class changes by getting a new version and an upcast from the one before; rows are never rewritten. Topics are resolved
from an allow-list, so a row can never make us import a module.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, StoredEvent

from ledger.errors import UnreadableEvent
from ledger.events import (
    InboundMessageReceived,
    MessageDelivered,
    MessageEvent,
    MessageFailed,
    MessageQueued,
    MessageSent,
    RequestAccepted,
    UnknownKindReported,
)

EVENT_CLASSES: tuple[type[MessageEvent], ...] = (
    MessageQueued,
    MessageSent,
    MessageDelivered,
    MessageFailed,
    InboundMessageReceived,
    UnknownKindReported,
    RequestAccepted,
)

Fields = list[Any]
Upcast = Callable[[Fields], Fields]

UPCASTS: Mapping[str, tuple[Upcast, ...]] = {}
"""By topic: the upcasts from version 1 to 2, from 2 to 3, and so on. A topic without an entry is still at version 1."""


class EventCodec:
    """Encodes and decodes the events of an allow-list of classes. Thread-safe."""

    def __init__(
        self,
        classes: tuple[type[MessageEvent], ...] = EVENT_CLASSES,
        upcasts: Mapping[str, tuple[Upcast, ...]] = UPCASTS,
    ) -> None:
        self._upcasts = upcasts
        self._version = {each.TOPIC: 1 + len(upcasts.get(each.TOPIC, ())) for each in classes}
        self._classes = {each.TOPIC: each for each in classes}
        self._decode = {each.TOPIC: msgspec.msgpack.Decoder(each).decode for each in classes}
        self._encode = msgspec.msgpack.Encoder().encode

    def encode(self, event: MessageEvent) -> bytes:
        """The state of an event as it is stored."""
        return bytes((self._version[event.TOPIC],)) + self._encode(event)

    def decode(self, topic: str, state: bytes) -> MessageEvent:
        """The event of a stored row, brought up to the newest version of its class; UnreadableEvent where that fails."""
        version = self._version.get(topic)
        if version is None:
            raise UnreadableEvent(f"unknown topic {topic!r}: expected one of {', '.join(sorted(self._version))}")
        try:
            if state[0] == version:
                return self._decode[topic](state[1:])
            if 0 < state[0] < version:
                return self._upcast(topic, state)
        except Exception as error:  # whatever a broken state does to the decoder, or to an upcast
            # Not what it says: that may quote a body, and this is shown and logged.
            raise UnreadableEvent(f"the stored state of {topic} is broken: {type(error).__name__}") from error
        damaged = "its row is damaged (ledger verify)"
        act = f"upgrade the program, unless {damaged}" if state[0] > version else damaged
        raise UnreadableEvent(f"{topic} is stored in version {state[0]}, this program knows 1 to {version}: {act}")

    def _upcast(self, topic: str, state: bytes) -> MessageEvent:
        fields: Fields = msgspec.msgpack.decode(state[1:], type=list)
        for upcast in self._upcasts[topic][state[0] - 1 :]:
            fields = upcast(fields)
        return msgspec.convert(fields, self._classes[topic])


class StreamEvent(NamedTuple):
    """A domain event at its place in its stream, in the names that the eventsourcing library expects."""

    originator_id: UUID
    originator_version: int
    event: MessageEvent


class MessageMapper(Mapper[UUID]):
    """The library's Mapper over our codec, so that its EventStore and Repository read and write message streams."""

    def __init__(self, codec: EventCodec) -> None:
        super().__init__(JSONTranscoder())
        self._codec = codec

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        """The stored form of a StreamEvent."""
        if not isinstance(domain_event, StreamEvent):
            raise TypeError(f"expected a StreamEvent, got {type(domain_event).__name__}")
        event = domain_event.event
        return StoredEvent(
            domain_event.originator_id, domain_event.originator_version, event.TOPIC, self._codec.encode(event)
        )

    def to_domain_event(self, stored_event: StoredEvent) -> StreamEvent:
        """The StreamEvent of a stored form, or UnreadableEvent."""
        originator_id = stored_event.originator_id
        return StreamEvent(
            originator_id if isinstance(originator_id, UUID) else UUID(originator_id),
            stored_event.originator_version,
            self._codec.decode(stored_event.topic, stored_event.state),
        )
