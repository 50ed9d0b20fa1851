"""The README's signed curl does what it says, word for word, against a real server."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.command_line.conftest import serving
from tests.pages import block
from tests.requirements import program

README = "README.md"


def test_the_signed_curl_is_answered_as_the_readme_shows(tmp_path: Path) -> None:
    program("curl")
    program("openssl")
    url = f"sqlite:///{tmp_path}/ledger.db"
    with serving(tmp_path, LEDGER_DATABASE_URL=url, LEDGER_WEBHOOK_SECRETS="main:my-secret") as server:
        script = block(README, "signed-curl").replace("http://127.0.0.1:8080", server.url)
        said = subprocess.run(["bash", "-euc", script], check=True, capture_output=True, text=True).stdout

    recorded, status = [json.loads(part) for part in said.replace("}{", "}\n{").splitlines()]
    shown_recorded, shown_status = [json.loads(line) for line in block(README, "signed-curl-answers").splitlines()]
    assert recorded == shown_recorded
    assert {name: status[name] for name in shown_status} == shown_status


@pytest.mark.parametrize("marker", ["demo-command", "test-command"])
def test_the_two_commands_are_one_line_each(marker: str) -> None:
    assert len(block(README, marker).splitlines()) == 1
