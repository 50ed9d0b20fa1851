"""The read model `inbound-conversations`: who wrote, in which conversation, in the order in which they wrote.

An inbound webhook creates a message; only the one that is `created` by the rule counts, so another body under the same
messageId, or an inbound event on an outbound message, is not shown. What is known of a conversation is the sum of its
messages, joined by an operation that gives the same in any order; so the partitions of the log need no order between them.
Events without a conversationId belong to no conversation. Nothing of the outbound lifecycle comes here.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from uuid import NAMESPACE_URL, uuid5

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    delete,
    select,
)

from ledger.events import InboundMessageReceived
from ledger.facts import partition_of
from ledger.message import Fold
from ledger.store.driver import Row, fetch, placeholder_of
from ledger.store.reads import between
from projections.checkpoints import Generation
from projections.log_batches import Batch, Event, reading_log
from projections.projection import Sources, TableKind, indexed
from projections.rows import upsert

INBOUND_CONVERSATIONS = "inbound-conversations"
ENTRIES_A_TIME = 32
"""An entry holds a whole body, of up to 256 KiB."""

_NAMESPACE = uuid5(NAMESPACE_URL, "urn:lifecycle-ledger:conversation")


class ConversationEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is kept of an inbound message: as claimed, and the exact body, which is read when it is shown."""

    conversation_id: str
    number_id: str | None
    sender: str | None
    recipient: str | None
    occurred_at_us: int | None
    received_at_us: int
    raw: bytes


class Place(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """Where a message stands among others: by a time in microseconds since 1970, then by its position."""

    time_us: int
    partition: int
    number: int


class Summary(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of a conversation from some of its messages."""

    conversation_id: str
    first_number: tuple[Place, str] | None
    participants: tuple[str, ...]
    message_count: int
    first_at_us: int
    last_at_us: int
    received_last: Place


encode = msgspec.msgpack.Encoder().encode
decode_entry = msgspec.msgpack.Decoder(ConversationEntry).decode
decode_summary = msgspec.msgpack.Decoder(Summary).decode


def joined(one: Summary, other: Summary) -> Summary:
    """What is known from the messages of both. Commutative and associative."""
    numbers = [held for held in (one.first_number, other.first_number) if held is not None]
    return Summary(
        one.conversation_id,
        min(numbers, default=None),
        tuple(sorted({*one.participants, *other.participants})),
        one.message_count + other.message_count,
        min(one.first_at_us, other.first_at_us),
        max(one.last_at_us, other.last_at_us),
        max(one.received_last, other.received_last),
    )


def conversation_key(conversation_id: str) -> bytes:
    """The key of a conversation: a deterministic UUID (version 5) of its id."""
    return uuid5(_NAMESPACE, conversation_id).bytes


def _inbound_messages(name: str, metadata: MetaData) -> Table:
    return Table(
        name,
        metadata,
        Column("partition", SmallInteger, primary_key=True, autoincrement=False),
        Column("stream_id", LargeBinary, primary_key=True),
        Column("position", BigInteger, nullable=False),
        Column("message_id", Text, nullable=False),
        Column("conversation_key", LargeBinary, nullable=False),
        Column("ordered_at_us", BigInteger, nullable=False),
        Column("entry", LargeBinary, nullable=False),
        Index(f"{name}_by_conversation", "conversation_key", "ordered_at_us", "partition", "position"),
    )


def _conversations(name: str, metadata: MetaData) -> Table:
    table = Table(
        name,
        metadata,
        Column("partition", SmallInteger, primary_key=True, autoincrement=False),
        Column("conversation_key", LargeBinary, primary_key=True),
        Column("conversation_id", Text, nullable=False),
        Column("number_id", Text),
        Column("last_message_at_us", BigInteger, nullable=False),
        Column("summary", LargeBinary, nullable=False),
        Index(f"{name}_by_latest", "last_message_at_us", "conversation_key"),
    )
    held = table.c.number_id.is_not(None)
    columns = (table.c.number_id, table.c.last_message_at_us, table.c.conversation_key)
    Index(f"{name}_by_number", *columns, sqlite_where=held, postgresql_where=held)
    return table


def _participants(name: str, metadata: MetaData) -> Table:
    return Table(
        name,
        metadata,
        Column("partition", SmallInteger, primary_key=True, autoincrement=False),
        Column("conversation_key", LargeBinary, primary_key=True),
        Column("participant", Text, primary_key=True),
        Column("last_message_at_us", BigInteger, nullable=False),
        Index(f"{name}_by_participant", "participant", "last_message_at_us", "conversation_key"),
    )


MESSAGE_COLUMNS = ("partition", "stream_id", "position", "message_id", "conversation_key", "ordered_at_us", "entry")
CONVERSATION_COLUMNS = (
    "partition",
    "conversation_key",
    "conversation_id",
    "number_id",
    "last_message_at_us",
    "summary",
)
PARTICIPANT_COLUMNS = ("partition", "conversation_key", "participant", "last_message_at_us")
MESSAGES = TableKind("inbound_messages", MESSAGE_COLUMNS, 2, _inbound_messages, "message_id")
CONVERSATIONS = TableKind("conversations", CONVERSATION_COLUMNS, 2, _conversations, "conversation_id")
PARTICIPANTS = TableKind("conversation_participants", PARTICIPANT_COLUMNS, 3, _participants, None)


class InboundConversationsProjection:
    """Keeps the messages that customers began, and sums them up by conversation."""

    name = INBOUND_CONVERSATIONS
    version = 1
    tables: Sequence[TableKind] = (MESSAGES, CONVERSATIONS, PARTICIPANTS)

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def changes(self, sources: Sources, batch: Batch) -> list[Row]:
        """The inbound messages that the batch creates."""
        rows: list[Row] = []
        begun: set[bytes] = set()
        for event in batch.events:
            if event.topic != InboundMessageReceived.TOPIC or event.stream_id in begun:
                continue
            begun.add(event.stream_id)
            if event.version == 1 or not _has_direction(sources, batch.partition, event):
                self._create(sources, batch.partition, event, rows)
        return rows

    def _create(self, sources: Sources, partition: int, event: Event, rows: list[Row]) -> None:
        created = sources.codec.decode(event.topic, event.state)
        if not isinstance(created, InboundMessageReceived) or created.conversation_id is None:
            return
        receipt = created.receipt
        entry = ConversationEntry(
            created.conversation_id,
            created.number_id,
            created.sender,
            created.recipient,
            created.occurred_at_us,
            receipt.received_at_us,
            receipt.body,
        )
        place = place_of(entry, partition, event.position)
        key = conversation_key(entry.conversation_id)
        rows.append((partition, event.stream_id, event.position, created.message_id, key, place.time_us, encode(entry)))

    def write(self, connection: Connection, generation: Generation, changed: list[Row]) -> None:
        """Adds the messages, and joins what they say to what is known of their conversations."""
        upsert(connection, MESSAGES.of(generation), MESSAGE_COLUMNS, MESSAGES.keys, changed)
        added: dict[bytes, Summary] = {}
        for partition, _stream, position, _message_id, key, _time_us, entry in changed:
            summary = summary_of(decode_entry(entry), partition, position)
            added[key] = joined(added[key], summary) if key in added else summary
        keys = sorted(added, key=self._home_and_key)
        known = [self._lock(connection, generation, key, added[key]) for key in keys]
        summaries = {
            key: added[key] if before is None else joined(before, added[key])
            for key, before in zip(keys, known, strict=True)
        }
        self._put(connection, generation, summaries)

    def forget(self, connection: Connection, generation: Generation, partition: int, stream: bytes) -> None:
        """Takes a message out, and sums its conversation up again from those that are left."""
        messages = MESSAGES.table(generation)
        this = (messages.c.partition == partition) & (messages.c.stream_id == stream)
        gone = connection.execute(
            delete(messages).where(this).returning(messages.c.conversation_key, messages.c.position, messages.c.entry)
        ).one_or_none()
        if gone is not None:
            summary = summary_of(decode_entry(gone.entry), partition, gone.position)
            self._sum_up_again(connection, generation, bytes(gone.conversation_key), summary)

    def _sum_up_again(self, connection: Connection, generation: Generation, key: bytes, gone: Summary) -> None:
        messages = MESSAGES.table(generation)
        home = self._home(key)
        # Locked before it is looked what is left: a runner of another partition may be about to add a message.
        self._lock(connection, generation, key, gone)
        left = connection.execute(
            select(messages.c.partition, messages.c.position, messages.c.entry)
            .where(messages.c.conversation_key == key)
            .execution_options(yield_per=ENTRIES_A_TIME)
        )
        summaries = [summary_of(decode_entry(row.entry), row.partition, row.position) for row in left]
        for kind in (CONVERSATIONS, PARTICIPANTS):
            table = kind.table(generation)
            connection.execute(delete(table).where(table.c.partition == home, table.c.conversation_key == key))
        if summaries:
            self._put(connection, generation, {key: reduce(joined, summaries)})

    def _lock(self, connection: Connection, generation: Generation, key: bytes, added: Summary) -> Summary | None:
        """What is known of a conversation, locked until the transaction ends; None where nothing was known."""
        place = placeholder_of(connection)
        columns = ", ".join(CONVERSATION_COLUMNS)
        places = ", ".join([place] * len(CONVERSATION_COLUMNS))
        # An insert that changes nothing where there is a row locks that row, and leaves one to lock where there is none.
        statement = (
            f"INSERT INTO {CONVERSATIONS.of(generation)} AS held ({columns}) VALUES ({places}) "  # noqa: S608 - no value in it
            f"ON CONFLICT (partition, conversation_key) DO UPDATE SET summary = held.summary RETURNING summary"
        )
        values = (self._home(key), key, added.conversation_id, None, added.last_at_us, b"")
        ((summary,),) = fetch(connection, statement, values)
        return decode_summary(summary) if summary else None

    def _put(self, connection: Connection, generation: Generation, summaries: dict[bytes, Summary]) -> None:
        rows = [self._conversation_row(key, summary) for key, summary in summaries.items()]
        participants = [
            (self._home(key), key, participant, summary.last_at_us)
            for key, summary in summaries.items()
            for participant in sorted({indexed(each) or "" for each in summary.participants})
        ]
        upsert(connection, CONVERSATIONS.of(generation), CONVERSATION_COLUMNS, CONVERSATIONS.keys, rows)
        upsert(connection, PARTICIPANTS.of(generation), PARTICIPANT_COLUMNS, PARTICIPANTS.keys, participants)

    def _conversation_row(self, key: bytes, summary: Summary) -> Row:
        number = summary.first_number[1] if summary.first_number else None
        return (self._home(key), key, summary.conversation_id, indexed(number), summary.last_at_us, encode(summary))

    def _home(self, key: bytes) -> int:
        return partition_of(key, self._partitions)

    def _home_and_key(self, key: bytes) -> tuple[int, bytes]:
        # One order for all, so that two runners never wait for each other's rows in turn.
        return self._home(key), key


def place_of(entry: ConversationEntry, partition: int, position: int) -> Place:
    """Where a message stands in its conversation: by its time of occurrence, or else of receipt; then by position."""
    time_us = entry.received_at_us if entry.occurred_at_us is None else entry.occurred_at_us
    return Place(time_us, partition, position)


def summary_of(entry: ConversationEntry, partition: int, position: int) -> Summary:
    """What one message says of its conversation."""
    place = place_of(entry, partition, position)
    parties: Iterable[str] = {party for party in (entry.sender, entry.recipient) if party is not None}
    return Summary(
        entry.conversation_id,
        None if entry.number_id is None else (place, entry.number_id),
        tuple(sorted(parties)),
        1,
        place.time_us,
        place.time_us,
        Place(entry.received_at_us, partition, position),
    )


def _has_direction(sources: Sources, partition: int, event: Event) -> bool:
    """Whether the message had a direction before this event: then the event creates nothing."""
    message = Fold()
    with reading_log(sources.log) as connection:
        for row in between(connection, partition, event.stream_id, 0, event.version):
            message.add(sources.codec.decode(row.topic, bytes(row.state)))
            if message.direction is not None:
                return True
    return False
