"""Who commits and projects: threads of this process, or those of a process of its own (`api/writer_process.py`)."""

import socket
from collections.abc import Sequence
from threading import Thread

from ledger.commit_channel import ITEMS, commit_for
from ledger.ledger import Ledger
from projections.read_models import ReadModels


def pairs(count: int) -> tuple[list[socket.socket], list[socket.socket]]:
    """Both ends of so many channels: those of the event loop, and those of who commits."""
    made = [socket.socketpair() for _ in range(count)]
    return [ours for ours, _ in made], [theirs for _, theirs in made]


def start_writing(ledger: Ledger, read_models: ReadModels, ends: Sequence[socket.socket]) -> list[Thread]:
    """Commits what comes through each channel, until its other end is closed: a thread each; and starts the projections."""
    threads = [
        Thread(
            target=commit_for,
            args=(end, ITEMS, ledger.commit),
            kwargs={"on_commit": read_models.wake, "on_idle": ledger.database.tidy},
            name="ledger-writer",
            daemon=True,
        )
        for end in ends
    ]
    for thread in threads:
        thread.start()
    read_models.start()
    return threads
