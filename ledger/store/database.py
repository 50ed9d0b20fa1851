"""Connections: how each engine is opened so that a commit means "on disk", and who may write.

On SQLite there is one connection that writes, taken in turns, and its transactions begin with BEGIN IMMEDIATE; the
others cannot write. On PostgreSQL both come from one pool; writers run at READ COMMITTED, readers at REPEATABLE READ.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from ledger.errors import SettingRefused, StoreUnavailable

try:
    import pysqlite3.dbapi2 as bundled_sqlite
except ImportError:  # no wheel for this platform
    bundled_sqlite = None

SQLITE: ModuleType = bundled_sqlite or sqlite3
SQLITE_WAL_BUG = ((3, 7, 0), (3, 51, 3))
"""SQLite from the first to before the second can corrupt a WAL database when connections checkpoint at once."""

SQLITE_FILE_ERRORS = (
    "disk I/O error",
    "database disk image is malformed",
    "file is not a database",
    "unable to open database file",
)

READERS_MAX = 16
BUSY_TIMEOUT_MS = 10_000
POSTGRES_TIMEOUTS_MS = {
    "statement_timeout": 60_000,
    "lock_timeout": 10_000,
    "idle_in_transaction_session_timeout": 60_000,
}
CONNECT_TIMEOUT_S = 5
KEEPALIVES = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}

log = logging.getLogger(__name__)


class Database:
    """One database, opened safely: `writing()` is a transaction that commits durably, `reading()` one that cannot write.

    `durable=False` is for what can be made again from the log: a commit may then be lost in a power cut, never torn.
    """

    def __init__(self, url: str, *, durable: bool = True) -> None:
        self.url = parse_database_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._suspect = Event()
        if self.is_sqlite:
            warn_of_the_wal_bug(SQLITE)
            self._writer = _sqlite_engine(self.url, self._suspect, writes=True, durable=durable)
            self._reader = _sqlite_engine(self.url, self._suspect, writes=False, durable=durable)
        else:
            self._writer = _postgres_engine(self.url, durable=durable)
            self._reader = self._writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @property
    def file(self) -> Path | None:
        """The file of an embedded database."""
        return Path(self.url.database or "") if self.is_sqlite else None

    @property
    def placeholder(self) -> str:
        """How a parameter is written in statements that go to the driver as they stand."""
        return "?" if self.is_sqlite else "%s"

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write; committed at the end of the block, rolled back on any error."""
        with self._writer.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads and sees one state of the database throughout."""
        with self._reader.connect() as connection:
            yield connection

    def after_failure(self, error: Exception) -> None:
        """Drops every connection after an I/O error: such a handle is never trusted again, and the next one checks the file."""
        if self.is_sqlite and any(words in str(error) for words in SQLITE_FILE_ERRORS):
            log.error("the ledger's file failed; it is closed, and will be checked when it is opened again")
            self._suspect.set()
            self.close()

    def tidy(self) -> None:
        """Idle work: moves an embedded database's write-ahead log into its file and empties it."""
        if self.is_sqlite:
            with self._writer.connect() as connection:
                connection.connection.dbapi_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]

    def prove_writable(self) -> None:
        """Writes durably without changing anything; raises what a commit would raise."""
        with self.writing() as connection:
            connection.exec_driver_sql("UPDATE partition_heads SET position = position WHERE partition = 0")

    def close(self) -> None:
        """Closes every connection. A later use opens new ones."""
        self._writer.dispose()
        self._reader.dispose()


@contextmanager
def opening(url: str) -> Iterator[Database]:
    """A database that stays open only if nothing is wrong with it; StoreUnavailable where it cannot be reached."""
    database = Database(url)
    try:
        yield database
    except SQLAlchemyError as error:
        database.close()
        told = str(error.orig if isinstance(error, DBAPIError) else error).splitlines()[:1]
        reason = told[0][:200] if told else type(error).__name__
        raise StoreUnavailable(f"LEDGER_DATABASE_URL: the database cannot be used: {reason}") from error
    except BaseException:
        database.close()
        raise


def parse_database_url(url: str) -> URL:
    """The URL of a database that the ledger can use, or SettingRefused."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter shows a piece of a password with an unescaped "/"
        raise SettingRefused(
            "the database URL cannot be read: expected sqlite:///FILE or postgresql+psycopg://…"
        ) from None
    match parsed.drivername:
        case "sqlite" if parsed.database and parsed.database != ":memory:":
            return parsed
        case "postgresql" | "postgresql+psycopg":
            return parsed.set(drivername="postgresql+psycopg")
        case _:
            raise SettingRefused(
                f"the database URL begins with {parsed.drivername}://, expected sqlite:///FILE or postgresql+psycopg://…"
            )


def warn_of_the_wal_bug(module: ModuleType) -> None:
    """Says so where the SQLite at hand can corrupt a WAL database under concurrent checkpoints."""
    first, fixed = SQLITE_WAL_BUG
    if first <= module.sqlite_version_info < fixed:
        log.warning(
            "SQLite %s can corrupt a WAL database when connections checkpoint at once (fixed in 3.51.3): install pysqlite3",
            module.sqlite_version,
        )


def _sqlite_engine(url: URL, suspect: Event, *, writes: bool, durable: bool) -> Engine:
    engine = create_engine(
        url,
        module=SQLITE,
        poolclass=QueuePool,
        pool_size=1 if writes else READERS_MAX,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_MS / 1000,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000, "cached_statements": 512},
    )
    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection has no type
        connection.isolation_level = None
        _set_pragmas(connection, writes=writes, durable=durable)
        if writes and suspect.is_set():
            _check_file(connection)
            suspect.clear()

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _set_pragmas(connection: Any, *, writes: bool, durable: bool) -> None:  # noqa: ANN401 - a DBAPI connection has no type
    level = 2 if durable else 1
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={level}")
    connection.execute(f"PRAGMA cache_size={-32_768 if writes else -4_096}")
    connection.execute(f"PRAGMA query_only={0 if writes else 1}")
    journal_mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
    if (journal_mode, synchronous) != ("wal", level):
        raise StoreUnavailable(
            f"SQLite refused journal_mode=wal, synchronous={level}: it answered {journal_mode}, {synchronous}"
        )


def _check_file(connection: Any) -> None:  # noqa: ANN401 - a DBAPI connection has no type
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreUnavailable(f"the ledger's file is damaged: {found}; restore it from a backup (docs/RUNBOOK.md)")


def _postgres_engine(url: URL, *, durable: bool) -> Engine:
    settings = POSTGRES_TIMEOUTS_MS | {"synchronous_commit": "on" if durable else "off"}
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    connect_args: dict[str, object] = {"options": options, "connect_timeout": CONNECT_TIMEOUT_S, **KEEPALIVES}
    return create_engine(
        url, pool_size=READERS_MAX, max_overflow=READERS_MAX, pool_timeout=CONNECT_TIMEOUT_S, connect_args=connect_args
    )
