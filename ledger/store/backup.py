"""A copy of an embedded database, taken while it is being written, complete up to one commit."""

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ledger.errors import SettingRefused
from ledger.positions import Position
from ledger.store.database import Database
from ledger.store.private_file import make_private
from ledger.store.sqlite import SQLITE

UNFINISHED = ".unfinished"
HEADER_BYTES = 20
MAGIC, VERSIONS_WITHOUT_WAL = b"SQLite format 3\0", b"\1\1"
"""How a file begins that SQLite keeps without a write-ahead log (https://www.sqlite.org/fileformat.html)."""


def back_up(database: Database, target: Path) -> list[str]:
    """Copies an embedded ledger to a new file, which is on disk and whole when this returns; its heads, as `0-17:HASH`.

    SettingRefused where it cannot be made.
    """
    heads = copied(database, target, "SELECT partition, position, hash FROM partition_heads ORDER BY partition")
    return [f"{Position(partition, number)}:{digest.hex()}" for partition, number, digest in heads]


def copied(database: Database, target: Path, question: str) -> Sequence[Any]:
    """Copies an embedded database to a new file, and asks the copy a question.

    The copy is one read transaction: writers go on meanwhile, and none of what they commit is half in it. It is made under
    another name first, so that a file of the name that was asked for is always a whole backup.
    """
    expect_free(database, target)
    unfinished = target.with_name(target.name + UNFINISHED)
    unfinished.unlink(missing_ok=True)
    make_private(unfinished)
    with closing(SQLITE.connect(database.file)) as source, closing(SQLITE.connect(unfinished)) as copy:
        source.backup(copy)
        answer: Sequence[Any] = copy.execute(question).fetchall()
        # A backup is one file: without this it would open in WAL mode only together with a -wal file.
        copy.execute("PRAGMA journal_mode=DELETE")
    to_disk(unfinished)
    unfinished.rename(target)
    to_disk(target.parent)
    return answer


def is_backup(file: Path) -> bool:
    """Whether a file is one that `copied` made and nobody has worked with since: a ledger in use has a write-ahead log."""
    try:
        with file.open("rb") as opened:
            header = opened.read(HEADER_BYTES)
    except OSError:
        return False
    return header.startswith(MAGIC) and header.endswith(VERSIONS_WITHOUT_WAL)


def expect_free(database: Database, target: Path) -> None:
    """SettingRefused where a database cannot be copied to a file of that name."""
    if database.file is None:
        raise SettingRefused("this ledger is in PostgreSQL: back it up with pg_dump (docs/deploy/backup.md says how)")
    if not target.parent.is_dir():
        raise SettingRefused(f"there is no folder {target.parent} to put the backup in")
    if target.exists():
        raise SettingRefused(f"there is a file {target} already; a backup never overwrites one")


def to_disk(path: Path) -> None:
    """Returns once a file's content, or a folder's names, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
