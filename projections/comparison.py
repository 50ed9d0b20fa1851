"""Comparing a generation with the one that replaces it: how many rows differ, and which events explain some of them.

The two are compared while events arrive, part by part, each part in one state of the database. A row counts if neither
generation has an event in it that the other has not reached yet; of two equal logs, such rows must be equal.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import Connection

from ledger.positions import Position
from ledger.store.database import Database
from projections.checkpoints import Generation, checkpoint
from projections.projection import Projection, TableKind
from projections.rows import Row, fetch, placeholder_of

EXAMPLES_MAX = 10
POSITIONS_SHOWN_MAX = 20
EVENTS_A_PART = 4_000
PARTS_MAX = 4_096
STREAM_PREFIXES = 65_536


class Difference(NamedTuple):
    """A row that a rebuild changed: its key (a messageId), the columns that differ, the events that explain it."""

    key: str
    columns: tuple[str, ...]
    positions: tuple[Position, ...]


class Comparison(NamedTuple):
    """How many rows were compared, how many of them differ, and examples."""

    rows_compared: int
    rows_differing: int
    examples: list[Difference]


class Part(NamedTuple):
    """A range of streams in a partition, and the last position that both generations have reached."""

    partition: int
    start: bytes
    end: bytes
    reached: int


def compare(
    rows: Database, log: Database, projection: Projection, old: Generation, new: Generation, partitions: int
) -> Iterator[Comparison]:
    """Compares part by part, so that whoever asks can do something else in between."""
    kind = projection.tables[0]
    for partition in range(partitions):
        for start, end in _ranges(rows, new, partition):
            with rows.reading() as connection:
                reached = min(checkpoint(connection, each, partition).position for each in (old, new))
                part = Part(partition, start, end, reached)
                compared = _compare_part(connection, log, (kind, kind.of(old), kind.of(new)), part)
            yield compared


def total(comparisons: Iterator[Comparison]) -> Comparison:
    """All parts together."""
    compared = differing = 0
    examples: list[Difference] = []
    for each in comparisons:
        compared += each.rows_compared
        differing += each.rows_differing
        examples.extend(each.examples[: EXAMPLES_MAX - len(examples)])
    return Comparison(compared, differing, examples)


def _ranges(rows: Database, generation: Generation, partition: int) -> Iterator[tuple[bytes, bytes]]:
    with rows.reading() as connection:
        events = checkpoint(connection, generation, partition).position
    parts = min(PARTS_MAX, 1 + events // EVENTS_A_PART)
    bounds = [index * STREAM_PREFIXES // parts for index in range(parts + 1)]
    for start, end in pairwise(bounds):
        # The id of a stream has 16 bytes, so nothing lies behind 17 times 0xff.
        yield start.to_bytes(2, "big"), (end.to_bytes(2, "big") if end < STREAM_PREFIXES else b"\xff" * 17)


def _compare_part(connection: Connection, log: Database, tables: tuple[TableKind, str, str], part: Part) -> Comparison:
    kind, old, new = tables
    unlike = "IS NOT" if connection.dialect.name == "sqlite" else "IS DISTINCT FROM"
    differs = " OR ".join(f"o.{column} {unlike} n.{column}" for column in kind.columns[kind.keys :])
    place = placeholder_of(connection)
    within = f"o.partition = {place} AND o.stream_id >= {place} AND o.stream_id < {place} AND o.position <= {place}"
    same = "n.partition = o.partition AND n.stream_id = o.stream_id"
    values = (part.partition, part.start, part.end, part.reached)
    both = f"FROM {old} o JOIN {new} n ON {same} WHERE {within} AND n.position <= {place}"
    counted = fetch(
        connection,
        f"SELECT count(*), coalesce(sum(CASE WHEN {differs} THEN 1 ELSE 0 END), 0) {both}",
        (*values, part.reached),
    )
    ((compared, differing),) = counted
    streams = (
        _streams(connection, f"SELECT o.stream_id {both} AND ({differs})", (*values, part.reached)) if differing else []
    )
    for here, there in ((old, new), (new, old)):
        lonely = f"FROM {here} o LEFT JOIN {there} n ON {same} WHERE {within} AND n.position IS NULL"
        ((missing,),) = fetch(connection, f"SELECT count(*) {lonely}", values)
        compared += missing
        differing += missing
        streams += _streams(connection, f"SELECT o.stream_id {lonely}", values) if missing else []
    examples = [_example(connection, log, tables, part, stream) for stream in streams[:EXAMPLES_MAX]]
    return Comparison(compared, differing, examples)


def _streams(connection: Connection, statement: str, values: Row) -> list[bytes]:
    return [bytes(row[0]) for row in fetch(connection, f"{statement} LIMIT {EXAMPLES_MAX}", values)]


def _example(
    connection: Connection, log: Database, tables: tuple[TableKind, str, str], part: Part, stream: bytes
) -> Difference:
    kind, old, new = tables
    place = placeholder_of(connection)
    found: list[Row | None] = []
    for table in (old, new):
        statement = f"SELECT {', '.join(kind.columns)} FROM {table} WHERE partition = {place} AND stream_id = {place}"  # noqa: S608 - no value in it
        found.append(next(iter(fetch(connection, statement, (part.partition, stream))), None))
    before, after = found
    shown = after or before or ()
    columns = tuple(
        column
        for index, column in enumerate(kind.columns)
        if before is None or after is None or before[index] != after[index]
    )
    return Difference(str(shown[kind.columns.index("message_id")]), columns, _positions(log, part, stream))


def _positions(log: Database, part: Part, stream: bytes) -> tuple[Position, ...]:
    with log.reading() as connection:
        place = placeholder_of(connection)
        statement = f"SELECT position FROM events WHERE partition = {place} AND stream_id = {place} AND position <= {place} ORDER BY version LIMIT {POSITIONS_SHOWN_MAX}"  # noqa: S608, E501 - no value in it
        found = fetch(connection, statement, (part.partition, stream, part.reached))
    return tuple(Position(part.partition, row[0]) for row in found)
