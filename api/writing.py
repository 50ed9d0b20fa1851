"""Who commits and projects: threads of this process, or those of a process of its own (`api/writer_process.py`)."""

import logging
import socket
from collections.abc import Sequence
from threading import Thread

from ledger.commit_channel import commit_for
from ledger.ledger import Ledger
from projections.read_models import ReadModels

logger = logging.getLogger(__name__)


def pairs(count: int) -> tuple[list[socket.socket], list[socket.socket]]:
    """Both ends of so many channels: those of the event loop, and those of who commits."""
    made = [socket.socketpair() for _ in range(count)]
    return [ours for ours, _ in made], [theirs for _, theirs in made]


class Writing:
    """Commits what comes through each channel, until its other end is closed: a thread each; and starts the projections."""

    def __init__(self, ledger: Ledger, read_models: ReadModels, ends: Sequence[socket.socket]) -> None:
        self._ledger = ledger
        self._read_models = read_models
        self.has_lost_a_thread = False
        self._threads = [
            Thread(target=self._commit_for, args=(end,), name="ledger-writer", daemon=True) for end in ends
        ]
        ledger.database.move_beside_commits()
        for thread in self._threads:
            thread.start()
        read_models.start()

    @property
    def goes_on(self) -> bool:
        """Whether a channel is open, and no thread has died."""
        return not self.has_lost_a_thread and any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Returns once all have ended, as they do when their channels are closed."""
        for thread in self._threads:
            thread.join()

    def _commit_for(self, end: socket.socket) -> None:
        try:
            commit_for(end, self._ledger.commit, on_commit=self._read_models.wake)
        except BaseException:
            self.has_lost_a_thread = True
            logger.exception("a thread that commits has died")
