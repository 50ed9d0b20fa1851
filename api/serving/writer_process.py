"""The process that commits for `ledger serve`: what comes through the channels is durable before it is answered.

Nothing else is done there, so that whoever waits for a commit waits for nobody else.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from api.serving.bell import Bell
from api.serving.interpreter import rare_collections, short_turns
from api.serving.worker_process import READY, Told, WorkerProcess
from api.serving.writing import Writing
from ledger.errors import StoreUnavailable
from ledger.ledger import Ledger

ENDS_AT_ONCE = 128
"""Linux passes up to 253 descriptors in one message."""

TELL_EVERY_S = 0.5


class WriterProcess(WorkerProcess):
    """The server's hold on it."""

    def __init__(self, database_url: str, bell: Bell) -> None:
        super().__init__("commits", partial(_write, database_url, bell))

    def begin(self, ends: Sequence[socket.socket]) -> None:
        """Lets it commit for these channels, on a ledger that exists by now."""
        with suppress(ConnectionError):
            for first in range(0, len(ends), ENDS_AT_ONCE):
                some = ends[first : first + ENDS_AT_ONCE]
                socket.send_fds(self.control, [len(ends).to_bytes(2, "big")], [end.fileno() for end in some])
        for end in ends:
            end.close()


def _write(database_url: str, bell: Bell, control: socket.socket, told: Told) -> None:
    bell.only_ring()
    ends = _ends_from(control)
    if not ends:
        return
    with Ledger.open_existing(database_url) as ledger, rare_collections(), short_turns():
        writing = Writing(ledger, ends, bell.ring)
        control.sendall(READY)
        while writing.goes_on(TELL_EVERY_S):
            damage = ledger.database.damage
            told.tell(None, [damage.told] if damage and damage.told else [])
        if writing.has_lost_a_thread:
            raise StoreUnavailable(
                "a thread that commits has died, and nothing of its partitions would be committed any more"
            )


def _ends_from(control: socket.socket) -> list[socket.socket]:
    """The channels; none where the server ended before it could begin."""
    ends: list[socket.socket] = []
    while True:
        told, descriptors, _, _ = socket.recv_fds(control, 2, ENDS_AT_ONCE)
        ends += [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if not told or len(ends) == int.from_bytes(told, "big"):
            return ends
