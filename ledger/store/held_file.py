"""The file of an embedded database as it was opened: what is written to one that was deleted or moved away would be lost."""

import logging
import os
from pathlib import Path

from ledger.errors import StoreUnavailable

logger = logging.getLogger(__name__)

Identity = tuple[int, int]
"""Device and inode: another file has others."""


class HeldFile:
    """Which file was opened at a path. May be asked from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = os.path.abspath(path)  # noqa: PTH100 - a link stays a link, and whoever changes the folder later is not followed
        self._opened: Identity | None = None
        self._is_missed = False

    def opened(self) -> None:
        """A connection was made; the first one decides which file it is. StoreUnavailable where this one has another."""
        if self._opened is None:
            self._opened = self._there()
        self.expect()

    def expect(self) -> None:
        """StoreUnavailable unless the file that was opened is still at its path; told in the log once."""
        if self._opened is None:
            return
        if self._there() == self._opened:
            self._is_missed = False
            return
        reason = f"{self._path} is gone, or is another file than the one that was opened: put it back, or restart"
        if not self._is_missed:
            logger.error("nothing more is written, because it would be lost: %s", reason)
        self._is_missed = True
        raise StoreUnavailable(reason)

    def _there(self) -> Identity | None:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - in every commit, and half as fast by Path
        except OSError:
            return None
        return found.st_dev, found.st_ino
