"""A ledger with its read models, fed with webhooks in a line each, and a plain fold of its log to compare with."""

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Self

import msgspec
from sqlalchemy import Connection

from ledger.errors import UnreadableEvent
from ledger.events import InboundMessageReceived, MessageEvent, stream_key
from ledger.facts import Fact, Placed, partition_of
from ledger.ledger import Ledger
from ledger.message import Fold, Message, effect_of, evolve
from ledger.positions import Position
from ledger.provider import Effect
from ledger.reception import Reception
from ledger.sends import acceptances_of, parse_send
from ledger.store.driver import Row, fetch
from ledger.store.log import LogRow
from ledger.store.reads import events_after
from projections.checkpoints import Generation
from projections.inbound_conversations import INBOUND_CONVERSATIONS, InboundConversationsProjection
from projections.message_status import MESSAGE_STATUS, MessageStatusProjection, row_of
from projections.projecting import Projector
from projections.projection import Projection
from projections.queries_messages import MessageStatus
from projections.read_models import ReadModels
from projections.register import live
from projections.spans import Spans, unseen
from tests.builders import placed
from tests.new_ledgers import new_ledger

START_US = 1_763_900_000_000_000

JSON = dict[str, object]


def members_of(answer: msgspec.Struct) -> JSON:
    """An answer as whoever reads its JSON sees it."""
    members: JSON = msgspec.json.decode(msgspec.json.encode(answer))
    return members


class Scene(AbstractContextManager["Scene"]):
    """One ledger and its read models; `deliver` and `send` append at a clock that moves a second each time."""

    def __init__(self, store_url: str, *, partitions: int = 1, spans: Spans = unseen) -> None:
        self.store_url = store_url
        new_ledger(store_url, partitions)
        self.ledger = Ledger.open(store_url, partitions=partitions)
        self.read_models = ReadModels.open(self.ledger, spans)
        self.now_us = START_US
        self.unreadable: set[str] = set()
        self._reception = Reception(None, partitions=partitions)

    def __exit__(self, *_: object) -> None:
        self.read_models.close()
        self.ledger.close()

    def reopened(self) -> Self:
        """The same, as another process would find it."""
        self.read_models.close()
        self.read_models = ReadModels.open(self.ledger)
        return self

    def deliver(self, *webhooks: JSON, at_us: int | None = None) -> list[Position]:
        """Appends webhooks, each received a second after the one before, in one commit."""
        outcomes = self.ledger.commit([self._fact(webhook, at_us) for webhook in webhooks])
        return [placed(outcome).position for outcome in outcomes]

    def send(self, message_id: str, **said: object) -> Position:
        """Appends a request acceptance."""
        self.now_us += 1_000_000
        request = {"sendFrom": said.get("number", "num_1"), "externalReference": said.get("reference")}
        result = {"to": said.get("to", "+15551234567"), "messageId": message_id, "status": "QUEUED"}
        body = {
            "idempotencyKey": said.get("key", f"key_{message_id}"),
            "request": request,
            "response": {"results": [result]},
        }
        accepted = parse_send(json.dumps(body).encode())
        (fact,) = acceptances_of(accepted, self.ledger.codec, partitions=self.ledger.partitions, now_us=self.now_us)
        return self._commit(fact)

    def append_unreadable(self, message_id: str) -> Position:
        """Appends an event that no version of ours can read, as a newer program would leave one behind."""
        self.unreadable.add(message_id)
        return self.append_stored(message_id, "message.of-the-future", [])

    def append_stored(self, message_id: str, topic: str, fields: Sequence[object]) -> Position:
        """Appends an event as a program of another version, or not of ours, may store one."""
        stream = stream_key(message_id)
        partition = partition_of(stream, self.ledger.partitions)
        state = b"\x01" + msgspec.msgpack.encode(fields)
        return self._commit(Fact(message_id, partition, stream, topic, secrets.token_bytes(16), state))

    def held(self, message_id: str) -> MessageStatus:
        """What the read model has of a message, whatever the log has since."""
        return self.read_models.current_statuses([message_id])[message_id]

    def live_rows(self, name: str) -> list[list[Row]]:
        """All rows of the live generation, table by table."""
        return self.rows(name, self._live(name))

    def rows(self, name: str, generation: Generation) -> list[list[Row]]:
        """All rows of a generation, table by table, by key."""
        with self.read_models.stores.rows.reading() as connection:
            return [
                _all_rows(connection, kind.of(generation), kind.columns, kind.keys)
                for kind in projection_of(self, name).tables
            ]

    def folded_rows(self) -> list[Row]:
        """What the rows of message-status must be: each message folded from the log, up to what cannot be read."""
        folds: dict[bytes, tuple[Fold, Position]] = {}
        for row, event in self._readable_events():
            fold, _ = folds.get(row.stream_id, (Fold(), None))
            fold.add(event)
            folds[row.stream_id] = (fold, Position(row.partition, row.position))
        return sorted(
            row_of(position.partition, stream, position.number, fold.message())
            for stream, (fold, position) in folds.items()
        )

    def created_messages(self) -> list[tuple[str, str | None, int, Position]]:
        """(messageId, conversationId, when it occurred or else was received, position) of what inbound events created."""
        messages: dict[bytes, Message] = {}
        created: list[tuple[str, str | None, int, Position]] = []
        for row, event in self._readable_events():
            before = messages.get(row.stream_id, Message())
            messages[row.stream_id] = evolve(before, event)
            if isinstance(event, InboundMessageReceived) and effect_of(before, event) is Effect.CREATED:
                occurred = event.receipt.received_at_us if event.occurred_at_us is None else event.occurred_at_us
                created.append(
                    (event.message_id, event.conversation_id, occurred, Position(row.partition, row.position))
                )
        return created

    def _readable_events(self) -> Iterator[tuple[LogRow, MessageEvent]]:
        """Every event of the log, partition by partition; of a message with an unreadable event, those before it."""
        unreadable: set[bytes] = set()
        with self.ledger.database.reading() as connection:
            rows = [row for each in range(self.ledger.partitions) for row in events_after(connection, each, 0, 10_000)]
        for row in rows:
            if row.stream_id in unreadable:
                continue
            try:
                yield row, self.ledger.codec.decode(row.topic, row.state)
            except UnreadableEvent:
                unreadable.add(row.stream_id)

    def _live(self, name: str) -> Generation:
        with self.read_models.stores.rows.reading() as connection:
            return live(connection, name).generation

    def _fact(self, webhook: JSON, at_us: int | None) -> Fact:
        self.now_us = self.now_us + 1_000_000 if at_us is None else at_us
        fact = self._reception.receive((), json.dumps(webhook).encode(), now_us=self.now_us)
        assert isinstance(fact, Fact)
        return fact

    def _commit(self, fact: Fact) -> Position:
        (placed,) = self.ledger.commit([fact])
        assert isinstance(placed, Placed)
        return placed.position


def _all_rows(connection: Connection, table: str, columns: Sequence[str], keys: int) -> list[Row]:
    return sorted(fetch(connection, f"SELECT {', '.join(columns)} FROM {table}", ()), key=lambda row: row[:keys])  # noqa: S608 - a test's own names


def projection_of(scene: Scene, name: str) -> Projection:
    if name == MESSAGE_STATUS:
        return MessageStatusProjection()
    assert name == INBOUND_CONVERSATIONS
    return InboundConversationsProjection(scene.ledger.partitions)


def projector_of(scene: Scene) -> Projector:
    """Whoever projects partition 0 into the first rows of message-status; several may."""
    stores = scene.read_models.stores
    projection = projection_of(scene, MESSAGE_STATUS)
    return Projector(stores.rows, stores.log, stores.codec, projection, Generation(MESSAGE_STATUS, 1), 0)


def outbound(kind: str, message_id: str, sequence: int, **members: object) -> JSON:
    return {"eventType": f"message.{kind}", "messageId": message_id, "sequence": sequence, **members}


def inbound(message_id: str, conversation_id: str | None = "conv_1", **members: object) -> JSON:
    said: JSON = {"eventType": "message.inbound", "messageId": message_id, "numberId": "num_1"}
    if conversation_id is not None:
        said["conversationId"] = conversation_id
    return said | {"from": "+15550001111", "to": "+15559990000", "body": "hello"} | members
