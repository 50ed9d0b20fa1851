"""A provider that keeps a journal: many connections deliver at once, and every 2xx is noted in the client's own memory.

What was not answered is delivered again later, as Red Cloud would. Any answer that the contract does not have is noted too.
"""

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import msgspec

from api.simulator.signing import signed_headers
from tests.faults.places import SECRET

CONNECTIONS = 32
ANSWER_WITHIN_S = 30.0
SHARE_DUPLICATES = 0.1
KINDS = (("message.queued", 1), ("message.sent", 2), ("message.delivery", 3), ("message.inbound", None))
CONVERSATIONS = 50
OK, REFUSED = range(200, 300), 503


class _Answer(msgspec.Struct):
    outcome: str
    messageId: str = ""  # noqa: N815 - the provider's own spelling
    position: str = ""


_decode = msgspec.json.Decoder(_Answer).decode


@dataclass
class Journal:
    """What the client knows.

    `acknowledged`: position → body of every 2xx; `unanswered`: bodies that were refused, or whose outcome it never learned;
    `cut_off`: how many deliveries were not answered at all.
    """

    acknowledged: dict[str, bytes] = field(default_factory=dict)
    unanswered: "deque[bytes]" = field(default_factory=deque)
    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    cut_off: int = 0

    def answered(self, status: int, content: bytes, body: bytes) -> None:
        """Notes an answer."""
        self.answers[status] += 1
        if status not in OK:
            self.unanswered.append(body)
            if status != REFUSED:
                self.wrong.append(f"answered {status}: {content[:200]!r}")
            return
        answer = _decode(content)
        if self.acknowledged.setdefault(answer.position, body) != body:
            self.wrong.append(f"position {answer.position} was acknowledged for two facts")


@dataclass
class Traffic:
    """Bodies to deliver: new facts of messages of its own, some delivered twice, and first what was never answered."""

    name: str
    dice: Random
    journal: Journal
    _made: int = 0
    _recent: "deque[bytes]" = field(default_factory=lambda: deque(maxlen=256))

    def next(self) -> bytes:
        """The next body."""
        if self.journal.unanswered:
            return self.journal.unanswered.popleft()
        if self._recent and self.dice.random() < SHARE_DUPLICATES:
            return self.dice.choice(self._recent)
        body = self._new()
        self._recent.append(body)
        return body

    def _new(self) -> bytes:
        """Three facts of an outbound message, and then a message from a customer."""
        message, step = divmod(self._made, len(KINDS))
        self._made += 1
        kind, sequence = KINDS[step]
        said = {"eventType": kind, "messageId": f"msg_{self.name}_{message}", "sequence": sequence, "text": "ü" * 20}
        if sequence is None:
            parties = {"conversationId": f"conv_{message % CONVERSATIONS}", "from": f"+1555200{message % 100:04d}"}
            said = {"eventType": kind, "messageId": f"in_{self.name}_{message}", **parties, "body": "Ja"}
        return json.dumps(said).encode()


async def deliver_all(port: int, bodies: list[bytes], journal: Journal, *, connections: int = CONNECTIONS) -> None:
    """Delivers each body once."""
    await _together(port, journal, iter(bodies), connections)


async def deliver(port: int, traffic: Traffic, until: asyncio.Event, *, connections: int = CONNECTIONS) -> None:
    """Delivers until it is told to end, or until no connection can be had any more."""

    def endless() -> Iterator[bytes]:
        while not until.is_set():
            yield traffic.next()

    await _together(port, traffic.journal, endless(), connections)


async def _together(port: int, journal: Journal, bodies: Iterator[bytes], connections: int) -> None:
    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(_one_connection(port, journal, bodies))


async def _one_connection(port: int, journal: Journal, bodies: Iterator[bytes]) -> None:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return
    try:
        for body in bodies:
            if not await _exchange(reader, writer, journal, body):
                return
    finally:
        writer.close()


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, journal: Journal, body: bytes) -> bool:
    """One delivery on a connection; False where the connection is of no more use."""
    try:
        writer.write(request_of(body))
        async with asyncio.timeout(ANSWER_WITHIN_S):
            head = await reader.readuntil(b"\r\n\r\n")
            content = await reader.readexactly(_length(head))
    except (OSError, EOFError, TimeoutError):
        journal.cut_off += 1
        journal.unanswered.append(body)
        return False
    journal.answered(int(head[9:12]), content, body)
    return b"connection: close" not in head.lower()


def request_of(body: bytes) -> bytes:
    """A signed delivery as it goes over the wire."""
    headers = b"".join(
        name + b": " + value + b"\r\n" for name, value in signed_headers(SECRET, str(int(time.time())), body)
    )
    return (
        b"POST /webhooks/red-cloud HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n%s\r\n" % (len(body), headers)
    ) + body


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0] or 0)
