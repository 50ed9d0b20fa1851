"""`ledger serve` as a process: it is there once it listens, and can be stopped, killed and looked at from outside."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import forks

LISTENING_WITHIN_S = 60.0
ENDS_WITHIN_S = 30.0
LOOK_EVERY_S = 0.005

_LISTENING = re.compile(r'"url": "(http://127\.0\.0\.1:\d+)".*"listening"')


class DidNotStart(Exception):
    """The server did not listen in time; the message is its log."""


@dataclass(frozen=True)
class Serving:
    """A server that listens. `log` is the file of what it writes to stderr."""

    process: forks.Fork
    log: Path
    port: int

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def writer_pid(self) -> int:
        """The id of the process that commits for it."""
        return self._workers[0]

    @property
    def projector_pid(self) -> int:
        """The id of the process that projects for it."""
        return self._workers[1]

    @property
    def _workers(self) -> list[int]:
        """In the order in which they were begun."""
        writer, projector = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(writer), int(projector)]

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    @property
    def said(self) -> list[str]:
        """The lines of its log so far."""
        return self.log.read_text().splitlines()

    def kill(self) -> None:
        """SIGKILL, at once; returns when it is gone."""
        self.process.close()

    def terminate(self) -> None:
        """SIGTERM, without waiting for what becomes of it."""
        self.process.terminate()

    def stop(self) -> int:
        """SIGTERM; its exit status, once it has ended."""
        self.terminate()
        status = self.process.wait(ENDS_WITHIN_S)
        self.process.close()
        return status


def serve(
    log: Path, environment: Mapping[str, str], *, folder: Path = forks.ROOT, program: str = forks.LEDGER
) -> Serving:
    """A server that listens, until somebody ends it. DidNotStart where it does not."""
    with log.open("wb") as errors:
        process = forks.start("serve", program=program, folder=folder, environment=environment, stderr=errors)
    deadline_s = time.monotonic() + LISTENING_WITHIN_S
    while (url := url_in(log)) is None:
        if process.poll() is not None or time.monotonic() > deadline_s:
            process.close()
            raise DidNotStart(log.read_text()[-2_000:])
        time.sleep(LOOK_EVERY_S)
    return Serving(process, log, int(url.rpartition(":")[2]))


def url_in(log: Path) -> str | None:
    """Where a server listens, once its log says so."""
    found = _LISTENING.search(log.read_text()) if log.exists() else None  # a shell makes it, in its time
    return None if found is None else found[1]


@contextmanager
def serving(
    log: Path, environment: Mapping[str, str], *, folder: Path = forks.ROOT, program: str = forks.LEDGER
) -> Iterator[Serving]:
    """The same for the length of a `with`; killed where it still runs at the end."""
    server = serve(log, environment, folder=folder, program=program)
    with server.process:
        yield server
