"""The server as a program of its own: for signals, limits of the system, and a way down and up again."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx2

from tests.api.running import KEYS, SECRETS, START_S, key_of
from tests.api.wire import Wire

ROOT = Path(__file__).parents[2]
SERVE = (sys.executable, "-m", "api.command_line", "serve")


@dataclass
class Program:
    """A running `ledger serve`; `log` grows with each line that it writes to stderr."""

    process: "subprocess.Popen[str]"
    port: int
    log: list[str] = field(repr=False)

    @property
    def http(self) -> httpx2.Client:
        """A client with the keys of an operator."""
        headers = {"Authorization": f"Bearer {key_of('admin')}"}
        return httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=30, trust_env=False)

    def wire(self) -> Wire:
        """A raw connection."""
        return Wire(self.port)

    def terminate(self) -> None:
        """Asks it to end."""
        self.process.send_signal(signal.SIGTERM)

    def exit_status(self) -> int:
        """How it ended; waits for it."""
        return self.process.wait(START_S)


def environment(database_url: str) -> dict[str, str]:
    """Settings with the secrets and keys of the tests."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("LEDGER_", "OTEL_"))},
        "PYTHONPATH": str(ROOT),
        "LEDGER_DATABASE_URL": database_url,
        "LEDGER_HOST": "127.0.0.1",
        "LEDGER_PORT": "0",
        "LEDGER_LOG_FORMAT": "json",
        "LEDGER_WEBHOOK_SECRETS": ",".join(f"{name}:{key.decode()}" for name, key in SECRETS.items()),
        "LEDGER_API_KEYS": ",".join(f"{name}:{'+'.join(scopes)}:{key_of(name)}" for name, scopes in KEYS.items()),
    }


@contextmanager
def program(database_url: str, command: Sequence[str] = SERVE, **settings: str) -> Iterator[Program]:
    """`ledger serve` for the length of a `with`; killed where it still runs at the end."""
    log: list[str] = []
    with subprocess.Popen(
        command,
        env=environment(database_url) | settings,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        reading = threading.Thread(target=log.extend, args=(process.stderr,))
        try:
            port = _port(process.stderr, log)
            reading.start()
            yield Program(process, port, log)
        finally:
            process.kill()
            process.wait()
            if reading.ident is not None:
                reading.join()


def _port(lines: IO[str], log: list[str]) -> int:
    """Reads until it says where it listens."""
    for line in lines:
        log.append(line)
        found = re.search(r":([0-9]+)$", json.loads(line).get("url", "")) if line.startswith("{") else None
        if found:
            return int(found[1])
    raise AssertionError(f"the server did not start: {''.join(log)}")
