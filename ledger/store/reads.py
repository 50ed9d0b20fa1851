"""The questions that are answered from the log itself, each one query.

Rows come back as `LogRow`; `ledger/mapper.py` turns them into events.
"""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, bindparam, select

from ledger.store.driver import fetch, placeholder_of
from ledger.store.log import Head, LogRow
from ledger.store.tables import events

STREAMS_PER_READ = 256
ROWS_PER_FETCH = 32
PAGE_BYTES_MAX = 4 * 1024 * 1024
"""Where a page of events ends however many were asked for: a body may have 256 KiB."""
VERSIONS_END = 2**63
"""Above every version."""


def heads(connection: Connection) -> list[Head]:
    """The head of every partition, in the order of the partitions."""
    return [Head(*row) for row in fetch(connection, "SELECT position, hash FROM partition_heads ORDER BY partition")]


def events_after(connection: Connection, partition: int, position: int, limit: int) -> list[LogRow]:
    """At most `limit` events of a partition after `position`, in order; fewer, but at least one, where they are long."""
    return _page(connection, _AFTER, (partition,), "position", position, limit)


def events_of_stream(
    connection: Connection, partition: int, stream: bytes, *, after_version: int = 0, limit: int
) -> list[LogRow]:
    """At most `limit` events of one stream after a version, in order; fewer, but at least one, where they are long."""
    return _page(connection, _OF_STREAM, (partition, stream), "version", after_version, limit)


def events_of_streams(
    connection: Connection, partition: int, streams: Sequence[bytes], *, before: int
) -> Iterator[LogRow]:
    """All events of several streams of a partition before a position, stream by stream, each in its order.

    Few are in memory at a time: one message may have a hundred thousand of 256 KiB.
    """
    streaming = {"stream_results": True, "max_row_buffer": ROWS_PER_FETCH}
    for start in range(0, len(streams), STREAMS_PER_READ):
        some = list(streams[start : start + STREAMS_PER_READ])
        asked = {"partition": partition, "streams": some, "before": before}
        found = connection.execute(_OF_STREAMS, asked, execution_options=streaming)
        for rows in found.partitions(ROWS_PER_FETCH):
            yield from (LogRow(*row) for row in rows)


def between(
    connection: Connection, partition: int, stream: bytes, after_version: int, before_version: int = VERSIONS_END
) -> Iterator[LogRow]:
    """The events of one stream between two versions, in order; few are in memory at a time."""
    while (wanted := before_version - 1 - after_version) > 0:
        rows = events_of_stream(connection, partition, stream, after_version=after_version, limit=wanted)
        yield from rows
        if not is_full(rows, wanted):
            return
        after_version = rows[-1].version


def hash_of(connection: Connection, partition: int, stream: bytes, version: int) -> bytes | None:
    """The hash of one event; None where the log has none of that version."""
    found = fetch(connection, _HASH.replace("{}", placeholder_of(connection)), (partition, stream, version))
    return bytes(found[0][0]) if found else None


def _page(
    connection: Connection, statement: str, where: tuple[object, ...], column: str, after: int, limit: int
) -> list[LogRow]:
    """Rows in the order of a column, after a value of it, as many as a page holds."""
    rows: list[LogRow] = []
    asked = statement.replace("{}", placeholder_of(connection))
    while not is_full(rows, limit):
        wanted = min(limit - len(rows), ROWS_PER_FETCH)
        found = [LogRow(*row) for row in fetch(connection, asked, (*where, after, wanted))]
        rows += found
        if len(found) < wanted:
            break
        after = getattr(found[-1], column)
    return rows


def is_full(rows: Sequence[LogRow], limit: int) -> bool:
    """Whether a page of at most `limit` events ends with these rows, whatever comes after them."""
    return len(rows) >= limit or bytes_of(rows) >= PAGE_BYTES_MAX


def bytes_of(rows: Sequence[LogRow]) -> int:
    """About how much memory rows take."""
    return sum([len(row.state) for row in rows])


_COLUMNS = ", ".join(LogRow._fields)
_AFTER = f"SELECT {_COLUMNS} FROM events WHERE partition = {{}} AND position > {{}} ORDER BY position LIMIT {{}}"  # noqa: S608 - no value in it
_OF_STREAM = f"SELECT {_COLUMNS} FROM events WHERE partition = {{}} AND stream_id = {{}} AND version > {{}} ORDER BY version LIMIT {{}}"  # noqa: S608 - no value in it
_HASH = "SELECT hash FROM events WHERE partition = {} AND stream_id = {} AND version = {}"
_OF_STREAMS = (
    select(events)
    .where(
        events.c.partition == bindparam("partition"),
        events.c.stream_id.in_(bindparam("streams", expanding=True)),
        events.c.position + 0 < bindparam("before"),
    )
    .order_by(events.c.stream_id, events.c.version)
)
"""The plus keeps SQLite, which has no statistics, from reading the whole partition up to there."""
