"""docs/deploy/ledger.service and ledger.env: systemd finds nothing wrong, and the command line works as they set it up."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from api.settings import read_settings
from ledger.errors import SettingRefused
from tests import forks
from tests.api.running import WEBHOOKS, signed
from tests.builders import body
from tests.pages import replaced
from tests.requirements import program

DEPLOY = forks.ROOT / "docs" / "deploy"
UNIT = DEPLOY / "ledger.service"
EXPOSURE_MAX = 15
"""Of 100, as systemd counts; an ordinary service has 96."""


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """What stands for / where the unit names folders: with the program, and the file of settings filled."""
    (tmp_path / "opt/ledger/bin").mkdir(parents=True)
    ledger = tmp_path / "opt/ledger/bin/ledger"
    ledger.write_text(f'#!/bin/sh\nexec {sys.executable} -m api.command_line "$@"\n')
    ledger.chmod(0o755)
    (tmp_path / "var/lib/ledger").mkdir(parents=True, mode=0o700)
    (tmp_path / "etc/ledger").mkdir(parents=True)
    filled = {
        "LEDGER_WEBHOOK_SECRETS=main:": "LEDGER_WEBHOOK_SECRETS=main:secret_of_the_tests",
        "support:masked:sha256:": "support:masked:sha256:" + 64 * "0",
        "LEDGER_PORT=8080": "LEDGER_PORT=0",
        "/var/lib/ledger": f"{tmp_path}/var/lib/ledger",
    }
    (tmp_path / "etc/ledger/ledger.env").write_text(replaced((DEPLOY / "ledger.env").read_text(), filled))
    return tmp_path


def unit_at(prefix: Path) -> str:
    """The unit, with its folders below a prefix."""
    return re.sub(r"(?<==)(?=/(?:opt|var|etc)/)|(?<=FILE=)(?=/etc/)", str(prefix), UNIT.read_text())


def test_systemd_finds_nothing_wrong_with_the_unit(prefix: Path) -> None:
    unit = prefix / "ledger.service"
    unit.write_text(unit_at(prefix))

    verified = subprocess.run(
        [program("systemd"), "verify", unit], capture_output=True, text=True, check=False, cwd=prefix
    )

    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_service_may_touch_little() -> None:
    judged = [program("systemd"), "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(UNIT)]

    assert subprocess.run(judged, capture_output=True, check=False).returncode == 0


def test_the_file_of_settings_stops_the_start_until_its_empty_places_are_filled(prefix: Path) -> None:
    with pytest.raises(SettingRefused, match="LEDGER_WEBHOOK_SECRETS: entry 1 is not id:secret"):
        read_settings({"LEDGER_ENV_FILE": str(DEPLOY / "ledger.env")})

    filled = read_settings({"LEDGER_ENV_FILE": str(prefix / "etc/ledger/ledger.env")})
    assert filled.database_url == f"sqlite:///{prefix}/var/lib/ledger/ledger.db"
    assert [key.name for key in filled.api_keys] == ["support"]


def test_started_as_the_unit_says_it_tells_when_it_listens_drains_and_goes_on(prefix: Path) -> None:
    outcomes = []
    for _ in range(2):
        with started(prefix) as (process, url):
            fact = body("message.sent", sequence=1)
            outcomes.append(httpx2.post(f"{url}{WEBHOOKS}", content=fact, headers=signed(fact)).json()["outcome"])
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0

    assert outcomes == ["recorded", "duplicate"]
    files = list((prefix / "var/lib/ledger").iterdir())
    assert prefix / "var/lib/ledger/ledger.db" in files
    assert [file for file in files if file.stat().st_mode & 0o077] == []


@contextmanager
def started(prefix: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """What systemd would start, once it has told systemd that it listens; and where."""
    said = dict(re.findall(r"^(\w+)=(.*)$", unit_at(prefix), re.MULTILINE))
    name, _, value = said["Environment"].partition("=")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(prefix / "notify"))
        systemd.settimeout(30)
        environment = forks.environment(**{name: value}, NOTIFY_SOCKET=str(prefix / "notify"))
        with subprocess.Popen(
            said["ExecStart"].split(),
            cwd=said["WorkingDirectory"],
            env=environment,
            umask=int(said["UMask"], 8),
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert systemd.recv(100) == b"READY=1"
                assert process.stderr is not None
                listening = next(line for line in process.stderr if '"listening"' in line)
                yield process, re.findall(r'"url": "([^"]+)"', listening)[0]
            finally:
                process.kill()
    (prefix / "notify").unlink()
