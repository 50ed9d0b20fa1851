"""The read model `message-status`: one row a message, with its state after all its events and what people filter by.

The row holds the encoded `Message`, so a batch goes on from it exactly as a fold of the whole log would; the other columns
are there to be found by. What an event means is decided in `ledger/message.py` alone.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Index, LargeBinary, MetaData, SmallInteger, Table, Text, delete

from ledger.message import Fold, Message, external_reference
from ledger.store.driver import Row
from projections.checkpoints import Generation
from projections.failures import failure_code, failure_details
from projections.log_batches import Batch, Event
from projections.projection import IS_RANDOM, Sources, TableKind, TooMuchAtOnce, indexed
from projections.rows import select_by_key, upsert

MESSAGE_STATUS = "message-status"

STATES_BYTES_MAX = 16 * 1024 * 1024
"""So much of rows that are there already may one batch go on from: each may hold the body of a failure, of up to 256 KiB."""

STATES_A_TIME = 128
"""What one statement finds is held in memory whole, whatever room there is."""

PROVIDER_REF = "provider_message_ref"
COLUMNS = (
    "partition",
    "stream_id",
    "position",
    "message_id",
    "status",
    "external_reference",
    PROVIDER_REF,
    "number_id",
    "sender",
    "recipient",
    "failure_code",
    "updated_at_us",
    "state",
)

encode_message = msgspec.msgpack.Encoder().encode
decode_message = msgspec.msgpack.Decoder(Message).decode


def _message_status(name: str, metadata: MetaData) -> Table:
    newest_first = ("updated_at_us", "partition", "position")
    table = Table(
        name,
        metadata,
        Column("partition", SmallInteger, primary_key=True, autoincrement=False),
        Column("stream_id", LargeBinary, primary_key=True),
        Column("position", BigInteger, nullable=False),
        Column("message_id", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("external_reference", Text),
        Column(PROVIDER_REF, Text),
        Column("number_id", Text),
        Column("sender", Text),
        Column("recipient", Text),
        Column("failure_code", Text),
        Column("updated_at_us", BigInteger, nullable=False),
        Column("state", LargeBinary, nullable=False),
        # All messages, those of a direction, a number's and a reference's are read status by status: see message_ranges.py.
        Index(f"{name}_by_status", "status", *newest_first),
    )
    for column in ("external_reference", "number_id", "sender", "recipient"):
        _index_where_held(table, column, "status", *newest_first)
    _index_where_held(table, "failure_code", *newest_first)
    # It names one message: with more columns each later event of the message would change a page of its own.
    _index_where_held(table, PROVIDER_REF, info={IS_RANDOM: True})
    return table


def _index_where_held(table: Table, column: str, *others: str, info: dict[str, object] | None = None) -> None:
    held = table.c[column].is_not(None)
    columns = (table.c[each] for each in (column, *others))
    Index(f"{table.name}_by_{column}", *columns, info=info, sqlite_where=held, postgresql_where=held)


MESSAGES = TableKind("message_status", COLUMNS, 2, _message_status, "message_id")


class MessageStatusProjection:
    """Folds every event of the log into the row of its message."""

    name = MESSAGE_STATUS
    version = 1
    tables: Sequence[TableKind] = (MESSAGES,)

    def changes(self, sources: Sources, batch: Batch) -> list[Row]:
        """The rows of all messages of a batch after its last event; TooMuchAtOnce.

        Before the columns of each stands whether its message has a row already, with the same PROVIDER_REF.
        """
        before = _messages_before(sources, batch)
        folds: dict[bytes, Fold] = {stream: Fold(message) for stream, message in before.items()}
        last: dict[bytes, int] = {}
        decode = sources.codec.decode
        for position, stream, _version, topic, state, _hash in batch.events:
            folded = folds.get(stream)
            if folded is None:
                folded = folds[stream] = Fold()
            folded.add(decode(topic, state))
            last[stream] = position
        messages = {stream: folded.message() for stream, folded in folds.items()}
        rows = [row_of(batch.partition, stream, last[stream], message) for stream, message in messages.items()]
        sources.recent.remember((row[1], messages[row[1]], len(row[-1])) for row in rows)
        refs = {stream: _provider_ref(message) for stream, message in before.items()}
        return [(row[1] in refs and refs[row[1]] == _provider_ref(messages[row[1]]), *row) for row in rows]

    def write(self, connection: Connection, generation: Generation, changed: list[Row]) -> None:
        """Puts the rows in place of what was there."""
        table = MESSAGES.of(generation)
        upsert(connection, table, COLUMNS, MESSAGES.keys, [row for keeps_its_ref, *row in changed if not keeps_its_ref])
        keeping = [row for keeps_its_ref, *row in changed if keeps_its_ref]
        upsert(connection, table, COLUMNS, MESSAGES.keys, keeping, unchanged=(PROVIDER_REF,))

    def forget(self, connection: Connection, generation: Generation, partition: int, stream: bytes) -> None:
        """Takes the message's row away."""
        table = MESSAGES.table(generation)
        connection.execute(delete(table).where(table.c.partition == partition, table.c.stream_id == stream))


def _provider_ref(message: Message) -> str | None:
    return message.provider_message_ref.text if message.provider_message_ref else None


def row_of(partition: int, stream: bytes, position: int, message: Message) -> Row:
    """The row of a message, in the order of COLUMNS."""
    inbound, acceptance = message.inbound, message.acceptance
    number = recipient = sender = None
    if inbound is not None:
        number, sender, recipient = inbound.number_id, inbound.sender, inbound.recipient
    elif acceptance is not None:
        number, recipient = acceptance.number_id, acceptance.recipient
    reference, provider_ref = external_reference(message), _provider_ref(message)
    body = message.failure_body
    return (
        partition,
        stream,
        position,
        message.message_id,
        str(message.status),
        reference and indexed(reference),
        provider_ref and indexed(provider_ref),
        number and indexed(number),
        sender and indexed(sender),
        recipient and indexed(recipient),
        None if body is None else indexed(failure_code(failure_details(body))),
        message.updated_at_us,
        encode_message(message),
    )


def _messages_before(sources: Sources, batch: Batch) -> dict[bytes, Message]:
    """The messages of the batch that began before it, as they were."""
    recent, new = sources.recent, _begun_in(batch.events)
    found: dict[bytes, Message] = {}
    unknown: list[bytes] = []
    for stream in {event.stream_id for event in batch.events} - new:
        message = recent.get(stream)
        if message is None:
            unknown.append(stream)
        else:
            found[stream] = message
    table, columns, unknown = MESSAGES.of(sources.generation), ("stream_id", "state"), sorted(unknown)
    room_bytes = STATES_BYTES_MAX
    for start in range(0, len(unknown), STATES_A_TIME):
        some = unknown[start : start + STATES_A_TIME]
        for stream, state in select_by_key(sources.rows, table, columns, "stream_id", batch.partition, some):
            found[stream] = decode_message(state)
            room_bytes -= len(state)
        if room_bytes < 0 and len(unknown) > 1:
            found.clear()  # the error's traceback holds on to it
            raise TooMuchAtOnce
    return found


def _begun_in(events: Sequence[Event]) -> set[bytes]:
    """The streams whose first event is among these."""
    return {event.stream_id for event in events if event.version == 1}
