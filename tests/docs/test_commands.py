"""Every command in a document runs in a test, and every `ledger …` that is named on the way is one that the program takes."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from api.command_line.program import program
from api.console.rendering import HERE
from api.http.routes import ROUTES, WEBHOOK
from tests.pages import ROOT

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SPOKEN = [*DOCUMENTS, *(ROOT / "docs").rglob("*.yml"), *(HERE / "templates").iterdir()]
BLOCK = re.compile(r"(?:<!-- ([\w-]+) -->\n)? *```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"(?:`|<code>|^\$ )ledger ([^`<\n]+)")
CALL = re.compile(r"`(GET|POST) (/[^\s`?]*)")
RUN = re.compile(r'(?:block|command)\(\s*(?:[\w"./]+, )?["\']([\w-]+)["\']')
"""How tests take a block out of a page."""
OF_WHO_WORKS_ON_IT = re.compile(r"apt-get |strace |\.ci/|\.venv/bin/(pytest|py-spy|python -m tests\.)")
"""Commands that run the tests themselves, or the benchmarks and what looks at them."""
OF_RED_CLOUD = {"/api/core/messages/send"}


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.fixture(scope="module")
def run() -> set[str]:
    """The markers of the blocks that tests run."""
    return {marker for file in (ROOT / "tests").rglob("test_*.py") for marker in RUN.findall(file.read_text())}


@pytest.fixture(scope="module")
def ledger() -> Any:  # noqa: ANN401 - Typer gives its own kind of Click no public name
    """The program with all of its commands."""
    return typer.main.get_command(program())


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_every_block_of_commands_runs_in_a_test(document: Path, run: set[str]) -> None:
    blocks = BLOCK.findall(document.read_text())

    assert [marker for marker, _ in blocks if marker and marker not in run] == []
    assert [
        line
        for marker, script in blocks
        for line in script.splitlines()
        if not (marker or OF_WHO_WORKS_ON_IT.match(line))
    ] == []


@pytest.mark.parametrize("document", SPOKEN, ids=names(SPOKEN))
def test_every_command_and_option_that_is_named_exists(document: Path, ledger: Any) -> None:  # noqa: ANN401
    wrong = [said for said in COMMAND.findall(document.read_text()) if not exists(ledger, said.split())]

    assert wrong == []


def exists(command: Any, words: list[str]) -> bool:  # noqa: ANN401
    """Whether a command has the subcommand and the options that stand in some words."""
    inner = getattr(command, "commands", {})
    if inner and words and not words[0].startswith("-"):
        return words[0] in inner and exists(inner[words[0]], words[1:])
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_every_call_that_is_named_has_a_route(document: Path) -> None:
    routes = {(route.method, as_pattern(route.path)) for route in (*ROUTES, WEBHOOK)}
    named = {(method, as_pattern(path)) for method, path in CALL.findall(document.read_text())}

    assert {call for call in named if call[1] not in OF_RED_CLOUD} - routes == set()


def as_pattern(path: str) -> str:
    """A path in which every parameter is called the same."""
    return re.sub(r"{\w+}", "{}", path)
