"""Running commands: in this process where that shows everything, as a fork where signals, ports and pipes matter."""

import contextlib
import json
import os
import pty
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tests.serving
from api.command_line import main
from ledger.ledger import Ledger
from ledger.reception import Reception
from tests import forks
from tests.builders import NOW_US, SECRET, signed_headers
from tests.new_ledgers import new_ledger
from tests.serving import Serving


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever was printed
        return json.loads(self.stdout)

    @property
    def lines(self) -> list[list[str]]:
        """The cells of a table in a pipe, without its heading."""
        return [line.split("\t") for line in self.stdout.splitlines()[1:]]


Run = Callable[..., Ended]


@pytest.fixture(autouse=True)
def without_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take away whatever the person who runs the tests has set, and work in an empty folder."""
    for name in [name for name in os.environ if name.startswith("LEDGER_") and name != "LEDGER_TESTS_REQUIRE"]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: `run("history", "msg_1", LEDGER_DATABASE_URL=…)`."""

    def run_it(*arguments: str, **environment: str) -> Ended:
        with monkeypatch.context() as patch:
            patch.delenv("LEDGER_TESTS_REQUIRE", raising=False)
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["ledger", *arguments])
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
            said = capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, said.out, said.err)

    return run_it


def record(url: str, *bodies: bytes) -> None:
    """Receive signed bodies as the server would, one commit each, a second apart."""
    new_ledger(url)
    with Ledger.open(url) as ledger:
        reception = Reception([SECRET], ledger.partitions)
        for second, body in enumerate(bodies):
            item = reception.receive(signed_headers(body), body, now_us=NOW_US + second * 1_000_000)
            ledger.commit([item])


@contextlib.contextmanager
def serving(folder: Path, program: str = forks.LEDGER, **settings: str) -> Iterator[Serving]:
    """`ledger serve` on a free port and in a folder, until the block ends."""
    secrets = f"{SECRET.id}:{SECRET.key.decode()}"
    environment = forks.environment(**{"LEDGER_WEBHOOK_SECRETS": secrets, "LEDGER_PORT": "0", **settings})
    with tests.serving.serving(folder / "serve.log", environment, folder=folder, program=program) as server:
        yield server


def in_a_terminal(folder: Path, *arguments: str, columns: int = 100) -> str:
    """What a command shows in a terminal."""
    ours, theirs = pty.openpty()
    environment = forks.environment(TERM="xterm-256color", COLUMNS=str(columns), LINES="50")
    with forks.start(
        *arguments, folder=folder, environment=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # that is how a terminal ends, on Linux
            while part := os.read(ours, 65_536):
                shown += part
        os.close(ours)
        process.wait(timeout=20)
    return shown.decode("utf-8", "surrogateescape")
