"""The place of an embedded ledger: what may be made there. Asked before SQLite makes or changes anything."""

import os
from contextlib import closing
from errno import EACCES, EPERM, EROFS
from pathlib import Path
from tempfile import TemporaryFile

from ledger.errors import SettingRefused
from ledger.store.held_file import WRITE_AHEAD_LOG
from ledger.store.sqlite import BUSY_TIMEOUT_MS, SQLITE
from ledger.store.tables import ledger, partition_heads

TRAIL = ".audit"
READ_MODELS = ".read-models"
"""What stands beside a ledger's file and belongs to it, by what is after the file's name."""

TABLES_TOLD_MAX = 5
REFUSALS = (EACCES, EPERM, EROFS)


def is_there(file: Path) -> bool:
    """Whether there is a database. Not where the file is empty: SQLite deletes the write-ahead log beside one that it opens."""
    return file.is_file() and file.stat().st_size > 0


def expect_no_lost_log(file: Path) -> None:
    """SettingRefused where a new log would take the place of one that is missing: what is beside it would be of another ledger."""
    # First what is beside it: another process that makes a ledger at this moment makes the log before that.
    wal, *others = (file.with_name(file.name + end) for end in (WRITE_AHEAD_LOG, TRAIL, READ_MODELS))
    left = [each.name for each in others if each.exists()]
    if is_there(wal) and not is_there(file):  # else that of a ledger that was being made when its process died
        left.append(wal.name)
    if left and _tables_of(file) == []:
        raise SettingRefused(
            f"LEDGER_DATABASE_URL: the log {file.absolute()} is missing, but beside it there is {' and '.join(left)}:"
            f" put it back, with its {WRITE_AHEAD_LOG}, or restore it from a backup (docs/deploy/backup.md); a new ledger begins where"
            " none of these is"
        )


def expect_nothing_else(file: Path) -> None:
    """SettingRefused for an SQLite database of another program, which is left as it is."""
    tables = _tables_of(file) or []
    if tables and not {ledger.name, partition_heads.name} <= set(tables):
        raise SettingRefused(
            f"LEDGER_DATABASE_URL: {file.absolute()} is an SQLite database of something else"
            f" (it has the tables {', '.join(tables[:TABLES_TOLD_MAX])}); name a file of the ledger's own"
        )


def what_to_do_about_damage(file: Path) -> str:
    """Which file is damaged, and what to do, by what the file is."""
    match file.suffix:
        case end if end == READ_MODELS:
            todo = f"stop the server, move {file.name}* away, and start it: they are made again from the log"
        case end if end == TRAIL:
            todo = "move this audit trail away, and put the backup's in its place (docs/deploy/backup.md), or let a new one begin"
        case _:
            todo = "keep it, and restore the log from a backup (docs/deploy/backup.md); where it is no ledger's, name another"
    return f"the damaged file is {file.absolute()}; {todo}"


def why_unwritable(file: Path) -> str | None:
    """What nothing can be written to, of a database and the folder that SQLite has files of its own in, why, and what to do."""
    folder = file.absolute().parent
    reason = None
    try:
        TemporaryFile(dir=folder).close()
        if file.exists() and not os.access(file, os.W_OK):  # opening and closing it would take SQLite's locks away
            reason = f"{file.absolute()} cannot be written"
    except OSError as error:
        if error.errno in REFUSALS:  # and not for want of open files, or of room
            reason = f"the folder {folder} cannot be written ({error.strerror})"
    return reason and f"{reason}: let this user write there, or name a copy of {file.name}* in another folder"


def _tables_of(file: Path) -> list[str] | None:
    """The tables of a database, none where there is none; None where it cannot be read, which opening it tells."""
    if not is_there(file):
        return []
    uri = f"{file.absolute().as_uri()}?mode=ro"
    try:
        with closing(SQLITE.connect(uri, uri=True, timeout=BUSY_TIMEOUT_MS / 1000)) as found:
            named = found.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    except SQLITE.DatabaseError:
        return None if file.exists() else []
    return [name for (name,) in named]
