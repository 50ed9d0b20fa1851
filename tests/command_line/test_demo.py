"""`ledger demo`: the first thing that anybody runs."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import PIPE

import httpx2

from api.command_line.demo import HOST, PORT, free_listener
from ledger.events import OutboundReported, RequestAccepted, occurred_at_us_of
from ledger.ledger import Ledger
from ledger.log_entries import LogEntry, readable
from ledger.positions import Cursor
from tests import forks

ENDS_WITHIN_S = 240


def test_demo_exit_ends_with_0_once_the_ledger_holds_every_fact_exactly_once(tmp_path: Path) -> None:
    # As a user starts it: from nothing.
    ended = subprocess.run(
        [sys.executable, "-m", "api.command_line", "demo", "--exit"],
        env=forks.environment(TMPDIR=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Everything that was acknowledged is there, exactly once: yes (300 messages)" in ended.stdout
    assert re.search(r"Hash chain +holds", ended.stdout)
    (folder,) = tmp_path.iterdir()
    assert str(folder) in ended.stdout
    assert ended.stdout.startswith("Starting the demonstration …\n")
    with Ledger.open_existing(f"sqlite:///{folder}/ledger.db") as ledger:
        _expect_believable_times(readable(ledger.feed(Cursor.start(ledger.partitions), 2_000)[0]))


def test_demo_tells_where_to_look_and_stays_until_it_is_told_to_end(tmp_path: Path) -> None:
    environment = forks.environment(TMPDIR=str(tmp_path))
    with (
        port_taken(),
        forks.start("demo", program="tests.programs:short_demo", environment=environment, stdout=PIPE) as process,
    ):
        said: list[bytes] = []
        for line in process.stdout:
            said.append(line)
            if b"is it untouched?" in line:
                break
        addresses = re.findall(r"curl -s (http://\S+)", b"".join(said).decode())
        answers = {address: httpx2.get(address, verify=False).status_code for address in addresses}
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read().decode()
        status = process.wait()

    assert b"(port 8080 is taken, so another one; this machine only" in b"".join(said)
    assert len(addresses) >= 3
    assert set(answers.values()) == {200}
    assert "The server has ended." in rest
    assert status == 0


def test_ctrl_c_while_the_program_is_still_being_loaded_is_no_traceback(tmp_path: Path) -> None:
    # What a shell starts in the background ignores SIGINT, and so would this.
    interrupt = (
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nsignal.raise_signal(signal.SIGINT)\n"
    )
    (tmp_path / "typer.py").write_text(interrupt)

    ended = subprocess.run(
        [sys.executable, "-m", "api.command_line", "demo"],
        env=forks.environment(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "Starting the demonstration …\n", "")


def test_demo_takes_another_port_where_8080_is_taken() -> None:
    with port_taken(), free_listener() as listener:
        assert listener.getsockname()[1] not in (0, PORT)


@contextlib.contextmanager
def port_taken() -> Iterator[None]:
    """Port 8080, taken by us or by somebody else, which is as good."""
    with contextlib.ExitStack() as taken:
        with contextlib.suppress(OSError):
            taken.enter_context(socket.create_server((HOST, PORT)))
        yield


def _expect_believable_times(entries: Sequence[LogEntry]) -> None:
    """Nothing is received before it happened, and most of what was promised is so before it becomes true."""
    promised: dict[str, int] = {}
    told, in_order = 0, 0
    for entry in sorted(entries, key=lambda entry: entry.event.receipt.received_at_us):
        received_us, occurred_us = entry.event.receipt.received_at_us, occurred_at_us_of(entry.event)
        if isinstance(entry.event, RequestAccepted):
            promised[entry.event.message_id] = received_us
        if occurred_us is not None:
            assert occurred_us <= received_us <= occurred_us + 60_000_000
        if isinstance(entry.event, OutboundReported) and occurred_us is not None:
            told += 1
            in_order += promised.get(entry.event.message_id, occurred_us + 1) <= occurred_us
    assert in_order > told / 2
