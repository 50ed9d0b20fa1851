"""A copy of an embedded ledger and of its audit trail, taken while they are being written, each complete up to one commit."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import TypeVar

from ledger.errors import SettingRefused, StoreUnavailable
from ledger.store.database import Database
from ledger.store.held_file import WRITE_AHEAD_LOG
from ledger.store.place import TRAIL
from ledger.store.sqlite import SQLITE

T = TypeVar("T")

UNFINISHED = ".unfinished"
OF_SQLITE = (WRITE_AHEAD_LOG, "-shm", "-journal")
"""What SQLite puts beside a file while it works with it, by what is after the file's name."""

HEADER_BYTES = 20
MAGIC, VERSIONS_WITHOUT_WAL = b"SQLite format 3\0", b"\1\1"
"""How a file begins that SQLite keeps without a write-ahead log (https://www.sqlite.org/fileformat.html)."""


def back_up(log: Path, trail: Path, target: Path, prove: Callable[[Path, Path], T]) -> T:
    """Copies a log to a new file, and its trail beside it; what `prove` says of the two copies, before they have their names.

    Each copy is one read transaction: writers go on meanwhile, and none of what they commit is half in it. A file of the name
    that was asked for is always a whole backup, with its trail, on disk when this returns: where `prove` raises, as where
    nothing can be copied, nothing stays. Of two at once for one name the second to end is refused. SettingRefused,
    StoreUnavailable.
    """
    trail_target = target.with_name(target.name + TRAIL)
    # The trail first: the heads that it notes are in a log that is copied later.
    with _copied(trail, trail_target) as trail_copy, _copied(log, target) as log_copy:
        answer = prove(log_copy, trail_copy)
        of_log, of_trail = log_copy.stat(), trail_copy.stat()
        try:
            # The trail first here as well: once the log has its name, the backup is whole.
            _name(trail_copy, trail_target)
            _name(log_copy, target)
        except BaseException:
            if _is(trail_target, of_trail) and not _is(target, of_log):
                trail_target.unlink()
            raise
    return answer


@contextmanager
def _copied(file: Path, target: Path) -> Iterator[Path]:
    """A copy in the target's folder, on disk, under a name that nobody else has; that name is gone when the block ends."""
    with _as_unavailable(file, target):
        descriptor, name = mkstemp(prefix=f"{target.name}.", suffix=UNFINISHED, dir=target.parent)
    unfinished = Path(name)
    try:
        os.close(descriptor)
        with _as_unavailable(file, target):
            _copy(file, unfinished)
            to_disk(unfinished)
        yield unfinished
    finally:
        # Where the disk is full, SQLite leaves its journal.
        for end in ("", *OF_SQLITE):
            unfinished.with_name(unfinished.name + end).unlink(missing_ok=True)


def _copy(file: Path, target: Path) -> None:
    with closing(SQLITE.connect(file)) as source, closing(SQLITE.connect(target)) as copy:
        source.backup(copy)
        # A backup is one file: without this it would open in WAL mode only together with a -wal file.
        copy.execute("PRAGMA journal_mode=DELETE")


def _name(unfinished: Path, target: Path) -> None:
    """Gives a copy its name, on disk when this returns; SettingRefused where a file has come by that name meanwhile."""
    with _as_unavailable(unfinished, target):
        try:
            target.hardlink_to(unfinished)
        except FileExistsError:
            raise SettingRefused(_already(target)) from None
        except OSError:
            # A file system without links (FAT, some network shares): there two at once are kept apart by this look alone.
            if target.exists():
                raise SettingRefused(_already(target)) from None
            unfinished.rename(target)
        to_disk(target.parent)


def _is(name: Path, file: os.stat_result) -> bool:
    """Whether a name is that of a file: another backup may have it."""
    return name.exists() and os.path.samestat(name.stat(), file)


@contextmanager
def _as_unavailable(file: Path, target: Path) -> Iterator[None]:
    try:
        yield
    except (SQLITE.Error, OSError) as error:
        told = (isinstance(error, OSError) and error.strerror) or error
        raise StoreUnavailable(f"{file} was not copied to {target}: {told}") from error


def is_backup(file: Path) -> bool:
    """Whether a file is one that `back_up` made and nobody has worked with since: a ledger in use has a write-ahead log."""
    try:
        with file.open("rb") as opened:
            header = opened.read(HEADER_BYTES)
    except OSError:
        return False
    return header.startswith(MAGIC) and header.endswith(VERSIONS_WITHOUT_WAL)


def expect_free(database: Database, target: Path) -> Path:
    """The file of a ledger's database; SettingRefused where it cannot be copied to a file of that name, with its trail."""
    if database.file is None:
        raise SettingRefused("this ledger is in PostgreSQL: back it up with pg_dump (docs/deploy/backup.md says how)")
    if not target.parent.is_dir():
        raise SettingRefused(f"there is no folder {target.parent} to put the backup in")
    if target.exists():
        raise SettingRefused(_already(target))
    trail = target.with_name(target.name + TRAIL)
    if trail.exists():
        raise SettingRefused(
            f"{_already(trail)}; {target.name} is not beside it, so it may be left of a backup that was killed:"
            " move it away, or give the backup another name"
        )
    return database.file


def _already(target: Path) -> str:
    return f"there is a file {target} already; a backup never overwrites one"


def to_disk(path: Path) -> None:
    """Returns once a file's content, or a folder's names, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # which does not name what it is about
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)
