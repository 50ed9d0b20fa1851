"""Connections to SQLite: WAL, and a sync before every commit is answered.

The bundled SQLite of pysqlite3 is used where there is a wheel for the platform, because Python's own is usually older and
can corrupt a WAL database.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import QueuePool

from ledger.errors import StoreUnavailable
from ledger.store.driver import SAID_CHARACTERS_MAX
from ledger.store.held_file import HeldFile
from ledger.store.private_file import make_private

try:
    import pysqlite3.dbapi2 as bundled_sqlite
except ImportError:  # no wheel for this platform
    bundled_sqlite = None

SQLITE: ModuleType = bundled_sqlite or sqlite3
WAL_BUG = ((3, 7, 0), (3, 51, 3))
"""SQLite from the first to before the second can corrupt a WAL database when connections checkpoint at once."""

DAMAGED_FILE = ("database disk image is malformed", "file is not a database", "file is damaged")
"""What SQLite says of a damaged file, and what we say after a check."""
DAMAGED = (*DAMAGED_FILE, "Could not decode to UTF-8 column")
"""These, and what it says of a damaged text in a file that may be whole."""
LOCKED = "database is locked"
UNWRITABLE = ("unable to open database file", "readonly database")
FILE_ERRORS = ("disk I/O error", *DAMAGED_FILE, "unable to open database file")
READERS_MAX = 16
WAL_PAGES_MAX, WAL_PAGES_MAX_ALONE = 8_000, 1_000
"""When the write-ahead log has so many pages, the commits themselves move what is left of it into the file; the second where they do
all of it: see `backfill.py`."""

WRITER_CACHE_KIB, READER_CACHE_KIB = 20_480, 1_024
"""A reader's is for the inner pages of the trees: the kernel has the others, and a server has a reader a thread and file."""

WAL_PAGES_MIN = 32
"""Fewer are not worth two syncs: the heartbeat of an idle server changes a page or two a second."""

PASSES_MAX = 4
EMPTYING_TRIES, EMPTYING_AGAIN_S = 3, 0.02
BUSY_TIMEOUT_MS = 10_000
BUSY_AGAIN_S = 0.01

logger = logging.getLogger(__name__)


def has_the_wal_bug(module: ModuleType) -> bool:
    """Whether a SQLite can corrupt a WAL database under concurrent checkpoints."""
    first, fixed = WAL_BUG
    return bool(first <= module.sqlite_version_info < fixed)


def damages_in(told: Iterable[str]) -> list[str]:
    """What a check of a file says, a line each, without that all is well: SQLite tells of many places in one text."""
    lines = (line for text in told for line in str(text).splitlines())
    return [line[:SAID_CHARACTERS_MAX] for line in lines if line != "ok" and not line.startswith("*** in database")]


def warn_of_the_wal_bug(module: ModuleType) -> None:
    """Says so where the SQLite at hand has that bug."""
    if has_the_wal_bug(module):
        logger.warning(
            "SQLite %s can corrupt a WAL database when connections checkpoint at once (fixed in 3.51.3): install pysqlite3",
            module.sqlite_version,
        )


def sqlite_engine(url: URL, suspect: Event, held: HeldFile, *, writes: bool, durable: bool) -> Engine:
    """The engine of the one connection that writes, or of those that only read. `suspect` asks the next writer for a check."""
    _spare_a_search_for_adapters()
    engine = create_engine(
        url,
        module=SQLITE,
        hide_parameters=True,  # values are personal data, and errors are shown
        poolclass=QueuePool,
        pool_size=1 if writes else READERS_MAX,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_MS / 1000,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000, "cached_statements": 512},
    )

    @event.listens_for(engine, "do_connect")
    def expect_the_file(*_how: object) -> None:
        held.expect()  # where it is gone, another would be made
        make_private(Path(url.database or ""))

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection has no type
        held.opened()
        connection.isolation_level = None
        _set_pragmas(connection, writes=writes, durable=durable)
        if writes and suspect.is_set():
            _check_file(connection, url.database)
            suspect.clear()
        elif writes and durable:
            _sync_what_was_recovered(connection)

    return engine


def evidence_engine(url: URL) -> Engine:
    """The engine of those who read a file that nobody writes to: nothing in it or beside it changes, whatever it lies on."""
    path = quote(os.path.abspath(url.database or ""))  # noqa: PTH100 - a link stays a link
    return create_engine(
        url.set(database=f"file:{path}", query={"mode": "ro", "immutable": "1", "uri": "true"}),
        module=SQLITE,
        hide_parameters=True,
        poolclass=QueuePool,
        pool_size=READERS_MAX,
        max_overflow=0,
        connect_args={"check_same_thread": False, "isolation_level": None},
    )


def _spare_a_search_for_adapters() -> None:
    """Tells the driver that bytes and None go as they are.

    Otherwise it looks at each for ways to adapt it, which fail one by one: 2 µs a parameter rather than 0.3, with Python's lock held.
    """
    SQLITE.register_adapter(bytes, bytes)
    SQLITE.register_adapter(type(None), {None: None}.get)


def move_wal(connection: Any) -> None:  # noqa: ANN401 - a DBAPI connection has no type
    """Moves the write-ahead log into the file while others commit, until hardly anything is left, or somebody reads or moves it."""
    _busy, pages, moved = connection.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
    for _ in range(PASSES_MAX):
        if pages - moved < WAL_PAGES_MIN:
            break
        busy, *found = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if busy:
            break
        pages, moved = found


def empty_wal(connection: Any) -> None:  # noqa: ANN401 - a DBAPI connection has no type
    """Moves the write-ahead log into the file and empties it, unless somebody reads: then the next time does."""
    # Waiting for a reader here would keep the writer from what comes meanwhile.
    connection.execute("PRAGMA busy_timeout=0")
    try:
        for _ in range(EMPTYING_TRIES):
            busy, _pages, _moved = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return
            time.sleep(EMPTYING_AGAIN_S)  # another process may be at it
    finally:
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")


def _set_pragmas(connection: Any, *, writes: bool, durable: bool) -> None:  # noqa: ANN401 - a DBAPI connection has no type
    level = 2 if durable else 1
    _change_to_wal(connection)
    connection.execute(f"PRAGMA synchronous={level}")
    connection.execute(f"PRAGMA cache_size={-(WRITER_CACHE_KIB if writes else READER_CACHE_KIB)}")
    pages = WAL_PAGES_MAX_ALONE if has_the_wal_bug(SQLITE) else WAL_PAGES_MAX
    connection.execute(f"PRAGMA wal_autocheckpoint={pages}")
    connection.execute(f"PRAGMA query_only={0 if writes else 1}")
    journal_mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
    if (journal_mode, synchronous) != ("wal", level):
        raise StoreUnavailable(
            f"SQLite refused journal_mode=wal, synchronous={level}: it answered {journal_mode}, {synchronous}"
        )


def _change_to_wal(connection: Any) -> None:  # noqa: ANN401 - a DBAPI connection has no type
    """WAL, also where others open the same new file at this moment: for this change alone SQLite does not wait by itself."""
    give_up_s = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except SQLITE.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_s:
                raise
            time.sleep(BUSY_AGAIN_S)
        else:
            return


def _sync_what_was_recovered(connection: Any) -> None:  # noqa: ANN401 - a DBAPI connection has no type
    """Syncs the write-ahead log before anything in it is trusted.

    After a kill between the write of a commit and its sync, SQLite takes that commit for good although it may be in the
    kernel's memory only. A webhook that is delivered again would be found there, and be answered 200 with nothing synced.
    """
    give_up_s = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[0]:
        # Another process is at it, and may have begun before that commit.
        if time.monotonic() > give_up_s:
            raise StoreUnavailable("the write-ahead log cannot be synced while another process moves it; try again")
        time.sleep(BUSY_AGAIN_S)


def _check_file(connection: Any, path: str | None) -> None:  # noqa: ANN401 - a DBAPI connection has no type
    """After an I/O error: all that is committed goes into the file itself, synced, and the file must be whole."""
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreUnavailable(f"{path} failed, and cannot be made sure of while somebody reads it; try again")
    found = damages_in(connection.execute("PRAGMA quick_check(1)").fetchone())
    if found:
        raise StoreUnavailable(f"the file is damaged: {path}: {found[0]}; what to do is in docs/RUNBOOK.md")
