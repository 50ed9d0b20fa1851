"""An embedded ledger belongs to one server: the claim to its file, and the file systems on which a claim means nothing.

Commands that read or rebuild need no claim. On PostgreSQL any number of servers may share a ledger.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ledger.errors import LedgerInUse, SettingRefused

FULL = (errno.ENOSPC, errno.EDQUOT)
SQLITE_MAGIC = b"SQLite format 3\0"
MOUNTS = Path("/proc/mounts")
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre", "beegfs", "glusterfs", "gpfs", "davfs"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse", "fuse.davfs2"}
)
"""As Linux names them. SQLite's log needs memory that every process shares, which a file on another machine cannot give."""


@contextmanager
def claimed(file: Path | None) -> Iterator[None]:
    """Holds the ledger in a file for this process (None: not a file, nothing to claim).

    LedgerInUse while another server holds it; SettingRefused where the file is, or would be, on another machine.
    """
    if file is None:
        yield
        return
    file = file.resolve()  # whatever link it is reached by, it is one ledger
    refuse_network_file_system(file)
    _refuse_what_is_no_ledger(file)
    with claimed_whatever_it_is(file):
        yield


@contextmanager
def claimed_whatever_it_is(file: Path | None) -> Iterator[None]:
    """Holds a ledger's file for this process, however damaged, or missing, it is; LedgerInUse while a server holds it."""
    if file is None:
        yield
        return
    file = file.resolve()
    lock_file = file.with_name(file.name + ".lock")
    descriptor = _lock(lock_file, file)
    try:
        yield
    finally:
        with suppress(OSError):
            lock_file.unlink()  # while it is ours: who opened it meanwhile finds it gone, and begins again
        os.close(descriptor)


def _refuse_what_is_no_ledger(file: Path) -> None:
    """SettingRefused for a file of something else, before anything is made beside it; and for one that has two names."""
    if not file.exists():
        return
    if not file.is_file():
        raise SettingRefused(f"LEDGER_DATABASE_URL: {file} is not a file")
    try:
        with file.open("rb") as opened:
            begin = opened.read(len(SQLITE_MAGIC))
    except OSError as error:
        raise SettingRefused(
            f"LEDGER_DATABASE_URL: {file} cannot be read ({error.strerror}); is it another user's?"
        ) from None
    if begin not in {b"", SQLITE_MAGIC}:
        raise SettingRefused(f"LEDGER_DATABASE_URL: {file} is not an SQLite database")
    if file.stat().st_nlink > 1:
        raise SettingRefused(
            f"LEDGER_DATABASE_URL: {file} has a second name (a hard link), under which another server could write to it"
        )


def refuse_network_file_system(file: Path, mounts: Path = MOUNTS) -> None:
    """SettingRefused for a file on another machine, as far as Linux's table of mounts tells."""
    try:
        table = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return  # not Linux
    kind = _file_system_of(file.absolute().parent.resolve(), [line.split(" ") for line in table])
    if kind in NETWORK_FILE_SYSTEMS:
        raise SettingRefused(
            f"LEDGER_DATABASE_URL: {file} is on a network file system ({kind}), where SQLite can lose or damage data;"
            " use a local disk, or PostgreSQL"
        )


def _file_system_of(folder: Path, mounts: list[list[str]]) -> str | None:
    """The type of the innermost mount that has the folder; of several on one place the last one counts."""
    found = [
        (len(point.parts), order, fields[2])
        for order, fields in enumerate(mounts)
        if len(fields) > 2 and folder.is_relative_to(point := _unescaped(fields[1]))  # noqa: PLR2004 - device, place, type
    ]
    return max(found)[2] if found else None


def _unescaped(place: str) -> Path:
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        place = place.replace(escape, character)
    return Path(place)


def _lock(lock_file: Path, file: Path) -> int:
    """A lock on a file of its own, because SQLite uses locks on the ledger's. The system takes it back however we end."""
    descriptor = _opened(lock_file)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        who = f"process {holder}" if holder.isdigit() else "another process"
        raise LedgerInUse(
            f"{file} is held by {who} already, a server or a restore; an embedded ledger has one server (commands that read"
            " work beside it)"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise SettingRefused(f"LEDGER_DATABASE_URL: {lock_file} cannot be locked ({error.strerror})") from None
    if os.fstat(descriptor).st_nlink == 0:  # who held it took it away between our opening it and our locking it
        os.close(descriptor)
        return _lock(lock_file, file)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
    except OSError as error:
        with suppress(OSError):
            lock_file.unlink()  # while it is ours
        os.close(descriptor)
        raise _unwritable(lock_file, error) from None
    return descriptor


def _opened(lock_file: Path) -> int:
    try:
        return os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        what = lock_file if lock_file.exists() else f"the folder {lock_file.parent}"
        raise _unwritable(what, error) from None


def _unwritable(what: Path | str, error: OSError) -> SettingRefused:
    todo = ": make room on that disk" if error.errno in FULL else ""
    return SettingRefused(f"LEDGER_DATABASE_URL: {what} cannot be written ({error.strerror}){todo}")
