"""The write side as one object: for `api/`, for the command line, and for programs of one's own.

`Ledger.open` creates or opens; `commit` makes things durable; the rest are questions that the log itself answers.
Every method may be called from any thread. `docs/INTEGRATING.md` shows a program that uses it.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Self, cast

import msgspec
from eventsourcing.persistence import EventStore

from ledger import clock
from ledger.entry_reader import EntryReader
from ledger.errors import MalformedQuestion, NotFound
from ledger.events import stream_id, stream_key
from ledger.facts import Fact, Item, Outcome, home_of, partition_of, quarantine_partition
from ledger.log_entries import Entry, LogEntry, readable
from ledger.mapper import EventCodec, MessageMapper, StreamEvent
from ledger.message import Fold, Message
from ledger.positions import Cursor, Position
from ledger.reception import Reception
from ledger.sends import AcceptedRequest, acceptances_of, parse_send, send_id_of
from ledger.store import reads, registers
from ledger.store.commit import Readable, commit, replay
from ledger.store.database import Database, opening
from ledger.store.log import Head, find_facts, latest_versions
from ledger.store.recorder import LogRecorder
from ledger.store.registers import QuarantinedDelivery
from ledger.store.schema import Identity, open_existing, open_or_create

HISTORY_EVENTS_MAX = 1_000
QUARANTINE_PAGE = 100
NO_QUARANTINE_ID = b"\0"
EVENTS_FOLDED_AT_ONCE = 64
"""A body may have 256 KiB."""


class RecordedSend(NamedTuple):
    """A registered send: when (microseconds since 1970), what it said, and where each result stands in the log."""

    recorded_at_us: int
    accepted: AcceptedRequest
    positions: Sequence[Position | None]


class Ledger:
    """An open ledger."""

    def __init__(self, database: Database, identity: Identity) -> None:
        self.database = database
        self.identity = identity
        self.codec = EventCodec()
        self._reader = EntryReader(self.codec)

    @classmethod
    def open(cls, url: str, *, partitions: int | None = None) -> Self:
        """The ledger at a database URL, created there first if there is none.

        Raises SettingRefused, SchemaMismatch, or StoreUnavailable where the database cannot be reached.
        """
        with opening(url) as database:
            return cls(database, open_or_create(database, partitions))

    @classmethod
    def open_existing(cls, url: str) -> Self:
        """The ledger at a database URL, which must exist."""
        with opening(url) as database:
            return cls(database, open_existing(database))

    def close(self) -> None:
        """Closes every connection."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def partitions(self) -> int:
        """How many partitions the log has."""
        return self.identity.partitions

    @property
    def writers(self) -> int:
        """How many commit best at once: one for all partitions together; on a distributed PostgreSQL one a partition."""
        return self.partitions if self.identity.is_distributed else 1

    @property
    def unreadable(self) -> AbstractSet[Position]:
        """Where readers of this object have met an event that this version cannot read, up to a thousand places."""
        return self._reader.unreadable

    def commit(self, items: Sequence[Item]) -> list[Outcome]:
        """Makes items durable in one transaction; their outcomes in order. StoreUnavailable if it cannot.

        No items at all only prove that it could. ValueError, and nothing is stored, where one was made for another number of
        partitions; and on a distributed PostgreSQL where they are of several.
        """
        if not items:
            self.database.prove_writable()
            return []
        for item in items:
            self._expect_at_home(item)
        if self.identity.is_distributed and len({item.partition for item in items}) > 1:
            raise ValueError(
                "this PostgreSQL is distributed: commit items of one partition together, and others by themselves"
            )
        return commit(self.database, items)

    def message(self, message_id: str) -> Message:
        """A message folded from its whole stream; NotFound where there is none."""
        folded, version = Fold(), None
        store = EventStore(MessageMapper(self.codec), self.recorder(message_id))
        while events := list(store.get(stream_id(message_id), gt=version, limit=EVENTS_FOLDED_AT_ONCE)):
            for each in cast("Sequence[StreamEvent]", events):
                folded.add(each.event)
            version = events[-1].originator_version
        if folded.event_count == 0:
            raise NotFound(f"the ledger holds nothing of message {message_id!r}")
        return folded.message()

    def recorder(self, message_id: str) -> LogRecorder:
        """The eventsourcing library's way to the partition where a message has its stream."""
        partition = partition_of(stream_key(message_id), self.partitions)
        return LogRecorder(self.database, partition, self.partitions)

    def history(self, message_id: str, *, after_version: int = 0, limit: int = HISTORY_EVENTS_MAX) -> list[Entry]:
        """At most `limit` events of a message after a version, in the order of recording; fewer where bodies are long.

        NotFound where the ledger holds nothing of it.
        """
        return self.history_page(message_id, after_version=after_version, limit=limit)[0]

    def history_page(
        self, message_id: str, *, after_version: int = 0, limit: int = HISTORY_EVENTS_MAX
    ) -> tuple[list[Entry], bool]:
        """As `history`, and whether there are more events after these.

        Earlier events decide the effects of these: they are read as well, unless they are many and remembered.
        """
        stream = stream_key(message_id)
        partition = partition_of(stream, self.partitions)
        with self.database.reading() as connection:
            rows = reads.events_of_stream(connection, partition, stream, after_version=after_version, limit=limit)
            if rows and not reads.is_full(rows, limit):
                return self._reader.entries(connection, rows), False
            last = latest_versions(connection, partition, [stream]).get(stream)
            if last is None:
                raise NotFound(f"the ledger holds nothing of message {message_id!r}")
            return (self._reader.entries(connection, rows), rows[-1].version < last) if rows else ([], False)

    def whole_history(self, message_id: str) -> Iterator[Entry]:
        """Every event of a message, in the order of recording; NotFound where the ledger holds nothing of it.

        Read a page at a time until there is no more: how long a page is says nothing, as long bodies end it early.
        """
        stream = stream_key(message_id)
        partition = partition_of(stream, self.partitions)
        folds: dict[bytes, Fold] = {}
        version = 0
        while True:
            with self.database.reading() as connection:
                rows = reads.events_of_stream(
                    connection, partition, stream, after_version=version, limit=HISTORY_EVENTS_MAX
                )
            if not rows:
                break
            version = rows[-1].version
            yield from (self._reader.entry(row, folds) for row in rows)
        if version == 0:
            raise NotFound(f"the ledger holds nothing of message {message_id!r}")

    def entry(self, message_id: str, version: int) -> LogEntry:
        """One event of a message; NotFound where there is none of that version, UnreadableEvent where it cannot be read."""
        entries = self.history(message_id, after_version=version - 1, limit=1) if version > 0 else []
        if not entries:
            raise NotFound(f"message {message_id!r} has no event of version {version}")
        return readable(entries)[0]

    def feed(self, cursor: Cursor, limit: int) -> tuple[list[Entry], Cursor]:
        """At most `limit` events after a cursor (fewer where they are long), in order within each partition; the cursor after them.

        What this version cannot read is an entry as well: a reader skips nothing, and nothing stops it. MalformedQuestion for
        a cursor beyond the end of the log, whatever the limit: it is that of another ledger, or of one before a restore.
        """
        entries: list[Entry] = []
        room_bytes = reads.PAGE_BYTES_MAX
        with self.database.reading() as connection:
            heads = reads.heads(connection)
            _expect_reached(cursor, heads)
            behind = [
                partition for partition, number in enumerate(cursor.numbers) if number < heads[partition].position
            ]
            # The least read partition first, so that a busy one never keeps a reader from the others.
            for number, partition in sorted((cursor.numbers[partition], partition) for partition in behind):
                room = limit - len(entries) if room_bytes > 0 else 0
                rows = reads.events_after(connection, partition, number, room) if room else []
                if rows:
                    entries.extend(self._reader.entries(connection, rows))
                    cursor = cursor.advanced(Position(partition, rows[-1].position))
                    room_bytes -= reads.bytes_of(rows)
        return entries, cursor

    def heads(self) -> list[Head]:
        """The last position and hash of every partition."""
        with self.database.reading() as connection:
            return reads.heads(connection)

    def position(self, text: str) -> Position:
        """A position written by a reader, or MalformedQuestion where this ledger cannot have it."""
        position = Position.parse(text)
        if position.partition >= self.partitions:
            raise MalformedQuestion(
                f"position {text} is in partition {position.partition}, the last is {self.partitions - 1}"
            )
        return position

    def handed_over(self, idempotency_key: str) -> tuple[int, bytes]:
        """When a send was registered (microseconds since 1970), and its exact body; NotFound where the key is not known."""
        send_id = send_id_of(idempotency_key)
        with self.database.reading() as connection:
            held = registers.registered_send(connection, partition_of(send_id.bytes, self.partitions), send_id.bytes)
        if held is None:
            raise NotFound(f"no send is recorded under the idempotency key {idempotency_key!r}")
        return held

    def accepted_request(self, idempotency_key: str) -> tuple[int, AcceptedRequest]:
        """When a send was registered, and what it said; NotFound where the key is not known."""
        recorded_at_us, body = self.handed_over(idempotency_key)
        return recorded_at_us, parse_send(body)

    def send(self, idempotency_key: str) -> RecordedSend:
        """A registered send with the places of its results; NotFound where the key is not known."""
        recorded_at_us, accepted = self.accepted_request(idempotency_key)
        facts = acceptances_of(accepted, self.codec, partitions=self.partitions, now_us=recorded_at_us)
        with self.database.reading() as connection:
            found = dict[bytes, tuple[int, int]]()
            for partition in {fact.partition for fact in facts}:  # as for a replay: one at a time
                found |= find_facts(connection, [fact for fact in facts if fact.partition == partition]).places
        return RecordedSend(
            recorded_at_us,
            accepted,
            [Position(fact.partition, found[fact.fact_key][0]) if fact.fact_key in found else None for fact in facts],
        )

    def quarantined(self, *, after: tuple[int, str] = (-1, ""), limit: int) -> list[QuarantinedDelivery]:
        """At most `limit` deliveries in quarantine, oldest first, after a (received_at_us, quarantineId)."""
        with self.database.reading() as connection:
            return registers.quarantined(connection, after=after, limit=limit)

    def quarantined_delivery(self, quarantine_id: str) -> QuarantinedDelivery:
        """One delivery in quarantine; NotFound where there is none."""
        key = _quarantine_id_bytes(quarantine_id)
        partition = quarantine_partition(key, self.partitions)
        with self.database.reading() as connection:
            found = registers.quarantined_delivery(connection, partition, key)
        if found is None:
            raise NotFound(f"nothing is in quarantine under {quarantine_id[:64]!r}")
        return found

    def replay_quarantine(self, *, now_us: int | None = None) -> tuple[int, int]:
        """Records what this version can read by now; (how many were replayed, how many remain).

        Each page of them in one transaction, so a replay that is cut off anywhere can be repeated. An event keeps when its delivery
        was received, and gets when it was replayed.
        """
        reception = Reception(None, partitions=self.partitions, codec=self.codec)
        replayed = 0
        for page in self._quarantine_pages():
            replayed_at_us = clock.now_us() if now_us is None else now_us
            readable_now: list[Readable] = []
            for delivery in page:
                item = reception.read(msgspec.structs.replace(delivery.receipt, replayed_at_us=replayed_at_us))
                if isinstance(item, Fact):
                    key = bytes.fromhex(delivery.quarantine_id)
                    readable_now.append(Readable(key, quarantine_partition(key, self.partitions), item))
            if readable_now:
                replayed += replay(self.database, readable_now, replayed_at_us)
        with self.database.reading() as connection:
            return replayed, registers.waiting_in_quarantine(connection)

    def _expect_at_home(self, item: Item) -> None:
        home = home_of(item, self.partitions)
        if item.partition != home:
            raise ValueError(
                f"an item of partition {home} was made for partition {item.partition}: make it with"
                f" Reception(…, partitions={self.partitions})"
            )

    def _quarantine_pages(self) -> Iterator[list[QuarantinedDelivery]]:
        """What waits in quarantine and can be tried, some at a time."""
        after = (-1, "")
        while page := self.quarantined(after=after, limit=QUARANTINE_PAGE):
            yield [each for each in page if each.replayed_at_us is None and not each.is_damaged]
            after = (page[-1].receipt.received_at_us, page[-1].quarantine_id)


def _expect_reached(cursor: Cursor, heads: Sequence[Head]) -> None:
    """MalformedQuestion for a cursor that the log has not reached: whoever went on from there would miss what comes."""
    for partition, (number, head) in enumerate(zip(cursor.numbers, heads, strict=True)):
        if number > head.position:
            raise MalformedQuestion(
                f"the cursor is beyond the end of the log: it stands after {Position(partition, number)}, and the log ends at "
                f"{Position(partition, head.position)}. Was a backup restored? Then go on from its end, or begin without a cursor"
            )


def _quarantine_id_bytes(quarantine_id: str) -> bytes:
    """The stored form of an id; one that nothing has for what is none."""
    try:
        return bytes.fromhex(quarantine_id) or NO_QUARANTINE_ID
    except ValueError:
        return NO_QUARANTINE_ID
