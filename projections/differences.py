"""Which rows differ in one table of two generations, found by the database itself, some rows at a time.

A row counts if neither generation has an event in it that the other has not reached yet: what such an event changed is no
difference. The events in a row of the first table are told by its position; those in a row of another table are of the first
table's rows that are summed up in it, which have its key as a column.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

from sqlalchemy import Connection

from ledger.store.driver import Row, fetch, placeholder_of
from projections.projection import TableKind

KEYS_MAX = 10


class Tables(NamedTuple):
    """What is compared: the table of one generation with that of another; `summed` are the first tables of both, for any other."""

    kind: TableKind
    old: str
    new: str
    summed: tuple[str, str] | None

    @property
    def key(self) -> str:
        """The column that tells, besides the partition, what a row is of."""
        return self.kind.columns[1]


class Part(NamedTuple):
    """Some rows of a table in a partition, by a condition.

    `reached` looks up the last position that both generations have reached, by partition: mostly nothing differs, and nobody asks.
    """

    partition: int
    within: str
    bounds: tuple[object, object]
    is_of_both: bool
    """Whether the condition holds of the same row in the other generation as well: a key does so, a place need not."""
    reached: Callable[[], Sequence[int]]


class Found(NamedTuple):
    """Of a part: how many rows were compared, how many of them differ, and the keys of some of these."""

    compared: int
    differing: int
    keys: list[Row]


def differing_in_place(connection: Connection, tables: Tables, part: Part) -> Found:
    """`differing`, which is asked only where the two tables do not have the same rows in the same places.

    Looked for by the ids of streams, which are random, each row would be on another page.
    """
    kind, old, new, _ = tables
    place = placeholder_of(connection)
    here, there = (", ".join(f"{side}.{column}" for column in kind.columns) for side in ("here", "there"))
    within = part.within.format(place)
    counts = ", ".join(f"(SELECT count(*) FROM {table} here WHERE {within})" for table in (old, new))  # noqa: S608 - no value in it
    statement = (
        f"SELECT count(*), {counts} FROM {new} here JOIN {old} there ON there.rowid = here.rowid "  # noqa: S608 - no value in it
        f"WHERE {within} AND ({here}) IS ({there})"
    )
    ((same, *held),) = fetch(connection, statement, part.bounds * 3)
    return Found(same, 0, []) if held == [same, same] else differing(connection, tables, part)


def differing(connection: Connection, tables: Tables, part: Part) -> Found:
    """What is not the same: how many rows were compared, how many of them differ, and the keys of some."""
    changed, lost = _changed_rows(connection, tables, part), _lost_rows(connection, tables, part)
    return Found(changed.compared + lost.compared, changed.differing + lost.differing, changed.keys + lost.keys)


def _changed_rows(connection: Connection, tables: Tables, part: Part) -> Found:
    """New rows that are not as the old ones, or new altogether."""
    kind, old, new, _ = tables
    place = placeholder_of(connection)
    unlike = "IS NOT" if connection.dialect.name == "sqlite" else "IS DISTINCT FROM"
    differs = " OR ".join(f"here.{column} {unlike} there.{column}" for column in kind.columns[kind.keys :])
    within = part.within.format(place)
    # Said of both, or PostgreSQL reads all of the one for each part of the other.
    there, bounds = (f" AND {within.replace('here.', 'there.')}", part.bounds) if part.is_of_both else ("", ())
    both = f"FROM {new} here LEFT JOIN {old} there ON {_same(kind)}{there} WHERE here.partition = {place} AND {within}"
    values = (*bounds, part.partition, *part.bounds)
    counted = f"SELECT count(*), coalesce(sum(CASE WHEN {differs} THEN 1 ELSE 0 END), 0) {both}"
    ((compared, unlike_each_other),) = fetch(connection, counted, values)
    if not unlike_each_other:
        return Found(compared, 0, [])
    counts, reached = _counts(tables, part, place, ("here", "there"))
    found = _of_those(connection, kind, f"{both} AND ({differs}) AND {counts}", (*values, *reached))
    # Those that do not count differ: what one of two generations has not reached yet is not the same in both.
    return found._replace(compared=compared - unlike_each_other + found.differing)


def _lost_rows(connection: Connection, tables: Tables, part: Part) -> Found:
    """Old rows that have no new one. Almost always none: seen in the keys alone."""
    kind, old, new, _ = tables
    place = placeholder_of(connection)
    lost = f"CASE WHEN EXISTS (SELECT 1 FROM {new} there WHERE {_same(kind)}) THEN 0 ELSE 1 END"  # noqa: S608 - no value in it
    within = f"FROM {old} here WHERE here.partition = {place} AND {part.within.format(place)}"
    values = (part.partition, *part.bounds)
    ((missing,),) = fetch(connection, f"SELECT coalesce(sum({lost}), 0) {within}", values)
    if not missing:
        return Found(0, 0, [])
    counts, reached = _counts(tables, part, place, ("here",))
    return _of_those(connection, kind, f"{within} AND {lost} = 1 AND {counts}", (*values, *reached))


def _of_those(connection: Connection, kind: TableKind, which: str, values: Row) -> Found:
    ((count,),) = fetch(connection, f"SELECT count(*) {which}", values)
    keys = ", ".join(f"here.{column}" for column in kind.columns[: kind.keys])
    return Found(count, count, fetch(connection, f"SELECT {keys} {which} LIMIT {KEYS_MAX}", values) if count else [])


def _same(kind: TableKind) -> str:
    return " AND ".join(f"there.{column} = here.{column}" for column in kind.columns[: kind.keys])


def _counts(tables: Tables, part: Part, place: str, sides: Sequence[str]) -> tuple[str, Row]:
    """The condition under which a row counts, and its values."""
    if tables.summed is None:
        at = " AND ".join(f"coalesce({side}.position, 0) <= {place}" for side in sides)
        return at, (part.reached()[part.partition],) * len(sides)
    reached = part.reached()
    ends = ", ".join([f"({place}, {place})"] * len(reached))
    # With an OFFSET, PostgreSQL asks it of the few rows that differ, rather than read all messages for each part.
    none = " AND ".join(
        f"NOT EXISTS (WITH ends(home, reached) AS (VALUES {ends}) SELECT 1 FROM {table} message JOIN ends ON home = message.partition"  # noqa: S608 - no value in it
        f" WHERE message.{tables.key} = here.{tables.key} AND message.position > reached LIMIT 1 OFFSET 0)"
        for table in tables.summed
    )
    return none, tuple(chain.from_iterable(enumerate(reached))) * len(tables.summed)
