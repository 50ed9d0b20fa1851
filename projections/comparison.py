"""Comparing a generation with the one that replaces it: how many rows differ, and which events explain some of them.

All tables are compared while events arrive, part by part, each part in one state of the database. A row counts if neither
generation has an event in it that the other has not reached yet; of two equal logs, such rows must be equal.
"""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import pairwise, product
from typing import NamedTuple

from sqlalchemy import Connection

from ledger.positions import Position
from ledger.store.database import Database
from ledger.store.driver import Row, fetch, placeholder_of
from projections.checkpoints import Generation, checkpoint, checkpoints_of
from projections.differences import KEYS_MAX, Found, Part, Tables, differing, differing_in_place
from projections.projection import Projection, TableKind
from projections.rows import select_by_key

EXAMPLES_MAX = KEYS_MAX
POSITIONS_SHOWN_MAX = 20
EVENTS_A_PART = 128_000
ROWS_A_PART = 2_000
PARTS_MAX = 4_096
PLACES_AN_EVENT_MAX = 2
"""Each row is of an event at least; one that was folded again by itself took another place."""

NEWS_EVERY_S = 1.0
PARTS_AT_ONCE = 2
"""The database compares, and each on a core of its own."""
KEY_PREFIXES = 65_536


class Difference(NamedTuple):
    """A row that a rebuild changed: of which message or conversation, the columns that differ, the events that explain it."""

    key: str
    columns: tuple[str, ...]
    positions: tuple[Position, ...]


class Comparison(NamedTuple):
    """How many rows were compared, how many of them differ, and examples."""

    rows_compared: int
    rows_differing: int
    examples: list[Difference]


Range = tuple[str, tuple[object, object], bool]
"""`within`, `bounds` and `is_of_both` of a Part."""

Find = Callable[[Connection, Tables, Part], Found]


class Sides(NamedTuple):
    """Two generations of a projection, and where they are."""

    rows: Database
    log: Database
    projection: Projection
    generations: tuple[Generation, Generation]
    partitions: int

    def tables(self, kind: TableKind) -> Tables:
        """A table of both."""
        old, new = self.generations
        first = self.projection.tables[0]
        return Tables(kind, kind.of(old), kind.of(new), None if kind is first else (first.of(old), first.of(new)))


def compare(
    rows: Database, log: Database, projection: Projection, old: Generation, new: Generation, partitions: int
) -> Generator[Comparison, None, None]:
    """Compares all tables part by part, some at the same time; with nothing in it, where a part takes long, each second.

    So whoever asks can do something else in between. Close it.
    """
    sides = Sides(rows, log, projection, (old, new), partitions)
    with ThreadPoolExecutor(PARTS_AT_ONCE, "ledger-comparison") as threads:
        for kind, partition in product(projection.tables, range(partitions)):
            tables = sides.tables(kind)
            with rows.reading() as connection:
                find, parts = _parts(connection, sides, tables, partition)
            compared = [threads.submit(_compared, sides, tables, find, partition, within) for within in parts]
            try:
                for each in compared:
                    yield from _awaited(each)
            finally:
                for each in compared:
                    each.cancel()


def _awaited(part: Future[Comparison]) -> Iterator[Comparison]:
    while not wait([part], NEWS_EVERY_S).done:
        yield Comparison(0, 0, [])
    yield part.result()


def _parts(connection: Connection, sides: Sides, tables: Tables, partition: int) -> tuple[Find, list[Range]]:
    """How a table of a partition is compared, and in which parts."""
    events = checkpoint(connection, sides.generations[1], partition).position
    # Of several partitions, each would walk through all rows; and what is summed up has no order of its own.
    is_alone = sides.partitions == 1 and tables.summed is None
    if sides.rows.is_sqlite and is_alone and _are_in_order(connection, tables, events):
        return differing_in_place, list(_ranges_of_places(connection, tables))
    return differing, list(_ranges_of_keys(tables, events))


def _compared(sides: Sides, tables: Tables, find: Find, partition: int, within: Range) -> Comparison:
    with sides.rows.reading() as connection:
        part = Part(partition, *within, partial(_reached, connection, sides))
        compared, differing_rows, keys = find(connection, tables, part)
        examples = [_example(connection, sides, tables, part, key) for key in keys[:EXAMPLES_MAX]]
    return Comparison(compared, differing_rows, examples)


def _reached(connection: Connection, sides: Sides) -> list[int]:
    """By partition, the last position that both generations have reached."""
    at = zip(*(checkpoints_of(connection, each) for each in sides.generations), strict=True)
    return [min(one.position, other.position) for one, other in at]


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
        yield "here.rowid > {0} AND here.rowid <= {0}", (start, start + ROWS_A_PART), False


def _places(connection: Connection, tables: Tables) -> tuple[int, int]:
    """The first and the last place in both tables; 1 and 0 where there is none."""
    _, old, new, _ = tables
    both = (
        f"SELECT min(rowid) AS first, max(rowid) AS last FROM {old} UNION ALL SELECT min(rowid), max(rowid) FROM {new}"  # noqa: S608 - no value in it
    )
    ((first, last),) = fetch(connection, f"SELECT coalesce(min(first), 1), coalesce(max(last), 0) FROM ({both})")  # noqa: S608 - no value in it
    return first, last


def _ranges_of_keys(tables: Tables, events: int) -> Iterator[Range]:
    parts = min(PARTS_MAX, 1 + events // EVENTS_A_PART)
    bounds = [index * KEY_PREFIXES // parts for index in range(parts + 1)]
    for start, end in pairwise(bounds):
        # A key has 16 bytes, so nothing lies behind 17 times 0xff.
        last = end.to_bytes(2, "big") if end < KEY_PREFIXES else b"\xff" * 17
        yield f"here.{tables.key} >= {{0}} AND here.{tables.key} < {{0}}", (start.to_bytes(2, "big"), last), True


def _example(connection: Connection, sides: Sides, tables: Tables, part: Part, key: Row) -> Difference:
    kind = tables.kind
    before, after = (_row(connection, kind, table, key) for table in (tables.old, tables.new))
    table = "" if tables.summed is None else f"{kind.name}."
    columns = tuple(
        table + column
        for index, column in enumerate(kind.columns)
        if before is None or after is None or before[index] != after[index]
    )
    summed = tables.summed
    positions = (
        _positions(sides.log, part, key[1])
        if summed is None
        else _summed_positions(connection, tables.key, summed, key[1])
    )
    return Difference(_called(connection, sides, kind, key), columns, positions)


def _row(connection: Connection, kind: TableKind, table: str, key: Row) -> Row | None:
    rows = select_by_key(connection, table, kind.columns, kind.columns[1], key[0], [key[1]])
    return next((row for row in rows if row[: kind.keys] == key), None)


def _called(connection: Connection, sides: Sides, kind: TableKind, key: Row) -> str:
    """How people know what a row is of: by a column of its table, or of another that has the same key."""
    for each in sides.projection.tables:
        if each.known_by is not None and each.columns[1] == kind.columns[1]:
            for generation in reversed(sides.generations):
                for row in select_by_key(
                    connection, each.of(generation), (each.known_by,), each.columns[1], key[0], [key[1]]
                ):
                    return str(row[0])
    return bytes(key[1]).hex()


def _positions(log: Database, part: Part, stream: bytes) -> tuple[Position, ...]:
    with log.reading() as connection:
        place = placeholder_of(connection)
        statement = f"SELECT position FROM events WHERE partition = {place} AND stream_id = {place} AND position + 0 <= {place} ORDER BY version LIMIT {POSITIONS_SHOWN_MAX}"  # noqa: S608, E501 - no value in it
        found = fetch(connection, statement, (part.partition, stream, part.reached()[part.partition]))
    return tuple(Position(part.partition, row[0]) for row in found)


def _summed_positions(connection: Connection, key: str, summed: tuple[str, str], value: bytes) -> tuple[Position, ...]:
    """Of what is summed up in a row, in either generation."""
    of = f"WHERE {key} = {placeholder_of(connection)}"
    either = " UNION ".join(f"SELECT partition, position FROM {table} {of}" for table in summed)  # noqa: S608 - no value in it
    found = fetch(connection, f"{either} ORDER BY partition, position LIMIT {POSITIONS_SHOWN_MAX}", (value, value))
    return tuple(Position(*row) for row in found)
