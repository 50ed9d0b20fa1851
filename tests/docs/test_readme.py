"""The README's commands do what it says, word for word: the signed curl against its server, and the newcomer's first one."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.api.running import until
from tests.deploy.host import host
from tests.engines import PrivatePostgres, postgres_binaries
from tests.pages import ROOT, block
from tests.requirements import program
from tests.serving import LISTENING_WITHIN_S, url_in

README = "README.md"


def test_the_signed_curl_is_answered_as_the_readme_shows(tmp_path: Path) -> None:
    program("curl")
    program("openssl")
    (tmp_path / ".venv").symlink_to(tmp_path)
    log = tmp_path / "serve.log"
    with host(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as machine:
        del machine.settings["LEDGER_WEBHOOK_SECRETS"], machine.settings["LEDGER_API_KEYS"]
        machine.run(f"exec >/dev/null 2>serve.log\n{block(README, 'serve').strip()} &")
        until(lambda: url_in(log) is not None, at_most_s=LISTENING_WITHIN_S)
        said = machine.run(block(README, "signed-curl").replace("http://127.0.0.1:8080", url_in(log) or ""))

    recorded, status = [json.loads(line) for line in said.splitlines()]
    shown_recorded, shown_status = [json.loads(line) for line in block(README, "signed-curl-answers").splitlines()]
    assert recorded == shown_recorded
    assert {name: status[name] for name in shown_status} == shown_status


def test_who_has_a_postgresql_needs_one_command(tmp_path: Path, postgres: PrivatePostgres) -> None:
    admin = make_url(postgres.new_database())
    (tmp_path / ".venv").symlink_to(tmp_path)
    log = tmp_path / "serve.log"
    with host(tmp_path, "sqlite:///unused.db") as machine:
        del machine.settings["LEDGER_DATABASE_URL"], machine.settings["LEDGER_WEBHOOK_SECRETS"]
        machine.settings["PATH"] = f"{postgres_binaries()}{os.pathsep}{machine.settings['PATH']}"
        machine.settings["PGHOST"], machine.settings["PGPORT"] = str(admin.host), str(admin.port)
        machine.settings["PGUSER"], machine.settings["PGPASSWORD"] = str(admin.username), str(admin.password)
        machine.run(f"exec >/dev/null 2>serve.log\n{block(README, 'serve-on-postgresql').strip()} &")
        try:
            until(lambda: url_in(log) is not None, at_most_s=LISTENING_WITHIN_S)
            listening = log.read_text()
        finally:
            for server in machine.running:
                server.kill()
            machine.run("dropdb --force ledger")

    assert "postgresql+psycopg:///ledger" in listening


def test_the_two_commands_are_one_line_each() -> None:
    for command in (block(README, "demo-command"), block(README, "test-command")):  # .ci/run runs the second one
        assert len(command.splitlines()) == 1


@pytest.mark.campaign
def test_the_first_command_shows_a_newcomer_what_there_is(tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "checkout"], check=True)
    with subprocess.Popen(
        ["bash", "-euc", block(README, "demo-command")],
        cwd=tmp_path / "checkout",
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        said = next((line for line in demo.stdout if b"is it untouched?" in line), None)
        os.killpg(demo.pid, signal.SIGINT)
        rest = demo.stdout.read().decode()

    assert said is not None
    assert "The server has ended." in rest
