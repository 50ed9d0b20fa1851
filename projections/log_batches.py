"""Bounded batches of the log."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import Connection

from ledger.store.database import Database
from ledger.store.driver import fetch, placeholder_of

FETCH_ROWS_FIRST = 64
FETCH_ROWS_MAX = 512
LIVE_EVENTS_MAX = 4_000
LIVE_BYTES_MAX = 4 * 1024 * 1024
READING_THE_LOG = "while reading the log"
_COLUMNS = "position, stream_id, version, topic, state, hash"


class Bounds(NamedTuple):
    """How much one batch may hold."""

    events_max: int
    bytes_max: int


LIVE = Bounds(LIVE_EVENTS_MAX, LIVE_BYTES_MAX)


class Event(NamedTuple):
    """What a row of the log has, in the order of the columns. A tuple: whoever folds many takes it apart as one."""

    position: int
    stream_id: bytes
    version: int
    topic: str
    state: bytes
    hash: bytes


class Batch(NamedTuple):
    """Events of one partition right after a position, in order and without holes."""

    partition: int
    after: int
    events: list[Event]

    @property
    def last(self) -> int:
        """The position of the last event."""
        return self.events[-1].position if self.events else self.after

    @property
    def last_hash(self) -> bytes:
        """The log's hash at the last event."""
        return self.events[-1].hash

    def halves(self) -> tuple["Batch", "Batch"]:
        """The same events as two batches."""
        middle = len(self.events) // 2
        first = Batch(self.partition, self.after, self.events[:middle])
        return first, Batch(self.partition, first.last, self.events[middle:])


@contextmanager
def reading_log(log: Database) -> Iterator[Connection]:
    """A transaction on the log whose errors say that they are the log's, and not the read models'."""
    try:
        with log.reading() as connection:
            yield connection
    except Exception as error:
        error.add_note(READING_THE_LOG)
        raise


def is_of_the_log(error: Exception) -> bool:
    """Whether an error came out of reading the log."""
    return READING_THE_LOG in getattr(error, "__notes__", ())


def batch_after(log: Database, partition: int, position: int, bounds: Bounds, up_to: int | None = None) -> Batch:
    """The events after a position, until one of the bounds is reached (each batch has at least one event, if there is one)."""
    events: list[Event] = []
    room_bytes = bounds.bytes_max
    most = bounds.events_max if up_to is None else min(bounds.events_max, up_to - position)
    wanted = FETCH_ROWS_FIRST
    with reading_log(log) as connection:
        # Few rows first, then more: what one fetch brings is held in memory whole, and a body may have 256 KiB.
        while room_bytes > 0 and len(events) < most:
            wanted = min(wanted, most - len(events))
            some = _some(connection, partition, events[-1].position if events else position, wanted)
            room_bytes -= sum([len(event.state) for event in some])
            events.extend(some)
            if len(some) < wanted:
                break
            wanted = min(2 * wanted, FETCH_ROWS_MAX)
    return Batch(partition, position, events)


def _some(connection: Connection, partition: int, position: int, limit: int) -> list[Event]:
    place = placeholder_of(connection)
    statement = f"SELECT {_COLUMNS} FROM events WHERE partition = {place} AND position > {place} ORDER BY position LIMIT {place}"  # noqa: S608 - no value in it
    return list(map(Event._make, fetch(connection, statement, (partition, position, limit))))
