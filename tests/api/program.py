"""The server as a program of its own: for signals, limits of the system, and a way down and up again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests import forks
from tests.api.running import KEYS, SECRETS, client, key_of
from tests.api.wire import Wire
from tests.serving import Serving, serving


@dataclass(frozen=True)
class Program(Serving):
    """A running `ledger serve`, and who speaks to it."""

    @property
    def http(self) -> httpx2.Client:
        """A client with the keys of an operator."""
        return client(self.url, Authorization=f"Bearer {key_of('admin')}")

    def wire(self) -> Wire:
        """A raw connection."""
        return Wire(self.port)


def environment(database_url: str) -> dict[str, str]:
    """Settings with the secrets and keys of the tests."""
    return forks.environment(
        LEDGER_DATABASE_URL=database_url,
        LEDGER_HOST="127.0.0.1",
        LEDGER_PORT="0",
        LEDGER_LOG_FORMAT="json",
        LEDGER_WEBHOOK_SECRETS=",".join(f"{name}:{key.decode()}" for name, key in SECRETS.items()),
        LEDGER_API_KEYS=",".join(f"{name}:{'+'.join(scopes)}:{key_of(name)}" for name, scopes in KEYS.items()),
    )


@contextmanager
def program(database_url: str, log: Path, called: str = forks.LEDGER, **settings: str | None) -> Iterator[Program]:
    """`ledger serve` for the length of a `with`; killed where it still runs at the end. None takes a setting away."""
    given = environment(database_url) | settings
    environ = {name: value for name, value in given.items() if value is not None}
    with serving(log, environ, program=called) as server:
        yield Program(server.process, server.log, server.port)
