"""A crash at every statement and commit of `ledger upgrade`, on both engines: the ledger before it or after it, never between.

Of our own migrations few change much, so the real code is given three more, which only tests have: tests/faults/migrations.py.
"""

from sqlalchemy import Connection, MetaData, func, inspect, select

from ledger.ledger import Ledger
from ledger.store import schema
from ledger.store.database import Database
from tests.faults.checks import unverified
from tests.faults.figures import Figures
from tests.faults.migrations import VERSIONS, with_test_migrations
from tests.faults.projecting import fill
from tests.faults.steps import at_every_step_postgresql, at_every_step_sqlite

ADDED_COLUMN, ADDED_TABLE, ADDED_INDEX = ("quarantine", "note"), "streams", ("quarantine", "quarantine_by_note")


def upgrading_sqlite(trials: int, seed: int) -> Figures:
    """On SQLite."""
    return at_every_step_sqlite("upgrading-sqlite", "upgrade", fill, wrong_after_upgrade, trials, seed)


def upgrading_postgresql(trials: int, seed: int) -> Figures:
    """On PostgreSQL."""
    return at_every_step_postgresql("upgrading-postgresql", "upgrade", fill, wrong_after_upgrade, trials, seed)


def wrong_after_upgrade(url: str) -> list[str]:
    """What is wrong with a ledger whose upgrade was cut off anywhere, and then with its going on to the end."""
    oldest = schema.newest_version()
    database = Database(url)
    with database.reading() as connection:
        found, is_after = _version(connection), _changes_in(connection)
    if (found, is_after) not in [(oldest, set()), (VERSIONS[-1], set(_CHANGES))]:
        database.close()
        return [f"BETWEEN: the schema says version {found}, and has {sorted(is_after)} of {sorted(_CHANGES)}"]
    with with_test_migrations():
        upgraded = schema.upgrade(database)
        with database.reading() as connection:
            is_after = _changes_in(connection)
        database.close()
        wrong = (
            [] if upgraded == (found, VERSIONS[-1]) else [f"the next upgrade went from {upgraded}, expected {found}"]
        )
        with Ledger.open_existing(url) as ledger:
            return [*wrong, *(set(_CHANGES) - is_after), *unverified(ledger)]


def _version(connection: Connection) -> str:
    return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def _changes_in(connection: Connection) -> set[str]:
    """Which of the changes of the test's migrations a database has, with the data that they moved."""
    return {name for name, has in _CHANGES.items() if has(connection)}


def _has_column(connection: Connection) -> bool:
    table, column = ADDED_COLUMN
    return column in {each["name"] for each in inspect(connection).get_columns(table)}


def _has_table(connection: Connection) -> bool:
    return inspect(connection).has_table(ADDED_TABLE)


def _has_rows(connection: Connection) -> bool:
    if not _has_table(connection):
        return False
    tables = MetaData()
    tables.reflect(connection, only=[ADDED_TABLE, "events"])
    events = select(func.count()).select_from(tables.tables["events"])
    moved = select(func.sum(tables.tables[ADDED_TABLE].c.events))
    return bool(connection.execute(moved).scalar_one() == connection.execute(events).scalar_one())


def _has_index(connection: Connection) -> bool:
    table, index = ADDED_INDEX
    return index in {each["name"] for each in inspect(connection).get_indexes(table)}


_CHANGES = {"a column": _has_column, "a table": _has_table, "its rows": _has_rows, "an index": _has_index}
