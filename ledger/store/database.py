"""Connections: how each engine is opened so that a commit means "on disk", and who may write.

On SQLite there is one connection that writes, taken in turns, and its transactions begin with BEGIN IMMEDIATE; the
others cannot write. On PostgreSQL each kind has its pool; writers run at READ COMMITTED, readers at REPEATABLE READ.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock
from typing import Any

from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from ledger.errors import SettingRefused, StoreUnavailable
from ledger.outage import Outage
from ledger.store import postgres, sqlite
from ledger.store.backfill import Backfill
from ledger.store.damage import Damage
from ledger.store.driver import run, said
from ledger.store.held_file import HeldFile
from ledger.store.place import why_unwritable

WAL_ERRORS = (sqlite.SQLITE.Error, SQLAlchemyError, StoreUnavailable)

logger = logging.getLogger(__name__)


class Database:
    """One database, opened safely: `writing()` is a transaction that commits durably, `reading()` one that cannot write.

    `durable=False` is for what can be made again from the log: a commit may then be lost in a power cut, never torn.
    `evidence=True` is for an embedded database that nobody writes to, and that must stay as it is: it is only read.
    """

    def __init__(self, url: str, *, durable: bool = True, evidence: bool = False) -> None:
        self.url = parse_database_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        # Who reads evidence tells it: what is read may be a copy that is under way, under another name.
        self.damage = Damage(Path(self.url.database or ""), is_logged=not evidence) if self.is_sqlite else None
        self._suspect = Event()
        self._outage = Outage(logger, "")
        self._proving = Lock()
        self._held = HeldFile(Path(self.url.database or ""), can_be_made_again=not durable)
        self._moving = Lock()
        # What can be made again has a sign of life written into it each second: it is never idle.
        self._backfill = Backfill(Path(self.url.database or "").name, self.move, self.tidy if durable else None)
        self.evidence = evidence
        if evidence:
            self._writer = self._reader = self._asker = sqlite.evidence_engine(self.url)
        elif self.is_sqlite:
            sqlite.warn_of_the_wal_bug(sqlite.SQLITE)
            self._writer = sqlite.sqlite_engine(self.url, self._suspect, self._held, writes=True, durable=durable)
            self._reader = self._asker = sqlite.sqlite_engine(
                self.url, self._suspect, self._held, writes=False, durable=durable
            )
        else:
            # Pools of their own: however many read, a writer never waits for one of their connections.
            self._writer = postgres.postgres_engine(self.url, writes=True, durable=durable)
            self._reader = postgres.postgres_engine(self.url, writes=False, durable=durable)
            self._asker = self._reader.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def file(self) -> Path | None:
        """The file of an embedded database."""
        return Path(self.url.database or "") if self.is_sqlite else None

    @property
    def is_there(self) -> bool:
        """Whether the file of an embedded database that was opened is still at its path; of a server nothing is known."""
        return not self.is_sqlite or self._held.is_there

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write; committed at the end of the block, rolled back on any error.

        StoreUnavailable where the file is gone from its path, before anything is written; and where PostgreSQL committed with a
        warning: it is on this disk, but not where it was to be as well.
        """
        with self._explaining(), self._writer.connect() as connection:
            connection.info.pop(postgres.WARNED, None)  # what a transaction was warned of that came to nothing
            with connection.begin():
                if self.is_sqlite:
                    run(connection, "BEGIN IMMEDIATE")
                    self._held.expect_written()
                yield connection
            self._backfill.wake()
            if connection.info.pop(postgres.WARNED, False):
                raise StoreUnavailable("PostgreSQL committed without its synchronous standby; send it again")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads and sees one state of the database throughout."""
        with self._explaining(), self._reader.connect() as connection:
            connection.begin()
            if self.is_sqlite:
                run(connection, "BEGIN")
            yield connection

    @contextmanager
    def asking(self) -> Iterator[Connection]:
        """For statements that only read, each of a state of its own: no BEGIN and no end, which cost as much as they do."""
        with self._explaining(), self._asker.connect() as connection:
            yield connection

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """An error with what an operator has to do, where the file is damaged (StoreDamaged), or cannot be written."""
        try:
            yield
        except DBAPIError as error:
            if self.damage is None:
                raise
            if damaged := self.damage.met(error):
                raise damaged from error
            if sqlite.LOCKED in str(error.orig):
                error.add_note(
                    f"another process has held a lock on {self.file} for {sqlite.BUSY_TIMEOUT_MS // 1000} s:"
                    f" `fuser {self.file}` names who has it open (docs/RUNBOOK.md)"
                )
            if any(words in str(error.orig) for words in sqlite.UNWRITABLE) and (
                why := why_unwritable(Path(self.url.database or ""))
            ):
                error.add_note(why)
            raise

    def after_failure(self, error: Exception) -> None:
        """Drops every connection after an I/O error: such a handle is never trusted again, and the next one checks the file."""
        if self.is_sqlite and any(words in str(error) for words in sqlite.FILE_ERRORS):
            told = "%s failed; it is closed, and will be checked when it is opened again"
            self._outage.failed("file", told, self.file, level=logging.ERROR)
            self._suspect.set()
            self._disconnect()

    def move_beside_commits(self) -> None:
        """From now on an embedded database's write-ahead log is moved into its file beside the commits, until `close`. Idempotent.

        Where SQLite has the bug of connections that do so at once, it stays with the one that writes.
        """
        if self.is_sqlite and not sqlite.has_the_wal_bug(sqlite.SQLITE):
            self._backfill.start()

    def move(self) -> None:
        """One pass of that. The next one does its work where it fails."""
        self._in_the_wal("moved", self._reader, sqlite.move_wal)

    def tidy(self) -> None:
        """Idle work: moves an embedded database's write-ahead log into its file and empties it. The next time where it fails."""
        self._in_the_wal("emptied", self._writer, sqlite.empty_wal)

    def _in_the_wal(self, what: str, engine: Engine, work: Callable[[Any], None]) -> None:
        if not self.is_sqlite:
            return
        try:
            with self._moving, engine.connect() as connection:
                work(connection.connection.dbapi_connection)
        except WAL_ERRORS as error:
            told = "the write-ahead log of %s was not %s: %s"
            self._outage.failed(what, told, self.file, what, str(error).splitlines()[0])
            self.after_failure(error)

    def prove_writable(self) -> None:
        """Writes durably without changing anything, or is content that another thread is about to.

        StoreUnavailable, in words for anybody: PostgreSQL's own name hosts and users.
        """
        if not self._proving.acquire(blocking=False):
            return
        try:
            with self.writing() as connection:
                connection.exec_driver_sql("UPDATE partition_heads SET position = position WHERE partition = 0")
        except SQLAlchemyError as error:
            self.after_failure(error)
            raise StoreUnavailable(f"the database {self._state_after(error)}") from error
        finally:
            self._proving.release()

    def _state_after(self, error: SQLAlchemyError) -> str:
        """What it does that an error came from."""
        if self.is_sqlite:
            return f"refuses to commit: {said(error)}"
        if any(words in str(error) for words in postgres.TOO_MANY_CONNECTIONS):
            return "takes no more connections"
        return (
            "cannot be reached" if any(words in str(error) for words in postgres.UNREACHABLE) else "refuses to commit"
        )

    def close(self) -> None:
        """Closes every connection, and moves no more pages beside commits. A later use opens new connections."""
        self._backfill.stop()
        self._disconnect()

    def _disconnect(self) -> None:
        self._writer.dispose()
        self._reader.dispose()
        self._held.closed()


@contextmanager
def opening(url: str, *, durable: bool = True, evidence: bool = False) -> Iterator[Database]:
    """A database that stays open only if nothing is wrong with it; StoreUnavailable where it cannot be reached."""
    database = Database(url, durable=durable, evidence=evidence)
    try:
        yield database
    except SQLAlchemyError as error:
        database.close()
        raise StoreUnavailable(f"LEDGER_DATABASE_URL: the database cannot be used: {said(error)}") from error
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
