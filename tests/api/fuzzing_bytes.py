"""Bytes made up for everything that a request has: path, each query parameter, headers and body, over raw connections.

`fuzzing.py` asks what the description knows; this asks what it does not. A seed gives the same requests again.
"""

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from urllib.parse import quote_from_bytes

from api.http.described import Parameter
from api.http.openapi import AnyRoute
from api.http.routes import ROUTES, WEBHOOK
from api.http.routing import Signed
from tests.api.fuzzing import KNOWN, stock
from tests.api.running import KEYS, SECRETS, Running, key_of, signed
from tests.api.wire import Answer, Wire
from tests.surrogates import HALF

ROUTES_ASKED: tuple[AnyRoute, ...] = (*ROUTES, WEBHOOK)
ENDLESS = "/feed/stream"
PROBLEM = "application/problem+json"
NOT_HEALTHY = frozenset(range(500, 600)) - {503, 504}
SHARE_ODD = 0.3
SHARE_OF_PARAMETERS = 0.5
BYTES_MAX = 40
ODD: tuple[bytes, ...] = (
    b"",
    b"0",
    b"1",
    b"-1",
    b"1e9",
    b"9" * 400,
    "１７".encode(),
    b"\0",
    b"%00",
    b"\xed\xa0\x80",
    b"\xff\xfe",
    b"../../etc/passwd",
    b"' OR 1=1--",
    b"NaN",
    b"null",
    b"0-1",
    b"0-99999999999999999999",
    b"9999-1",
    b"0001-01-01T00:00:00Z",
    b"9999-12-31T23:59:59.999999999+23:59",
    b"2024-11-23T16:00:00 01:00",
    b"message-status",
    b"a" * 10_000,
    "\u202e😀".encode(),
)

VALUES: tuple[object, ...] = (
    None,
    True,
    0,
    -1,
    2**63,
    1e308,
    "",
    "message.sent",
    "\0",
    HALF,
    [],
    {},
    [[]],
    "x" * 600,
)


def fuzz_bytes(server: Running, requests: int, seed: object) -> tuple[Counter[int], list[str]]:
    """So many requests; how often which status came, and what was wrong with an answer."""
    stock(server)
    server.service.wait_for_s_max = 0.01
    fuzz = _Fuzz(server, Random(str(seed)))
    for _ in range(requests):
        fuzz.ask()
    fuzz.end()
    return fuzz.answers, fuzz.wrong


@dataclass
class _Fuzz:
    server: Running
    dice: Random
    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _wire: Wire | None = None

    def ask(self) -> None:
        """One request; on the connection of the one before, where that was left open."""
        route = self.dice.choice(ROUTES_ASKED)
        request = self._request(route)
        try:
            self._wire = self._wire or self.server.wire()
            answer = self._answer(route, request, self._wire)
        except OSError as error:
            self.wrong.append(f"{request[:300]!r} was not answered: {error}")
            self.end()
            return
        self.answers[answer.status] += 1
        if (problem := _wrong_with(answer)) is not None:
            self.wrong.append(f"{request[:300]!r} was answered {answer.status}: {problem}")
        if answer.status == 400 or route.path == ENDLESS or "close" in answer.headers.get("connection", ""):
            self.end()  # what is not HTTP at all ends a connection

    def end(self) -> None:
        """Goes away."""
        if self._wire is not None:
            self._wire.close()
        self._wire = None

    def _answer(self, route: AnyRoute, request: bytes, wire: Wire) -> Answer:
        wire.send(request)
        if route.path != ENDLESS:
            return wire.answer()
        status = int(wire.head().split(" ")[1])
        return Answer(status, {"content-type": PROBLEM}, b'{"status": %d}' % status)

    def _request(self, route: AnyRoute) -> bytes:
        body = self._body(route) if route.method == "POST" else b""
        headers = {"Host": "a", "Content-Length": str(len(body))} | self._headers(route, body)
        lines = [
            f"{route.method} {self._target(route)} HTTP/1.1",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def _target(self, route: AnyRoute) -> str:
        parts = [self._part(part) if part.startswith("{") else part for part in route.path.split("/")]
        pairs = [f"{name}={self._quoted()}" for name in self._names(route)]
        return "/".join(parts) + ("?" + "&".join(pairs) if pairs else "")

    def _part(self, part: str) -> str:
        name = part.strip("{}")
        return KNOWN[name] if self.dice.random() < SHARE_OF_PARAMETERS else self._quoted() or "%20"

    def _names(self, route: AnyRoute) -> list[str]:
        known = [each.name for each in _queried(route) if self.dice.random() < SHARE_OF_PARAMETERS]
        if known and self.dice.random() < SHARE_ODD / 4:
            known.append(self.dice.choice(known))
        return [*known, self._quoted()] if self.dice.random() < SHARE_ODD / 10 else known

    def _headers(self, route: AnyRoute, body: bytes) -> dict[str, str]:
        headers = {each.name: self._header() for each in route.description.parameters if each.place == "header"}
        if not isinstance(route, Signed):
            key = f"Bearer {key_of(self.dice.choice(['admin'] * 8 + list(KEYS)))}"
            return headers | {"Authorization": self._header() if self.dice.random() < SHARE_ODD / 10 else key}
        good = signed(body, secret=self.dice.choice(list(SECRETS)), timestamp=str(int(time.time())))
        spoiled = {name: self._header() for name in good if self.dice.random() < SHARE_ODD / 2}
        return good | spoiled

    def _body(self, route: AnyRoute) -> bytes:
        if self.dice.random() < SHARE_ODD:
            return self._bytes()
        said = {name: self._value() for name in _members(route) if self.dice.random() < 0.8}
        written = json.dumps(said).encode()
        if self.dice.random() < SHARE_ODD:
            at = self.dice.randrange(len(written))
            written = written[:at] + self._bytes() + written[at + self.dice.randrange(3) :]
        return written

    def _value(self) -> object:
        if self.dice.random() < SHARE_ODD:
            return self.dice.choice(VALUES)
        results = [{"to": HALF, "messageId": f"msg_{self.dice.randrange(50)}", "status": "QUEUED"}]
        return self.dice.choice(
            [
                "message.sent",
                f"msg_{self.dice.randrange(50)}",
                self.dice.randrange(5),
                {"results": results, "errors": [HALF], HALF: HALF},
            ]
        )

    def _bytes(self) -> bytes:
        if self.dice.random() < SHARE_ODD:
            return self.dice.choice(ODD)
        return self.dice.randbytes(self.dice.randrange(BYTES_MAX))

    def _quoted(self) -> str:
        return quote_from_bytes(self._bytes(), safe="")

    def _header(self) -> str:
        return "".join(each for each in self._bytes().decode("latin-1") if each.isprintable()).strip()


def _queried(route: AnyRoute) -> list[Parameter]:
    return [each for each in route.description.parameters if each.place == "query"]


def _members(route: AnyRoute) -> tuple[str, ...]:
    if isinstance(route, Signed):
        return (
            "eventType",
            "messageId",
            "sequence",
            "externalReference",
            "conversationId",
            "from",
            "body",
            "occurredAt",
        )
    return ("idempotencyKey", "request", "response")


def _wrong_with(answer: Answer) -> str | None:
    if answer.status in NOT_HEALTHY:
        return f"a failure of ours: {answer.body[:300]!r}"
    if answer.status < 400 or b"reasons" in answer.body:
        return None
    is_problem = answer.headers.get("content-type") == PROBLEM and answer.json()["status"] == answer.status
    return None if is_problem else f"no problem of that status: {answer.body[:300]!r}"
