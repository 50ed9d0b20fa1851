"""Comparing a generation with the one that replaces it: how many rows differ, and which events explain some of them.

The two are compared while events arrive, part by part, each part in one state of the database. A row counts if neither
generation has an event in it that the other has not reached yet; of two equal logs, such rows must be equal.
"""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import Connection

from ledger.positions import Position
from ledger.store.database import Database
from ledger.store.driver import Row, fetch, placeholder_of
from projections.checkpoints import Generation, checkpoint
from projections.projection import Projection, TableKind
from projections.rows import select_by_key

EXAMPLES_MAX = 10
POSITIONS_SHOWN_MAX = 20
EVENTS_A_PART = 32_000
ROWS_A_PART = 2_000
PARTS_MAX = 4_096
PLACES_AN_EVENT_MAX = 2
"""Each row is of an event at least; one that was folded again by itself took another place."""

PARTS_AT_ONCE = 2
"""The database compares, and each on a core of its own."""
STREAM_PREFIXES = 65_536
SAME_MESSAGE = "there.partition = here.partition AND there.stream_id = here.stream_id"


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
    """Some rows of one generation in a partition, by a condition, and the last position that both generations have reached."""

    partition: int
    within: str
    bounds: tuple[object, object]
    reached: int


Range = tuple[str, tuple[object, object]]
Tables = tuple[TableKind, str, str]
"""What is compared: the table of one generation with that of another."""


class Found(NamedTuple):
    """Of a part: how many rows were compared, how many of them differ, and the streams of some of these."""

    compared: int
    differing: int
    streams: list[bytes]


Find = Callable[[Connection, Tables, Part], Found]


class Sides(NamedTuple):
    """Two generations, and where they are."""

    rows: Database
    log: Database
    generations: tuple[Generation, Generation]
    tables: Tables


def compare(
    rows: Database, log: Database, projection: Projection, old: Generation, new: Generation, partitions: int
) -> Generator[Comparison, None, None]:
    """Compares part by part, some at the same time, so that whoever asks can do something else in between. Close it."""
    kind = projection.tables[0]
    sides = Sides(rows, log, (old, new), (kind, kind.of(old), kind.of(new)))
    with ThreadPoolExecutor(PARTS_AT_ONCE, "ledger-comparison") as threads:
        for partition in range(partitions):
            with rows.reading() as connection:
                find, parts = _parts(connection, sides, partition, is_alone=partitions == 1)
            compared = [threads.submit(_compared, sides, find, partition, within) for within in parts]
            try:
                yield from (each.result() for each in compared)
            finally:
                for each in compared:
                    each.cancel()


def _parts(connection: Connection, sides: Sides, partition: int, *, is_alone: bool) -> tuple[Find, list[Range]]:
    """How a partition is compared, and in which parts."""
    events = checkpoint(connection, sides.generations[1], partition).position
    # Of several partitions, each would walk through all rows.
    if sides.rows.is_sqlite and is_alone and _are_in_order(connection, sides.tables, events):
        return _differing_in_place, list(_ranges_of_places(connection, sides.tables))
    return _differing, list(_ranges_of_streams(events))


def _compared(sides: Sides, find: Find, partition: int, within: Range) -> Comparison:
    with sides.rows.reading() as connection:
        reached = min(checkpoint(connection, each, partition).position for each in sides.generations)
        part = Part(partition, *within, reached)
        compared, differing, streams = find(connection, sides.tables, part)
        examples = [_example(connection, sides.log, sides.tables, part, stream) for stream in streams[:EXAMPLES_MAX]]
    return Comparison(compared, differing, examples)


def total(comparisons: Iterator[Comparison]) -> Comparison:
    """All parts together."""
    compared = differing = 0
    examples: list[Difference] = []
    for each in comparisons:
        compared += each.rows_compared
        differing += each.rows_differing
        examples.extend(each.examples[: EXAMPLES_MAX - len(examples)])
    return Comparison(compared, differing, examples)


def _are_in_order(connection: Connection, tables: Tables, events: int) -> bool:
    """Whether the rows stand where they do if nobody else has moved them: in both tables in the order of the messages' first events."""
    first, last = _places(connection, tables)
    return first >= 1 and last <= PLACES_AN_EVENT_MAX * events


def _ranges_of_places(connection: Connection, tables: Tables) -> Iterator[Range]:
    """Every row of both tables, in the order in which SQLite keeps them."""
    _, last = _places(connection, tables)
    for start in range(0, last, ROWS_A_PART):
        yield "here.rowid > {0} AND here.rowid <= {0}", (start, start + ROWS_A_PART)


def _places(connection: Connection, tables: Tables) -> tuple[int, int]:
    """The first and the last place in both tables; 1 and 0 where there is none."""
    _, old, new = tables
    both = (
        f"SELECT min(rowid) AS first, max(rowid) AS last FROM {old} UNION ALL SELECT min(rowid), max(rowid) FROM {new}"  # noqa: S608 - no value in it
    )
    ((first, last),) = fetch(connection, f"SELECT coalesce(min(first), 1), coalesce(max(last), 0) FROM ({both})")  # noqa: S608 - no value in it
    return first, last


def _ranges_of_streams(events: int) -> Iterator[Range]:
    parts = min(PARTS_MAX, 1 + events // EVENTS_A_PART)
    bounds = [index * STREAM_PREFIXES // parts for index in range(parts + 1)]
    for start, end in pairwise(bounds):
        # The id of a stream has 16 bytes, so nothing lies behind 17 times 0xff.
        last = end.to_bytes(2, "big") if end < STREAM_PREFIXES else b"\xff" * 17
        yield "here.stream_id >= {0} AND here.stream_id < {0}", (start.to_bytes(2, "big"), last)


def _differing_in_place(connection: Connection, tables: Tables, part: Part) -> Found:
    """`_differing`, which is asked only where the two tables do not have the same rows in the same places.

    Looked for by the ids of streams, which are random, each row would be on another page.
    """
    kind, old, new = tables
    place = placeholder_of(connection)
    here, there = (", ".join(f"{side}.{column}" for column in kind.columns) for side in ("here", "there"))
    within = part.within.format(place)
    counts = ", ".join(f"(SELECT count(*) FROM {table} here WHERE {within})" for table in (old, new))  # noqa: S608 - no value in it
    statement = (
        f"SELECT count(*), {counts} FROM {new} here JOIN {old} there ON there.rowid = here.rowid "  # noqa: S608 - no value in it
        f"WHERE {within} AND ({here}) IS ({there})"
    )
    ((same, *held),) = fetch(connection, statement, part.bounds * 3)
    return Found(same, 0, []) if held == [same, same] else _differing(connection, tables, part)


def _differing(connection: Connection, tables: Tables, part: Part) -> Found:
    """What is not the same: how many rows were compared, how many of them differ, and the streams of some."""
    changed, lost = _changed_rows(connection, tables, part), _lost_rows(connection, tables, part)
    return Found(changed.compared + lost.compared, changed.differing + lost.differing, changed.streams + lost.streams)


def _changed_rows(connection: Connection, tables: Tables, part: Part) -> Found:
    """New rows that are not as the old ones, or new altogether."""
    kind, old, new = tables
    place = placeholder_of(connection)
    unlike = "IS NOT" if connection.dialect.name == "sqlite" else "IS DISTINCT FROM"
    differs = " OR ".join(f"here.{column} {unlike} there.{column}" for column in kind.columns[kind.keys :])
    both = (
        f"FROM {new} here LEFT JOIN {old} there ON {SAME_MESSAGE} WHERE here.partition = {place} AND {part.within.format(place)}"
        f" AND here.position <= {place} AND coalesce(there.position, 0) <= {place}"
    )
    values = (part.partition, *part.bounds, part.reached, part.reached)
    counted = f"SELECT count(*), coalesce(sum(CASE WHEN {differs} THEN 1 ELSE 0 END), 0) {both}"
    ((compared, differing),) = fetch(connection, counted, values)
    return Found(compared, differing, _streams(connection, f"{both} AND ({differs})", values) if differing else [])


def _lost_rows(connection: Connection, tables: Tables, part: Part) -> Found:
    """Old rows that have no new one. Almost always none: seen in the keys alone."""
    _, old, new = tables
    place = placeholder_of(connection)
    kept = f"EXISTS (SELECT 1 FROM {new} there WHERE {SAME_MESSAGE})"  # noqa: S608 - no value in it
    lost = f"CASE WHEN {kept} THEN 0 WHEN here.position <= {place} THEN 1 ELSE 0 END"
    within = f"FROM {old} here WHERE here.partition = {place} AND {part.within.format(place)}"
    key = (part.partition, *part.bounds)
    ((missing,),) = fetch(connection, f"SELECT coalesce(sum({lost}), 0) {within}", (part.reached, *key))
    streams = _streams(connection, f"{within} AND {lost} = 1", (*key, part.reached)) if missing else []
    return Found(missing, missing, streams)


def _streams(connection: Connection, which: str, values: Row) -> list[bytes]:
    return [bytes(row[0]) for row in fetch(connection, f"SELECT here.stream_id {which} LIMIT {EXAMPLES_MAX}", values)]


def _example(connection: Connection, log: Database, tables: Tables, part: Part, stream: bytes) -> Difference:
    kind, old, new = tables
    before, after = (
        next(select_by_key(connection, table, kind.columns, "stream_id", part.partition, [stream]), None)
        for table in (old, new)
    )
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
