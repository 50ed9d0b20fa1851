"""The real database, which fails as the weather says: before a commit, instead of it, or after it without telling."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from ledger.store.database import Database
from tests.simulation.weather import Sky

SHARE_LOST = 0.6
SHARE_LOST_AFTER_COMMIT = 0.5
MESSAGES = {Sky.BROKEN: "disk I/O error", Sky.FULL: "database or disk is full"}


class FragileDatabase(Database):
    """A ledger's database. `hits` counts the commits that failed, `unknown` those of them that were stored all the same."""

    def __init__(self, url: str, sky: Callable[[], Sky], dice: Random) -> None:
        super().__init__(url)
        self._sky = sky
        self._dice = dice
        self.hits = 0
        self.unknown = 0

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may fail at its beginning, be rolled back at its end, or be committed without our learning of it."""
        self._fail_where_the_disk_does()
        lost = self._sky() is Sky.LOSSY and self._dice.random() < SHARE_LOST
        is_stored = self._dice.random() < SHARE_LOST_AFTER_COMMIT
        with super().writing() as connection:
            yield connection
            if lost and not is_stored:
                self.hits += 1
                raise _error("server closed the connection unexpectedly", lost=True)
        if lost:
            self.hits += 1
            self.unknown += 1
            raise _error("server closed the connection unexpectedly", lost=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that fails where the disk gives errors; a full disk can be read."""
        if self._sky() is Sky.BROKEN:
            raise _error(MESSAGES[Sky.BROKEN], lost=False)
        with super().reading() as connection:
            yield connection

    def _fail_where_the_disk_does(self) -> None:
        if message := MESSAGES.get(self._sky()):
            self.hits += 1
            raise _error(message, lost=False)


def _error(message: str, *, lost: bool) -> OperationalError:
    return OperationalError("a statement", None, sqlite3.OperationalError(message), connection_invalidated=lost)
