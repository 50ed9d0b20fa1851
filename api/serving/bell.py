"""How who projects learns at once of a commit in another process."""

import socket
from contextlib import suppress


class Bell:
    """Tells one process from another that there was a commit. Made before either is forked."""

    def __init__(self) -> None:
        self._heard, self._rung = socket.socketpair()
        self._rung.setblocking(False)  # noqa: FBT003 - the socket names no parameter

    def ring(self) -> None:
        """Never waits: where it was rung often and is not heard, once more makes no difference. Whoever hears it may be dead."""
        with suppress(BlockingIOError, ConnectionError):
            self._rung.send(b"!")

    def hear(self) -> bool:
        """Waits until it was rung; False once nobody can ring it any more."""
        return bool(self._heard.recv(4_096))

    def only_hear(self) -> None:
        """This process is not the one that rings."""
        self._rung.close()

    def only_ring(self) -> None:
        """This process is not the one that hears."""
        self._heard.close()

    def close(self) -> None:
        """This process neither rings nor hears."""
        self.only_hear()
        self.only_ring()
