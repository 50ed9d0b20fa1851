"""The walk through everything that is stored, which `ledger verify` makes: flat memory, short read transactions.

Rows come as the driver gives them: whoever edits a database behind our back may have put anything there.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from ledger.store.database import Database
from ledger.store.driver import chunks, placeholder_of
from ledger.store.log import LogRow
from ledger.store.tables import ledger, partition_heads

ROWS_AT_ONCE = 256
ROWS_PER_READ = 32_768
EVENTS_PER_SLICE = 500_000
STREAM_IDS_END = b"\xff" * 17
NUMBER_BEFORE_ALL = -(2**63)

RawRow = Sequence[Any]
"""position, stream_id, version, topic, fact_key, state, hash."""


class Ends(NamedTuple):
    """Where a partition ends, as its head row says and as its last event is; None where there is no such row."""

    partition: int
    head: tuple[int, bytes] | None
    last: tuple[int, bytes] | None

    @property
    def events(self) -> int:
        """About how many events there are."""
        return self.last[0] if self.last and isinstance(self.last[0], int) else 0


def stored_ledger_id(database: Database) -> str:
    """The id of the ledger as it is stored now, from which the first hash of every partition is made."""
    with database.reading() as connection:
        return str(connection.execute(select(ledger.c.id)).scalar_one())


def ends(database: Database, partitions: int) -> list[Ends]:
    """Both ends of every partition, all in one state of the database."""
    with database.reading() as connection:
        return [Ends(each, _head(connection, each), _last(connection, each)) for each in range(partitions)]


def hashes_at(database: Database, partition: int, numbers: Iterable[int]) -> dict[int, object]:
    """The stored hashes of some events, without those that are not there."""
    found: dict[int, object] = {}
    with database.reading() as connection:
        for number in sorted(numbers):
            row = connection.exec_driver_sql(_text(connection, _HASH_AT), (partition, number)).first()
            if row is not None:
                found[number] = row[0]
    return found


def event_chunks(database: Database, partition: int, last: int) -> Iterator[Sequence[RawRow]]:
    """The events of a partition up to a position, in order, some hundred at a time."""
    return _chunks(database, _EVENTS, (partition, NUMBER_BEFORE_ALL, last))


def quarantine_chunks(database: Database, partition: int) -> Iterator[Sequence[RawRow]]:
    """The quarantine of a partition: (quarantine_id, receipt, received_at_us)."""
    return _chunks(database, _QUARANTINE, (partition, b""))


def send_chunks(database: Database, partition: int) -> Iterator[Sequence[RawRow]]:
    """The register of sends of a partition: (send_id, digest, body)."""
    return _chunks(database, _SENDS, (partition, b""))


def uneven_streams(database: Database, events: int, limit: int) -> Iterator[RawRow]:
    """Streams whose versions are not 1, 2, 3 … without holes: (partition, stream_id, events, lowest and highest version).

    At most `limit` of each partition in each slice, as below.
    """
    return _sliced(database, _UNEVEN_STREAMS, events, limit)


def repeated_facts(database: Database, events: int, limit: int) -> Iterator[RawRow]:
    """Facts that a stream has more than once: (partition, stream_id, fact_key, how often)."""
    return _sliced(database, _REPEATED_FACTS, events, limit)


def first_position(database: Database, partition: int, stream_id: bytes, fact_key: bytes) -> int | None:
    """Where a fact stands first in a stream."""
    with database.reading() as connection:
        values = (partition, stream_id, fact_key)
        found: int | None = connection.exec_driver_sql(_text(connection, _FIRST_POSITION), values).scalar()
    return found


def events_elsewhere(database: Database, partitions: int, limit: int) -> list[RawRow]:
    """Events in a partition that this ledger does not have: (partition, position)."""
    return _elsewhere(database, "events", "position", partitions, limit)


def entries_elsewhere(database: Database, partitions: int, limit: int) -> list[tuple[str, Any]]:
    """The same of the two registers: (register, id)."""
    return [
        (register, row[1])
        for register, key in (("quarantine", "quarantine_id"), ("sends", "send_id"))
        for row in _elsewhere(database, register, key, partitions, limit)
    ]


def _elsewhere(database: Database, table: str, key: str, partitions: int, limit: int) -> list[RawRow]:
    with database.reading() as connection:
        statement = _text(connection, _ELSEWHERE.format("{0}", table=table, key=key))
        return list(connection.exec_driver_sql(statement, (partitions, limit)))


def _head(connection: Connection, partition: int) -> tuple[int, bytes] | None:
    statement = select(partition_heads.c.position, partition_heads.c.hash).where(
        partition_heads.c.partition == partition
    )
    row = connection.execute(statement).first()
    return None if row is None else (row.position, row.hash)


def _last(connection: Connection, partition: int) -> tuple[int, bytes] | None:
    row = connection.exec_driver_sql(_text(connection, _LAST), (partition,)).first()
    return None if row is None else (row[0], row[1])


def _chunks(database: Database, statement: str, parameters: tuple[object, ...]) -> Iterator[Sequence[RawRow]]:
    """Pages by the first column, which is compared with the second parameter; each page is a transaction of its own."""
    found = ROWS_PER_READ
    while found == ROWS_PER_READ:
        found = 0
        with database.reading() as connection:
            values = (*parameters, ROWS_PER_READ)
            for rows in chunks(connection, _text(connection, statement), values, ROWS_AT_ONCE):
                yield rows
                found += len(rows)
                parameters = (parameters[0], rows[-1][0], *parameters[2:])


def _sliced(database: Database, statement: str, events: int, limit: int) -> Iterator[RawRow]:
    """Asks slice by slice of the key, each of a bounded number of events, so that no query runs for minutes.

    All partitions at once: in the index of streams they lie among each other.
    """
    slices = min(1 + events // EVENTS_PER_SLICE, 65_536)
    bounds = [(65_536 * index // slices).to_bytes(2, "big") for index in range(slices)]
    for lower, upper in zip(bounds, [*bounds[1:], STREAM_IDS_END], strict=True):
        with database.reading() as connection:
            found = connection.exec_driver_sql(_text(connection, statement), (lower, upper, limit))
            rows = list(found)
        yield from rows


def _text(connection: Connection, statement: str) -> str:
    return statement.format(placeholder_of(connection))


_EVENT_COLUMNS = ", ".join(name for name in LogRow._fields if name != "partition")
_EVENTS = (
    f"SELECT {_EVENT_COLUMNS} FROM events"  # noqa: S608 - no value in it
    " WHERE partition = {0} AND position > {0} AND position <= {0} ORDER BY position LIMIT {0}"
)
_LAST = "SELECT position, hash FROM events WHERE partition = {0} ORDER BY position DESC LIMIT 1"
_HASH_AT = "SELECT hash FROM events WHERE partition = {0} AND position = {0}"
_ELSEWHERE = (
    "SELECT partition, {key} FROM {table} WHERE partition < 0 OR partition >= {0} ORDER BY partition, {key} LIMIT {0}"
)
_UNEVEN_STREAMS = (
    "SELECT partition, stream_id, events, lowest, highest FROM ("
    "SELECT partition, stream_id, count(*) AS events, min(version) AS lowest, max(version) AS highest,"
    " row_number() OVER (PARTITION BY partition ORDER BY stream_id) AS nth FROM events"
    " WHERE stream_id >= {0} AND stream_id < {0} GROUP BY stream_id, partition"
    " HAVING min(version) <> 1 OR max(version) <> count(*) OR count(DISTINCT version) <> count(*)"
    ") AS uneven WHERE nth <= {0} ORDER BY partition, stream_id"
)
_REPEATED_FACTS = (
    "SELECT partition, stream_id, fact_key, times FROM ("
    "SELECT partition, stream_id, fact_key, count(*) AS times,"
    " row_number() OVER (PARTITION BY partition ORDER BY stream_id, fact_key) AS nth FROM events"
    " WHERE stream_id >= {0} AND stream_id < {0} AND fact_key IS NOT NULL"
    " GROUP BY stream_id, partition, fact_key HAVING count(*) > 1"
    ") AS repeated WHERE nth <= {0} ORDER BY partition, stream_id, fact_key"
)
_FIRST_POSITION = "SELECT min(position) FROM events WHERE partition = {0} AND stream_id = {0} AND fact_key = {0}"
_QUARANTINE = (
    "SELECT quarantine_id, receipt, received_at_us FROM quarantine"
    " WHERE partition = {0} AND quarantine_id > {0} ORDER BY quarantine_id LIMIT {0}"
)
_SENDS = "SELECT send_id, digest, body FROM sends WHERE partition = {0} AND send_id > {0} ORDER BY send_id LIMIT {0}"
