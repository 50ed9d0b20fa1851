"""The real server on a real socket, in a thread of the test, and a client that signs as Red Cloud does."""

import asyncio
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from api.access import ApiKey, Scope, sha256_of
from api.service import ASKING_AT_ONCE_MAX, Service
from api.serving.server import listening, run_server, server_of, url_of
from api.settings import Settings
from ledger.signatures import Secret
from tests.api.wire import Wire
from tests.new_ledgers import new_ledger

if TYPE_CHECKING:  # importing it imports OpenTelemetry
    from api.traces import Traces

MAIN = "main"
SECRETS = {MAIN: b"secret_of_the_tests", "old": b"the_old_secret"}
KEYS = {
    "reader": frozenset({Scope.READ}),
    "masked": frozenset({Scope.MASKED}),
    "writer": frozenset({Scope.WRITE}),
    "admin": frozenset({Scope.ADMIN}),
}
WEBHOOKS = "/webhooks/red-cloud"
START_S = 30.0


def key_of(name: str) -> str:
    """The text of a key of KEYS."""
    return f"prefix_{name}_0123456789abcdef"


def settings_at(place: str | Path, **changes: Any) -> Settings:  # noqa: ANN401 - any setting
    """Settings with the secrets and keys of the tests, on a database URL or in a folder."""
    chosen: dict[str, Any] = {
        "database_url": f"sqlite:///{place / 'ledger.db'}" if isinstance(place, Path) else place,
        "secrets": tuple(Secret(name, key) for name, key in SECRETS.items()),
        "api_keys": tuple(ApiKey(name, scopes, sha256_of(key_of(name))) for name, scopes in KEYS.items()),
    }
    return Settings(**(chosen | changes))


def signed(body: bytes, *, secret: str = MAIN, timestamp: str | None = None) -> dict[str, str]:
    """The two headers with which Red Cloud signs a body, now unless a timestamp is given."""
    moment = str(int(time.time())) if timestamp is None else timestamp
    digest = hmac.digest(SECRETS[secret], moment.encode() + b"." + body, "sha256").hex()
    return {"X-RedCloud-Timestamp": moment, "X-RedCloud-Signature": digest}


def until(condition: Callable[[], bool], *, at_most_s: float = 15.0) -> None:
    """Waits for a condition that something else makes true."""
    deadline_s = time.monotonic() + at_most_s
    while not condition():
        assert time.monotonic() < deadline_s, "the condition did not come true"
        threading.Event().wait(0.005)


def client(url: str, **headers: str) -> httpx2.Client:
    """A client of a server on this machine. It reads no certificates, which would take longer than the server's start."""
    return httpx2.Client(base_url=url, headers=headers, timeout=30, verify=False, trust_env=False)


@dataclass(frozen=True)
class Running:
    """A server that runs, by its port; `http` has no key of its own."""

    service: Service
    port: int
    http: httpx2.Client

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, key: str | None = "reader", **headers: str) -> httpx2.Response:
        """An answer to a reader (or to the holder of another key)."""
        return self.ask("GET", path, key, headers)

    def post(self, path: str, content: bytes = b"", key: str | None = "writer") -> httpx2.Response:
        """An answer to the user's own application."""
        return self.ask("POST", path, key, {}, content)

    def ask(
        self, method: str, path: str, key: str | None, headers: Mapping[str, str], content: bytes = b""
    ) -> httpx2.Response:
        """Any request with a key."""
        bearer = {} if key is None else {"Authorization": f"Bearer {key_of(key)}"}
        return self.http.request(method, path, headers=bearer | dict(headers), content=content)

    def deliver(self, body: bytes, **signing: str) -> httpx2.Response:
        """What Red Cloud is answered when it delivers a body."""
        return self.http.post(WEBHOOKS, content=body, headers=signed(body, **signing))

    def wire(self) -> Wire:
        """A raw connection."""
        return Wire(self.port)

    def stored(self) -> list[dict[str, Any]]:
        """Every event of the ledger, as the feed shows it."""
        events: list[dict[str, Any]] = []
        after = ""
        while page := self.get(f"/feed?limit=1000&after={after}").json():
            events += page["events"]
            after = page["next"]
            if not page["events"]:
                return events
        raise AssertionError(page)


@contextmanager
def busy(server: Running) -> Iterator[None]:
    """Lets all threads that answer questions be busy with some that take as long as the block."""
    all_asked, answered = threading.Barrier(ASKING_AT_ONCE_MAX + 1), threading.Event()

    def take_long() -> None:
        all_asked.wait()
        answered.wait()

    async def question() -> None:
        await asyncio.to_thread(take_long)

    loop = server.service._loop  # noqa: SLF001 - nobody outside can ask what takes as long as one likes
    questions = [asyncio.run_coroutine_threadsafe(question(), loop) for _ in range(ASKING_AT_ONCE_MAX)]
    try:
        all_asked.wait(START_S)
        yield
    finally:
        answered.set()
        for each in questions:
            each.result()


@contextmanager
def running(settings: Settings, traces: "Traces | None" = None) -> Iterator[Running]:
    """A server for the length of a `with`; it ends as on SIGTERM."""
    new_ledger(settings.database_url, settings.partitions)
    service = Service.open(settings, traces)
    listener = listening("127.0.0.1", 0)
    is_ready = threading.Event()
    server = server_of(service, is_ready.set)
    thread = threading.Thread(target=run_server, args=(server, listener), name="the server under test")
    port = int(url_of(listener).rpartition(":")[2])
    thread.start()
    try:
        assert is_ready.wait(START_S), "the server did not start"
        with client(url_of(listener)) as http:
            yield Running(service, port, http)
    finally:
        server.should_exit = True
        thread.join(START_S)
        assert not thread.is_alive(), "the server did not end"


def as_json(value: object) -> bytes:
    """A JSON body."""
    return json.dumps(value).encode()
