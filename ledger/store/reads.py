"""The questions that are answered from the log itself, each one query.

Rows come back as `LogRow`; `ledger/mapper.py` turns them into events.
"""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, bindparam, select

from ledger.store.log import Head, LogRow
from ledger.store.statements import in_lists
from ledger.store.tables import events, partition_heads

_COLUMNS = ", ".join(LogRow._fields)


def heads(connection: Connection) -> list[Head]:
    """The head of every partition, in the order of the partitions."""
    return [Head(row.position, bytes(row.hash)) for row in connection.execute(_HEADS)]


def events_after(connection: Connection, partition: int, position: int, limit: int) -> list[LogRow]:
    """At most `limit` events of a partition after `position`, in order."""
    found = connection.execute(_AFTER, {"partition": partition, "position": position, "limit": limit})
    return [_row(*row) for row in found]


def events_of_stream(
    connection: Connection, partition: int, stream: bytes, *, after_version: int = 0, limit: int
) -> list[LogRow]:
    """At most `limit` events of one stream after a version, in order."""
    found = connection.execute(
        _OF_STREAM, {"partition": partition, "stream": stream, "version": after_version, "limit": limit}
    )
    return [_row(*row) for row in found]


def events_of_streams(connection: Connection, partition: int, streams: Sequence[bytes]) -> Iterator[LogRow]:
    """All events of several streams of a partition, in the order of the log."""
    statement = f"SELECT {_COLUMNS} FROM events WHERE partition = {{0}} AND stream_id IN ({{1}})"  # noqa: S608 - no value in it
    rows = [_row(*row) for row in in_lists(connection, statement, partition, streams)]
    return iter(sorted(rows, key=_position))


def facts_at(connection: Connection, partition: int, fact_keys: Sequence[bytes]) -> dict[bytes, int]:
    """The position of each of those facts that the log holds."""
    statement = "SELECT fact_key, position FROM events WHERE partition = {0} AND fact_key IN ({1})"
    return {bytes(key): position for key, position in in_lists(connection, statement, partition, fact_keys)}


def _row(*columns: object) -> LogRow:
    return LogRow(*columns)  # type: ignore[arg-type]


def _position(row: LogRow) -> int:
    return row.position


_HEADS = select(partition_heads.c.position, partition_heads.c.hash).order_by(partition_heads.c.partition)
_AFTER = (
    select(events)
    .where(events.c.partition == bindparam("partition"), events.c.position > bindparam("position"))
    .order_by(events.c.position)
    .limit(bindparam("limit"))
)
_OF_STREAM = (
    select(events)
    .where(
        events.c.partition == bindparam("partition"),
        events.c.stream_id == bindparam("stream"),
        events.c.version > bindparam("version"),
    )
    .order_by(events.c.version)
    .limit(bindparam("limit"))
)
