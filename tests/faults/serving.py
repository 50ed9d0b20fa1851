"""Real `ledger serve` processes: started, found, killed.

Python takes most of a second to import the program, longer than the load lasts that a server is killed under. So one
process imports it once, and every server is a fork of that one; from there on it is `ledger serve` like any other.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults.places import SECRET, SECRET_ID

ROOT = Path(__file__).parent.parent.parent
LISTENING_WITHIN_S = 60.0
ENDS_WITHIN_S = 30.0
LOOK_EVERY_S = 0.005

_LISTENING = re.compile(r'"url": "http://127\.0\.0\.1:(\d+)".*"listening"')
_STATUS = re.compile(r"^ledger: exit (\d+)$", re.MULTILINE)


class DidNotStart(Exception):
    """The server did not listen in time; the message is its log."""


class DidNotEnd(Exception):
    """The server did not end in time; the message is its log."""


@dataclass(frozen=True)
class Serving:
    """A server process and the port that it listens on."""

    pid: int
    log: Path
    port: int

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return _exists(self.pid)

    def kill(self) -> None:
        """SIGKILL, at once; returns when it is gone."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._wait()

    def stop(self) -> int | None:
        """SIGTERM; the exit status, or None where it was killed."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        self._wait()
        status = _STATUS.search(self.log.read_text())
        return int(status[1]) if status else None

    def _wait(self) -> None:
        deadline_s = time.monotonic() + ENDS_WITHIN_S
        while self.is_running:
            if time.monotonic() > deadline_s:
                raise DidNotEnd(self.log.read_text()[-2_000:])
            time.sleep(LOOK_EVERY_S)


class Nursery:
    """The process that all servers are forks of."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def serve(self, url: str, log: Path, **settings: str) -> Serving:
        """A server that listens. DidNotStart where it does not."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        log.unlink(missing_ok=True)
        self._process.stdin.write(json.dumps({"environment": environment(url, **settings), "log": str(log)}) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        return Serving(pid, log, _port_in(log, pid))


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A nursery until the end of the block. Its servers are ended by whoever started them."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.nursery"],
        env=environment(""),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Nursery(process)
    finally:
        process.communicate()


def environment(url: str, **settings: str) -> dict[str, str]:
    """The environment of a command of ours on a database."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEDGER_")}
    secrets = f"{SECRET_ID}:{SECRET.decode()}"
    ours = {"LEDGER_DATABASE_URL": url, "LEDGER_WEBHOOK_SECRETS": secrets, "LEDGER_PORT": "0"}
    return {**kept, "PYTHONPATH": str(ROOT), **ours, **settings}


def _port_in(log: Path, pid: int) -> int:
    deadline_s = time.monotonic() + LISTENING_WITHIN_S
    while time.monotonic() < deadline_s:
        said = log.read_text() if log.exists() else ""
        if found := _LISTENING.search(said):
            return int(found[1])
        if not _exists(pid):
            break
        time.sleep(LOOK_EVERY_S)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    raise DidNotStart(log.read_text()[-2_000:] if log.exists() else "no log")


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
