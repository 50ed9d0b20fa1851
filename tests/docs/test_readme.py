"""The README's signed curl does what it says, word for word, against a real server."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.command_line.conftest import serving
from tests.requirements import missing

README = Path(__file__).parents[2] / "README.md"


def block_after(marker: str) -> str:
    """The code after a marker."""
    found = re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_signed_curl_is_answered_as_the_readme_shows(tmp_path: Path) -> None:
    for program in ("curl", "openssl"):
        if shutil.which(program) is None:
            missing(program, f"{program} is not installed")
    url = f"sqlite:///{tmp_path}/ledger.db"
    with serving(tmp_path, LEDGER_DATABASE_URL=url, LEDGER_WEBHOOK_SECRETS="main:my-secret") as server:
        script = block_after("signed-curl").replace("http://127.0.0.1:8080", server.url)
        said = subprocess.run(["bash", "-euc", script], check=True, capture_output=True, text=True).stdout

    recorded, status = [json.loads(part) for part in said.replace("}{", "}\n{").splitlines()]
    shown_recorded, shown_status = [json.loads(line) for line in block_after("signed-curl-answers").splitlines()]
    assert recorded == shown_recorded
    assert {name: status[name] for name in shown_status} == shown_status


@pytest.mark.parametrize("marker", ["demo-command", "test-command"])
def test_the_two_commands_are_one_line_each(marker: str) -> None:
    assert len(block_after(marker).splitlines()) == 1
