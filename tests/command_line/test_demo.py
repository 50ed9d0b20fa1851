"""`ledger demo`: the first thing that anybody runs."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import httpx2

from api.command_line.demo import HOST, PORT, free_listener
from tests import forks


def test_demo_exit_ends_with_0_once_the_ledger_holds_every_fact_exactly_once(tmp_path: Path) -> None:
    # As a user starts it: from nothing.
    ended = subprocess.run(
        [sys.executable, "-m", "api.command_line", "demo", "--exit"],
        env=forks.environment(TMPDIR=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Everything that was acknowledged is there, exactly once: yes (300 messages)" in ended.stdout
    assert re.search(r"Hash chain +holds", ended.stdout)
    (folder,) = tmp_path.iterdir()
    assert str(folder) in ended.stdout
    assert (folder / "ledger.db").is_file()


def test_demo_tells_where_to_look_and_stays_until_it_is_told_to_end(tmp_path: Path) -> None:
    environment = forks.environment(TMPDIR=str(tmp_path))
    with forks.start("demo", program="tests.programs:short_demo", environment=environment, stdout=PIPE) as process:
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
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_demo_takes_another_port_where_8080_is_taken() -> None:
    with contextlib.ExitStack() as taken:
        with contextlib.suppress(OSError):  # somebody else has it, which is as good
            taken.enter_context(socket.create_server((HOST, PORT)))
        with free_listener() as listener:
            assert listener.getsockname()[1] not in (0, PORT)
