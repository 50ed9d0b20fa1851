"""A raw connection to the server under test: for what no well-behaved client would send."""

import json
import select
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Answer:
    """One answer as it came over the wire; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - JSON has no type
        """The body as JSON."""
        return json.loads(self.body)


class Wire:
    """A connection that sends any bytes, and reads answers one by one."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def send(self, *pieces: bytes) -> Self:
        """Sends each piece as it stands."""
        for piece in pieces:
            self._socket.sendall(piece)
        return self

    def send_until_refused(self, pieces: Iterable[bytes]) -> int:
        """Sends until the other side takes no more; how many bytes it took."""
        taken = 0
        for piece in pieces:
            try:
                self._socket.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                break
            taken += len(piece)
        return taken

    def end(self) -> Self:
        """Says that nothing more is coming, and goes on listening."""
        self._socket.shutdown(socket.SHUT_WR)
        return self

    def close(self) -> None:
        """Goes away."""
        self._socket.close()

    def answer(self) -> Answer:
        """The next answer."""
        head = self.head().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
        length = int(headers.get("content-length", "0"))
        while len(self._read) < length:
            self._read += self._more()
        body, self._read = self._read[:length], self._read[length:]
        return Answer(int(head[0].split(" ")[1]), headers, body)

    def is_answered(self) -> bool:
        """Whether something has come that was not read yet."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def is_closed(self) -> bool:
        """Whether the other side closed the connection, after whatever it still had to say. Waits for it."""
        try:
            while self._socket.recv(65_536):
                pass
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        return True

    def head(self) -> str:
        """The status line and the headers of the next answer, with the empty line after them."""
        return self.line(b"\r\n\r\n").decode("latin-1")

    def line(self, end: bytes = b"\n") -> bytes:
        """What comes next, up to and with its end."""
        while end not in self._read:
            self._read += self._more()
        found, _, self._read = self._read.partition(end)
        return found + end

    def _more(self) -> bytes:
        more = self._socket.recv(65_536)
        if not more:
            raise ConnectionResetError(f"the server closed the connection after {self._read!r}")
        return more


def request(method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> bytes:
    """A request to the letter; a body brings its Content-Length unless the headers say otherwise."""
    said = {"Host": "127.0.0.1"} | ({} if body is None else {"Content-Length": str(len(body))}) | dict(headers or {})
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items()), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + (body or b"")
