"""A copy of an embedded database, taken while it is being written, complete up to one commit."""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from ledger.errors import SettingRefused, StoreUnavailable
from ledger.store.database import Database
from ledger.store.private_file import make_private
from ledger.store.sqlite import SQLITE

T = TypeVar("T")

UNFINISHED = ".unfinished"
HEADER_BYTES = 20
MAGIC, VERSIONS_WITHOUT_WAL = b"SQLite format 3\0", b"\1\1"
"""How a file begins that SQLite keeps without a write-ahead log (https://www.sqlite.org/fileformat.html)."""


def copied(database: Database, target: Path, ask: Callable[[Path], T]) -> T:
    """Copies an embedded database to a new file, on disk when this returns; what the copy says, asked before it has its name.

    The copy is one read transaction: writers go on meanwhile, and none of what they commit is half in it. A file of the name
    that was asked for is always a whole backup: where `ask` raises, as where nothing can be copied, nothing stays.
    SettingRefused, StoreUnavailable.
    """
    file = expect_free(database, target)
    unfinished = target.with_name(target.name + UNFINISHED)
    unfinished.unlink(missing_ok=True)
    try:
        _copy(file, unfinished)
        answer = ask(unfinished)
        to_disk(unfinished)
        unfinished.rename(target)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, SQLITE.Error):
            raise StoreUnavailable(f"{file} was not copied to {target}: {error}") from error
        raise
    to_disk(target.parent)
    return answer


def _copy(file: Path, target: Path) -> None:
    make_private(target)
    with closing(SQLITE.connect(file)) as source, closing(SQLITE.connect(target)) as copy:
        source.backup(copy)
        # A backup is one file: without this it would open in WAL mode only together with a -wal file.
        copy.execute("PRAGMA journal_mode=DELETE")


def is_backup(file: Path) -> bool:
    """Whether a file is one that `copied` made and nobody has worked with since: a ledger in use has a write-ahead log."""
    try:
        with file.open("rb") as opened:
            header = opened.read(HEADER_BYTES)
    except OSError:
        return False
    return header.startswith(MAGIC) and header.endswith(VERSIONS_WITHOUT_WAL)


def expect_free(database: Database, target: Path) -> Path:
    """The file of a database; SettingRefused where it cannot be copied to a file of that name."""
    if database.file is None:
        raise SettingRefused("this ledger is in PostgreSQL: back it up with pg_dump (docs/deploy/backup.md says how)")
    if not target.parent.is_dir():
        raise SettingRefused(f"there is no folder {target.parent} to put the backup in")
    if target.exists():
        raise SettingRefused(f"there is a file {target} already; a backup never overwrites one")
    return database.file


def to_disk(path: Path) -> None:
    """Returns once a file's content, or a folder's names, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
