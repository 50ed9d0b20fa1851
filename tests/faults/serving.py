"""Real `ledger serve` processes: started, found, killed."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults.places import SECRET, SECRET_ID

ROOT = Path(__file__).parent.parent.parent
LISTENING_WITHIN_S = 60.0
ENDS_WITHIN_S = 30.0

_LISTENING = re.compile(r'"url": "http://127\.0\.0\.1:(\d+)".*"listening"')


class DidNotStart(Exception):
    """The server did not listen in time; the message is its log."""


@dataclass(frozen=True)
class Serving:
    """A server process and the port that it listens on. With strace in front, `process` is strace."""

    process: "subprocess.Popen[bytes]"
    log: Path
    port: int

    def kill(self) -> None:
        """SIGKILL, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(ENDS_WITHIN_S)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(ENDS_WITHIN_S)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None


def environment(url: str, **settings: str) -> dict[str, str]:
    """The environment of a command of ours on a database."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEDGER_")}
    secrets = f"{SECRET_ID}:{SECRET.decode()}"
    ours = {"LEDGER_DATABASE_URL": url, "LEDGER_WEBHOOK_SECRETS": secrets, "LEDGER_PORT": "0"}
    return {**kept, "PYTHONPATH": str(ROOT), **ours, **settings}


def spawn(url: str, log: Path, *, within: Sequence[str] = (), **settings: str) -> "subprocess.Popen[bytes]":
    """Starts `ledger serve` in a process group of its own; `within` is what stands before it on the command line."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [*within, sys.executable, "-m", "api.command_line", "serve"],
            env=environment(url, **settings),
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )


def serve(url: str, log: Path, *, within: Sequence[str] = (), **settings: str) -> Serving:
    """A server that listens. DidNotStart where it does not."""
    process = spawn(url, log, within=within, **settings)
    return Serving(process, log, _port_in(log, process))


def _port_in(log: Path, process: "subprocess.Popen[bytes]") -> int:
    deadline_s = time.monotonic() + LISTENING_WITHIN_S
    while time.monotonic() < deadline_s and process.poll() is None:
        if found := _LISTENING.search(log.read_text()):
            return int(found[1])
        time.sleep(0.01)
    process.kill()
    raise DidNotStart(log.read_text()[-2_000:])
