"""The schema's version: making a new ledger, refusing one that this program does not fit, and `ledger upgrade`.

Alembic is imported (`ledger/store/migrating.py`) only where a schema is made, changed or not the newest: that takes longer
than everything else in opening a ledger.
"""

from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import Connection, insert, inspect, select, text

from ledger.chain import genesis_hash
from ledger.clock import now_us
from ledger.errors import SchemaMismatch, SettingRefused
from ledger.store import migrations
from ledger.store.database import Database
from ledger.store.driver import fetch, run
from ledger.store.place import expect_no_lost_log, expect_nothing_else, is_there
from ledger.store.tables import ledger, partition_heads

PARTITIONS_MAX = 1024
VERSION_TABLE = "alembic_version"
CREATING = "lifecycle-ledger"
CITUS = "SELECT 1 FROM pg_extension WHERE extname = 'citus'"


class Identity(NamedTuple):
    """What was decided when the ledger was created: its id, the number of its partitions, and where these are."""

    ledger_id: str
    partitions: int
    is_distributed: bool
    """Whether partitions may be on different machines (Citus): a transaction of several is then one of several machines."""


def open_or_create(database: Database, partitions: int | None) -> Identity:
    """The identity of the ledger in a database, created there first where the database is empty.

    SchemaMismatch where its schema is too old or too new; SettingRefused where it has another number of partitions, or is to
    have one that makes no sense, where the database is of something else, and where only the log is missing.
    """
    if partitions is not None and not 1 <= partitions <= PARTITIONS_MAX:
        raise SettingRefused(f"a ledger has 1 to {PARTITIONS_MAX:,} partitions, got {partitions}")
    if database.file is not None:
        expect_nothing_else(database.file)
        expect_no_lost_log(database.file)
    with database.writing() as connection:
        if not _is_ledger(connection):
            one_at_a_time(connection, CREATING)
            if not _is_ledger(connection):
                _create(connection, partitions or 1)
    return open_existing(database, partitions)


def open_existing(database: Database, partitions: int | None = None) -> Identity:
    """The identity of a ledger that must exist."""
    if database.file is not None and not database.evidence:  # asking would leave something beside it
        if not is_there(database.file):  # opening it would make it
            expect_no_lost_log(database.file)
            raise SchemaMismatch(_no_ledger_in(database))
        expect_nothing_else(database.file)
    with database.reading() as connection:
        if not _is_ledger(connection):
            raise SchemaMismatch(_no_ledger_in(database))
        _check_version(connection)
        row = connection.execute(select(ledger.c.id, ledger.c.partitions)).one()
        is_distributed = not database.is_sqlite and bool(fetch(connection, CITUS))
    if partitions is not None and partitions != row.partitions:
        raise SettingRefused(
            f"LEDGER_PARTITIONS is {partitions}, but this ledger was created with {row.partitions}, which never changes"
        )
    return Identity(row.id, row.partitions, is_distributed)


def upgrade(database: Database) -> tuple[str, str]:
    """Brings the schema to the newest version; gives the versions before and after."""
    with database.writing() as connection:
        one_at_a_time(connection, CREATING)
        if not database.is_sqlite:
            run(connection, "SET LOCAL statement_timeout = 0")  # an index of a large log takes minutes
        if not _is_ledger(connection):
            raise SchemaMismatch(_no_ledger_in(database))
        before = _version(connection)
        if before not in _known_versions():
            raise SchemaMismatch(_too_new(before))
        _migrate(connection)
        return before, _version(connection)


def newest_version() -> str:
    """The version of the schema that this program works with."""
    return migrations.NEWEST


def shown(database: Database) -> str:
    """The database's URL without its password."""
    return database.url.render_as_string(hide_password=True)


def one_at_a_time(connection: Connection, what: str) -> None:
    """Lets one process at a time do what has that name in a database, until its transaction ends."""
    # On SQLite the transaction holds the only write lock already.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:what))"), {"what": what})


def _is_ledger(connection: Connection) -> bool:
    return inspect(connection).has_table(ledger.name)


def _check_version(connection: Connection) -> None:
    found, newest = _version(connection), newest_version()
    if found == newest:
        return
    if found in _known_versions():
        raise SchemaMismatch(
            f"the ledger's schema is version {found}, this program needs {newest}: stop the servers and run `ledger upgrade`"
            " (a backup stays as it is: `ledger restore` upgrades what it restores; to verify one, upgrade a copy)"
        )
    raise SchemaMismatch(_too_new(found))


def _no_ledger_in(database: Database) -> str:
    return f"there is no ledger in {shown(database)}: `ledger serve` creates one"


def _too_new(found: str) -> str:
    return (
        f"the ledger's schema is version {found}, this program knows up to {newest_version()}: install a newer program"
    )


def _create(connection: Connection, partitions: int) -> None:
    _migrate(connection)
    ledger_id = uuid4().hex
    connection.execute(insert(ledger).values(id=ledger_id, partitions=partitions, created_at_us=now_us()))
    heads = [{"partition": p, "position": 0, "hash": genesis_hash(ledger_id, p)} for p in range(partitions)]
    connection.execute(insert(partition_heads), heads)


def _version(connection: Connection) -> str:
    found = None
    if inspect(connection).has_table(VERSION_TABLE):
        found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a name of ours
    return found or "none"


def _known_versions() -> set[str]:
    from ledger.store.migrating import known_versions  # noqa: PLC0415 - see above

    return known_versions()


def _migrate(connection: Connection) -> None:
    from ledger.store.migrating import migrate  # noqa: PLC0415 - see above

    migrate(connection)
