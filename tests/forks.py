"""The program in processes of its own, without the time that it takes to import: forks of `tests/nursery.py`, which has.

    with forks.start("serve", folder=tmp_path, environment=environment, stderr=PIPE) as server:
        server.terminate()
        assert server.wait() == 0

From the fork on it is the program like any other, with an environment, a folder, a session and descriptors of its own. What
must be seen to start from nothing is started by subprocess.
"""

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from subprocess import PIPE, TimeoutExpired
from tempfile import TemporaryFile
from threading import Lock
from typing import IO, Any, NamedTuple, Self

ROOT = Path(__file__).parent.parent
LEDGER = "api.command_line:main"
ENDS_WITHIN_S = 60.0

Given = IO[Any] | int | None
"""A file or its descriptor; PIPE for a new pipe; None for nothing."""

_one_order_at_a_time = Lock()


class Fork:
    """A process, as subprocess.Popen has it; `stdin`, `stdout` and `stderr` are our ends of the pipes that were asked for."""

    def __init__(self, told: IO[bytes], pipes: Mapping[str, IO[bytes]]) -> None:
        self._told = told
        self._pipes = pipes
        self.pid = int(told.readline())
        self.returncode: int | None = None

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe to its standard input."""
        return self._pipes["stdin"]

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe from its standard output."""
        return self._pipes["stdout"]

    @property
    def stderr(self) -> IO[bytes]:
        """The pipe from its standard error."""
        return self._pipes["stderr"]

    def poll(self) -> int | None:
        """The exit status, or minus the number of the signal that ended it; None while it runs."""
        return self._status_within(0)

    def wait(self, timeout: float = ENDS_WITHIN_S) -> int:
        """The same, once it has ended. TimeoutExpired where it does not in so many seconds."""
        status = self._status_within(timeout)
        if status is None:
            raise TimeoutExpired(f"process {self.pid}", timeout)
        return status

    def send_signal(self, number: int) -> None:
        """Sends a signal, where it still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _status_within(self, timeout_s: float) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], timeout_s)[0]:
            self.returncode = int(self._told.readline())
        return self.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves nothing of it: it is killed if it still runs."""
        self.kill()
        self.wait()
        for each in (self._told, *self._pipes.values()):
            each.close()


class Ended(NamedTuple):
    """How a process ended and what it said."""

    returncode: int
    stdout: bytes
    stderr: bytes


def environment(**settings: str) -> dict[str, str]:
    """This environment without what the person who runs the tests has set for ledgers of their own, and with these settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEDGER_", "OTEL_"))}
    return {**kept, "PYTHONPATH": str(ROOT), **settings}


def start(
    *arguments: str,
    program: str = LEDGER,
    folder: Path = ROOT,
    environment: Mapping[str, str],
    stdin: Given = None,
    stdout: Given = None,
    stderr: Given = None,
) -> Fork:
    """A process that calls `module:function`, with these arguments in `sys.argv`."""
    order = {"program": program, "arguments": arguments, "folder": str(folder), "environment": dict(environment)}
    content = json.dumps(order).encode()
    pipes: dict[str, IO[bytes]] = {}
    with ExitStack() as theirs:
        told, telling = _pipe()
        theirs.enter_context(telling)
        ends = [
            _end(given, name, pipes, theirs)
            for name, given in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr))
        ]
        with _one_order_at_a_time:
            socket.send_fds(_nursery(), [len(content).to_bytes(8, "big")], [*ends, telling.fileno()])
            _nursery().sendall(content)
    return Fork(told, pipes)


def run(*arguments: str, program: str = LEDGER, folder: Path = ROOT, environment: Mapping[str, str]) -> Ended:
    """The same, to its end."""
    with TemporaryFile() as output, TemporaryFile() as errors:
        with start(
            *arguments, program=program, folder=folder, environment=environment, stdout=output, stderr=errors
        ) as process:
            status = process.wait()
        for each in (output, errors):
            each.seek(0)
        return Ended(status, output.read(), errors.read())


def _end(given: Given, name: str, pipes: dict[str, IO[bytes]], theirs: ExitStack) -> int:
    """The descriptor that the fork gets; of a new pipe, ours goes to `pipes` and theirs is closed here."""
    if given is None:
        return theirs.enter_context(Path(os.devnull).open("r+b", buffering=0)).fileno()
    if given == PIPE:
        reading, writing = _pipe()
        pipes[name], end = (writing, reading) if name == "stdin" else (reading, writing)
        return theirs.enter_context(end).fileno()
    return given if isinstance(given, int) else given.fileno()


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0)


@functools.cache
def _nursery() -> socket.socket:
    """Where orders go. The nursery ends when this is closed, however we end."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
