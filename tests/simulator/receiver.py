"""A small receiver on a real socket: keeps facts in memory as a ledger would, and misbehaves as a test scripts it."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from urllib.parse import unquote

from ledger.errors import SignatureRefused
from ledger.json_values import canonical
from ledger.signatures import Secret, verify

SECRET = "main:s3cret"
RESET = 0
"""In a script: the connection is reset and the webhook is not kept."""
LOST = 1
"""In a script: the webhook is kept, and the connection is reset before the answer."""

Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, dict[str, object]]


class Receiver:
    """Set `script` to what shall happen to the next webhooks: statuses, RESET or LOST; then all goes well.

    `mishap` may change the facts of a message before a history is answered.
    """

    def __init__(self) -> None:
        self.script: list[int] = []
        self.facts: dict[str, list[dict[str, object]]] = {}
        self.sends: dict[str, bytes] = {}
        self.timestamps: dict[bytes, list[bytes]] = {}
        self.paths: list[str] = []
        self.key: str | None = None
        self.mishap: Callable[[list[dict[str, object]]], Iterable[dict[str, object]]] = list
        self.on_webhook: Callable[[], None] = lambda: None
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def held(self) -> Counter[bytes]:
        return Counter(canonical(body) for bodies in self.facts.values() for body in bodies)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def kill(self) -> None:
        """As kill -9 would: the port is closed and every connection is reset, even in the middle of an answer."""
        assert self._server is not None
        self._server.close()
        for writer in self._connections.values():
            writer.transport.abort()

    async def stop(self) -> None:
        """Ends everything and waits for it."""
        self.kill()
        await asyncio.gather(*self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections[connection] = writer
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            del self._connections[connection]
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")[:-2]
        method, path, _ = first.decode().split(" ")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        body = await reader.readexactly(int(dict(headers).get(b"content-length", b"0")))
        answer = self._answer(method, path, headers, body)
        if answer is None:
            writer.transport.abort()
            return False
        status, members = answer
        content = json.dumps(members).encode()
        writer.write(b"HTTP/1.1 %d Scripted\r\ncontent-length: %d\r\n\r\n" % (status, len(content)) + content)
        await writer.drain()
        return True

    def _answer(self, method: str, path: str, headers: Headers, body: bytes) -> Answer | None:
        self.paths.append(path)
        if path == "/webhooks/red-cloud":
            return self._webhook(headers, body)
        if self.key is not None and (b"authorization", f"Bearer {self.key}".encode()) not in headers:
            return 401, {"title": "no key"}
        return self._send(body) if method == "POST" else self._history(path)

    def _webhook(self, headers: Headers, body: bytes) -> Answer | None:
        self.on_webhook()
        try:
            verify(headers, body, [Secret("main", b"s3cret")], now_us=int(time.time() * 1_000_000))
        except SignatureRefused:
            return 401, {"title": "refused"}
        scripted = self.script.pop(0) if self.script else None
        if scripted not in (None, LOST):
            return None if scripted == RESET else (scripted, {"title": "as scripted"})
        self.timestamps.setdefault(canonical(json.loads(body)), []).append(dict(headers)[b"x-redcloud-timestamp"])
        recorded = self._keep(json.loads(body))
        return None if scripted == LOST else recorded

    def _keep(self, fact: dict[str, object]) -> Answer:
        held = self.facts.setdefault(str(fact["messageId"]), [])
        if any(canonical(fact) == canonical(one) for one in held):
            return 200, {"outcome": "duplicate"}
        held.append(fact)
        return 202, {"outcome": "recorded"}

    def _send(self, body: bytes) -> Answer:
        send = json.loads(body)
        key = send["idempotencyKey"]
        if self.sends.setdefault(key, body) != body:
            return 409, {"title": "another content"}
        for result in send["response"]["results"]:
            accepted = {"idempotencyKey": key, "request": send["request"], "result": result}
            self.facts.setdefault(result["messageId"], []).append(accepted)
        return 202, {"outcome": "recorded"}

    def _history(self, path: str) -> Answer:
        _, messages, message_id, history = path.split("/")
        assert (messages, history) == ("messages", "history")
        bodies = self.facts.get(unquote(message_id))
        if bodies is None:
            return 404, {"title": "unknown"}
        return 200, {
            "messageId": unquote(message_id),
            "events": [
                {"version": version, "eventType": body.get("eventType", "request.accepted"), "body": body}
                for version, body in enumerate(self.mishap(bodies), start=1)
            ],
        }


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a free port of this machine, for as long as the block lasts."""
    receiver = Receiver()
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
