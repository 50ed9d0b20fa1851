"""Putting a backup in the place of an embedded ledger. What was there is put aside under another name, never deleted."""

import os
import shutil
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from ledger.errors import SettingRefused
from ledger.positions import Position
from ledger.store.backup import UNFINISHED
from ledger.store.sqlite import SQLITE

ASIDE = ".replaced-"
BESIDE = (".read-models",)
"""What stands beside a ledger's file and belongs to it, by what is after the file's name."""
WRITE_AHEAD_LOG = "-wal"
OF_SQLITE = (WRITE_AHEAD_LOG, "-shm", "-journal")


def restore(backup: Path, file: Path, moment: str) -> tuple[list[str], Path | None]:
    """Puts a backup in the place of the ledger in a file; its heads, as `0-17:HASH`, and where what was there is now.

    The caller holds the claim to the file, so nobody serves it. SettingRefused, with nothing changed, for what is no whole
    backup. `moment` is part of the names under which things are put aside, all of which belong together: the ledger that
    was there can be opened under its new name.

    Cut off anywhere, either nothing has changed, or the file has two names, under which no server starts: do it again.
    """
    unfinished = file.with_name(file.name + UNFINISHED)
    try:
        heads = _copied(backup, unfinished)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    aside = file.with_name(f"{file.name}{ASIDE}{moment}")
    was_there = file.exists()
    if was_there:
        aside.hardlink_to(file)
    # Before the new file is in place: SQLite would take an old write-ahead log for the new file's own.
    for part in (*OF_SQLITE, *(name + end for name in BESIDE for end in ("", *OF_SQLITE))):
        with suppress(FileNotFoundError):
            file.with_name(file.name + part).rename(aside.with_name(aside.name + part))
    unfinished.rename(file)
    _to_disk(file.parent)
    return heads, aside if was_there else None


def _copied(backup: Path, copy: Path) -> list[str]:
    """Copies a backup, on disk when this returns, and looks whether it is a whole ledger; its heads."""
    if not backup.is_file():
        raise SettingRefused(f"there is no backup {backup}")
    log = backup.with_name(backup.name + WRITE_AHEAD_LOG)
    if log.exists() and log.stat().st_size:
        raise SettingRefused(
            f"{backup} is not whole by itself: {log.name} belongs to it; `ledger backup` makes one file"
        )
    shutil.copyfile(backup, copy)
    _to_disk(copy)
    try:
        with closing(SQLITE.connect(copy.as_uri() + "?mode=ro&immutable=1", uri=True)) as connection:
            return _heads(connection, backup)
    except SQLITE.DatabaseError as error:
        raise SettingRefused(f"{backup} is not a backup of a ledger ({error}); nothing was changed") from None


def _heads(connection: Any, backup: Path) -> list[str]:  # noqa: ANN401 - a DBAPI connection has no type
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise SettingRefused(f"{backup} is damaged ({found}); nothing was changed")
    heads = connection.execute("SELECT partition, position, hash FROM partition_heads ORDER BY partition").fetchall()
    return [f"{Position(partition, number)}:{digest.hex()}" for partition, number, digest in heads]


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
