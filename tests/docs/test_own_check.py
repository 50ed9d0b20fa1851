"""docs/EVENTS.md: the program with which an auditor checks the chain without ours finds what ours finds."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from ledger.ledger import Ledger
from tests.builders import delivered, facts, queued, sent
from tests.pages import block

PAGE = "docs/EVENTS.md"
EDITS = {
    "UPDATE events SET topic = 'message.queued' WHERE position = 2": "0-2",
    "DELETE FROM events WHERE position = 1": "0-1",
    "UPDATE events SET position = 9 WHERE position = 3": "0-3",
}


def checked(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", block(PAGE, "own-check")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    opened = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    opened.commit(facts([queued(1), sent(2), delivered(3)]))
    return opened


def test_it_prints_the_heads(ledger: Ledger, tmp_path: Path) -> None:
    (head,) = ledger.heads()

    assert checked(tmp_path).stdout == f"--head 0-{head.position}:{head.hash.hex()}\n"


@pytest.mark.parametrize("edit", EDITS)
def test_it_finds_an_edit_where_it_is(ledger: Ledger, tmp_path: Path, edit: str) -> None:
    with ledger.database.writing() as connection:
        connection.execute(text(edit))

    found = checked(tmp_path)

    assert (found.returncode, found.stderr) == (1, f"{EDITS[edit]} is not as it was recorded\n")
