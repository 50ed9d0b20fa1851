"""The tables of generations: their indexes, and how those that are not kept are dropped: a little at a time, so that nobody waits."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Index, delete, inspect, text

from ledger.store.database import Database
from ledger.store.driver import fetch, placeholder_of, run
from projections.checkpoints import Generation
from projections.projection import Projection
from projections.register import register_entry
from projections.tables import checkpoints, parked_events

DROP_ROWS_A_TIME = 5_000


def drop_all_but_those_kept(
    rows: Database, projection: Projection, is_pausing: Callable[[], bool] = lambda: False
) -> None:
    """Drops what belongs to no generation that is kept; what a pause leaves is found by its name the next time."""
    with rows.reading() as connection:
        dropped = table_names(connection, projection, register_entry(connection, projection.name).kept)
    for name in dropped:
        _drop_bit_by_bit(rows, name, is_pausing)
    if is_pausing():
        return
    with rows.writing() as connection:
        # Asked again: after a switch the next rebuild may have begun, and its generation is not ours to forget.
        _forget_all_but(connection, projection.name, register_entry(connection, projection.name).kept)


def table_names(connection: Connection, projection: Projection, kept: Sequence[int]) -> list[str]:
    """The tables of a projection that belong to none of the generations kept."""
    there = inspect(connection).get_table_names()
    found: list[str] = []
    for kind in projection.tables:
        for name in there:
            prefix, _, number = name.rpartition("_g")
            if prefix == kind.name and number.isdecimal() and int(number) not in kept:
                found.append(name)
    return found


def delete_some(connection: Connection, table: str) -> int:
    """Deletes some rows of a table that nobody reads; how many.

    A large table is not dropped at once: on SQLite that would hold the only write lock until every page is free.
    """
    if connection.dialect.name != "sqlite":
        return 0
    statement = f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} LIMIT {DROP_ROWS_A_TIME})"  # noqa: S608 - no value in it
    return connection.exec_driver_sql(statement).rowcount


def drop(connection: Connection, table: str) -> None:
    """Drops a table."""
    connection.execute(text(f"DROP TABLE IF EXISTS {table}"))


def index_names(connection: Connection, table: str) -> list[str]:
    """The indexes of a table that can be dropped by themselves."""
    return (
        [str(index["name"]) for index in inspect(connection).get_indexes(table)] if has_table(connection, table) else []
    )


def create_index(rows: Database, index: Index) -> None:
    """Makes an index where it is not there yet, however long that takes."""
    with rows.reading() as connection:
        if inspect(connection).has_index(str(index.table), str(index.name)):
            return
    with rows.writing() as connection:
        if not rows.is_sqlite:
            run(connection, "SET LOCAL statement_timeout = 0")
            run(connection, "SET LOCAL lock_timeout = 0")  # one that was killed at it holds its lock until it is made
        index.create(connection, checkfirst=True)


def analyze(rows: Database, table: str) -> None:
    """Lets PostgreSQL count what is in a table: it would take a new one for empty, and compare each row with each."""
    if not rows.is_sqlite:
        with rows.writing() as connection:
            run(connection, f"ANALYZE {table}")


def has_table(connection: Connection, table: str) -> bool:
    """Whether there is such a table."""
    return inspect(connection).has_table(table)


def _drop_bit_by_bit(rows: Database, table: str, is_pausing: Callable[[], bool]) -> None:
    with rows.reading() as connection:
        indexes = index_names(connection, table)
    for index in indexes:
        if is_pausing():
            return
        with rows.writing() as connection:
            connection.execute(text(f"DROP INDEX IF EXISTS {index}"))
    while not is_pausing():
        with rows.writing() as connection:
            if not has_table(connection, table):
                return  # the next rebuild, which may have begun, was faster
            if delete_some(connection, table) == 0:
                drop(connection, table)
                return


def _forget_all_but(connection: Connection, name: str, kept: Sequence[int]) -> None:
    place = placeholder_of(connection)
    statement = f"SELECT DISTINCT generation FROM {checkpoints.name} WHERE projection = {place}"  # noqa: S608 - no value in it
    for (number,) in fetch(connection, statement, (name,)):
        if number not in kept:
            _forget(connection, Generation(name, number))


def _forget(connection: Connection, generation: Generation) -> None:
    for table in (checkpoints, parked_events):
        this = (table.c.projection == generation.projection) & (table.c.generation == generation.number)
        connection.execute(delete(table).where(this))
