"""Every setting that the program reads is in the operator's table, and the table has no other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_of_settings_is_that_of_the_program() -> None:
    read = set(re.findall(r'"(LEDGER_[A-Z_]+)"', (ROOT / "api" / "settings.py").read_text())) - {"LEDGER_ENV_FILE"}
    table = (ROOT / "docs" / "OPERATING.md").read_text().partition("## Settings")[2].partition("##")[0]
    documented = {name for line in table.splitlines() if line.startswith("| `") for name in settings_in(line)}

    assert documented == read


def settings_in(line: str) -> list[str]:
    """The settings in the first cell of a row."""
    return re.findall(r"`(LEDGER_[A-Z_]+)`", line.split("|")[1])


def test_the_example_of_an_environment_file_has_only_settings_of_the_program() -> None:
    read = set(re.findall(r'"(LEDGER_[A-Z_]+)"', (ROOT / "api" / "settings.py").read_text()))
    example = (ROOT / "docs" / "deploy" / "ledger.env").read_text()

    assert set(re.findall(r"^(LEDGER_[A-Z_]+)=", example, re.MULTILINE)) <= read
