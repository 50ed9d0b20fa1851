"""After an upgrade: what another version of us had made is built again by whoever starts, however often that is cut off.

Only what was of another version at the start: a program that runs on leaves alone what a newer one has switched to meanwhile.
"""

import logging
import threading
from collections.abc import Callable, Iterable

from ledger.store.database import Database
from projections.errors import RebuildRunning
from projections.projection import Projection
from projections.rebuild import Ending, Rebuild
from projections.register import register_entry

LOOK_AGAIN_S = 30.0
"""Longer than the lease of a rebuild: what a dead process had begun is free by then."""

logger = logging.getLogger(__name__)


class Remaking:
    """A thread that sees to it, where anything is to be made again."""

    def __init__(self, rows: Database, projections: Iterable[Projection], claim: Callable[[str], Rebuild]) -> None:
        self._rows = rows
        self._claim = claim
        self._ours: dict[str, Rebuild] = {}
        self._told: set[str] = set()
        self._is_over = threading.Event()
        self._left = [each for each in projections if not self._is_made(each)]
        self._thread = threading.Thread(target=self._run, name="ledger-remaking", daemon=True)

    def start(self) -> None:
        """Begins what is to be made again. LedgerError where it cannot."""
        for projection in self._left:
            self._begin(projection.name)
        if self._left:
            self._thread.start()

    def stop(self) -> None:
        """Begins nothing more."""
        self._is_over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._left and not self._is_over.wait(LOOK_AGAIN_S):
            try:
                self._left = [each for each in self._left if not self._is_settled(each)]
            except Exception:
                logger.exception("a read model of another version could not be looked at; it is tried again")

    def _is_settled(self, projection: Projection) -> bool:
        """Whether nothing is left to do: somebody has made it, or has cancelled our making it. Begins again what was cut off."""
        ours = self._ours.get(projection.name)
        if ours is not None and ours.ending is None:
            return False
        if self._is_made(projection) or (ours is not None and ours.ending is Ending.CANCELLED):
            return True
        self._begin(projection.name)
        return False

    def _is_made(self, projection: Projection) -> bool:
        with self._rows.reading() as connection:
            return register_entry(connection, projection.name).version == projection.version

    def _begin(self, name: str) -> None:
        try:
            rebuild = self._claim(name)
        except RebuildRunning as error:  # which will switch for all of us
            if name not in self._told:
                self._told.add(name)
                logger.info("%s is of another version, and is to be rebuilt: %s", name, error)
            return
        self._ours[name] = rebuild
        rebuild.start()
