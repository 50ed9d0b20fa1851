"""Who commits: threads of this process, or those of a process of its own (`api/serving/writer_process.py`)."""

import logging
import socket
from collections.abc import Callable, Sequence
from threading import Thread

from ledger.commit_channel import commit_for
from ledger.ledger import Ledger

logger = logging.getLogger(__name__)


def pairs(count: int) -> tuple[list[socket.socket], list[socket.socket]]:
    """Both ends of so many channels: those of the event loop, and those of who commits."""
    made = [socket.socketpair() for _ in range(count)]
    return [ours for ours, _ in made], [theirs for _, theirs in made]


class Writing:
    """Commits what comes through each channel, until its other end is closed: a thread each. `on_commit` is called by them."""

    def __init__(self, ledger: Ledger, ends: Sequence[socket.socket], on_commit: Callable[[], None]) -> None:
        self._ledger = ledger
        self._on_commit = on_commit
        self.has_lost_a_thread = False
        self._threads = [
            Thread(target=self._commit_for, args=(end,), name="ledger-writer", daemon=True) for end in ends
        ]
        ledger.database.move_beside_commits()
        for thread in self._threads:
            thread.start()

    def goes_on(self, at_most_s: float) -> bool:
        """Whether a channel is open, and no thread has died; where so, waits for a while for what becomes of one of them."""
        working = next((thread for thread in self._threads if thread.is_alive()), None)
        if self.has_lost_a_thread or working is None:
            return False
        working.join(at_most_s)
        return True

    def join(self) -> None:
        """Returns once all have ended, as they do when their channels are closed."""
        for thread in self._threads:
            thread.join()

    def _commit_for(self, end: socket.socket) -> None:
        try:
            commit_for(end, self._ledger.commit, on_commit=self._on_commit)
        except BaseException:
            self.has_lost_a_thread = True
            logger.exception("a thread that commits has died")
