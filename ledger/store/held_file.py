"""The files of an embedded database as they were opened: what is written to one that was deleted or moved away would be lost."""

import logging
import os
from pathlib import Path

from ledger.errors import StoreUnavailable

WRITE_AHEAD_LOG = "-wal"
"""What SQLite puts behind a file's name for what is not moved into it yet."""

COPY_IT = "copy it from process {}, which has it open, before that ends: docs/RUNBOOK.md says how"
STOP_IN_ORDER = "restart with SIGTERM, never with SIGKILL: its process moves what was in it into the database first"

logger = logging.getLogger(__name__)

Identity = tuple[int, int]
"""Device and inode: another file has others."""


class HeldFile:
    """Which file was opened at a path, and which write-ahead log beside it. May be asked from any thread."""

    def __init__(self, path: Path, *, can_be_made_again: bool) -> None:
        self._path = os.path.abspath(path)  # noqa: PTH100 - a link stays a link, and whoever changes the folder later is not followed
        self._wal_path = f"{self._path}{WRITE_AHEAD_LOG}"
        self._opened: Identity | None = None
        self._wal: Identity | None = None
        self._is_missed = False
        self._can_be_made_again = can_be_made_again

    @property
    def is_there(self) -> bool:
        """Whether the file that was opened is still at its path."""
        return self._opened is None or _at(self._path) == self._opened

    def opened(self) -> None:
        """A connection was made; the first one decides which file it is. StoreUnavailable where this one has another."""
        if self._opened is None:
            self._opened = _at(self._path)
        self._expect(self._path, self._opened, COPY_IT)

    def closed(self) -> None:
        """All connections were closed: the next one may find another write-ahead log, which SQLite deletes with the last."""
        self._wal = None

    def expect(self) -> None:
        """StoreUnavailable unless both files are still at their paths; told in the log once."""
        if self._opened is None:
            return
        self._expect(self._path, self._opened, COPY_IT)
        if self._wal is not None:
            self._expect(self._wal_path, self._wal, STOP_IN_ORDER)
        self._is_missed = False

    def expect_written(self) -> None:
        """`expect`, within a transaction that writes: by now there is a write-ahead log."""
        if self._wal is None:
            self._wal = _at(self._wal_path)
            self._expect(self._wal_path, self._wal, STOP_IN_ORDER)
        self.expect()

    def _expect(self, path: str, opened: Identity | None, todo: str) -> None:
        if opened is not None and _at(path) == opened:
            return
        todo = "restart" if self._can_be_made_again else todo.format(os.getpid())
        reason = f"{path} is gone, or is another file than the one that was opened: put it back, or {todo}"
        if not self._is_missed:
            logger.error("nothing more is written, because it would be lost: %s", reason)
        self._is_missed = True
        raise StoreUnavailable(reason)


def _at(path: str) -> Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - in every commit, and half as fast by Path
    except OSError:
        return None
    return found.st_dev, found.st_ino
