"""A way to PostgreSQL that breaks where it hurts: at a COMMIT, before or after the server has seen it.

Real sockets, so that the driver meets what it would meet: the connection is gone, and the outcome is not known.
"""

import socket
import threading
from enum import Enum
from typing import Self

from sqlalchemy import make_url

CHUNK_BYTES = 65_536


class Sever(Enum):
    """Where the next COMMIT is cut off."""

    BEFORE_COMMIT = "the server never sees it"
    AFTER_COMMIT = "the server commits, and its answer is lost"


class SeveringProxy:
    """Passes bytes between a client and the server of a URL, until it is told to sever."""

    def __init__(self, url: str) -> None:
        self._server = make_url(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.plan: list[Sever] = []
        self.severed: list[Sever] = []
        self.rewritten = (b"", b"")
        """What the client says, and what the server is told instead."""
        port: int = self._listener.getsockname()[1]
        # Without TLS, so that the proxy can see a COMMIT go by.
        through = self._server.set(host="127.0.0.1", port=port).update_query_dict({"sslmode": "disable"})
        self.url = through.render_as_string(hide_password=False)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((self._server.host or "127.0.0.1", self._server.port or 5432))
            threading.Thread(target=self._pump_to_server, args=(client, server), daemon=True).start()

    def _pump_to_server(self, client: socket.socket, server: socket.socket) -> None:
        answering = threading.Thread(target=pump, args=(server, client), daemon=True)
        answering.start()
        with client, server:
            while asked := received(client):
                if b"COMMIT" in asked and self.plan:
                    self._sever(client, server, asked)
                    return
                server.sendall(asked.replace(*self.rewritten) if self.rewritten[0] else asked)
            hang_up(server)
            answering.join()

    def _sever(self, client: socket.socket, server: socket.socket, asked: bytes) -> None:
        where = self.plan.pop(0)
        if where is Sever.AFTER_COMMIT:
            # The client hears nothing more, and the server ends the session only after it has committed.
            hang_up(client)
            server.sendall(asked + TERMINATE)
            self._wait_for_the_end(server)
        # Not only closed: another thread waits for the server's words, and would hold the connection open.
        hang_up(server)
        self.severed.append(where)

    def _wait_for_the_end(self, server: socket.socket) -> None:
        while received(server):
            pass


TERMINATE = b"X\0\0\0\4"
"""The message with which a client of PostgreSQL ends its session."""


def pump(source: socket.socket, target: socket.socket) -> None:
    while said := received(source):
        try:
            target.sendall(said)
        except OSError:
            return
    hang_up(target)


def received(source: socket.socket) -> bytes:
    """The next bytes, or none where the connection is over in whatever way."""
    try:
        return source.recv(CHUNK_BYTES)
    except OSError:
        return b""


def hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
