"""The rules of the project's own build: what is pure, what is locked, what is shipped, and what the README promises."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ["api", "ledger", "projections"]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = PYPROJECT["tool"]["importlinter"]["contracts"]
(PURE,) = [set(rule["source_modules"]) for rule in CONTRACTS if rule["name"].startswith("The pure core")]
DOES_IO = {
    *(
        "ledger.audit",
        "ledger.backups",
        "ledger.clock",
        "ledger.commit_channel",
        "ledger.entry_reader",
        "ledger.group_commit",
        "ledger.ledger",
        "ledger.long_streams",
        "ledger.outage",
        "ledger.store",
        "ledger.verification",
    ),
}


def modules_of(package: str) -> set[str]:
    found = [path for path in (ROOT / package).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    return {f"{package}.{path.stem}" for path in found if path.stem != "__init__"}


def locked(file_name: str) -> dict[str, str]:
    lines = re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / file_name).read_text(), re.MULTILINE)
    return dict(lines)


def test_every_module_of_the_ledger_is_either_pure_by_contract_or_known_to_do_io() -> None:
    assert modules_of("ledger") - DOES_IO == PURE


@pytest.mark.parametrize("module", sorted(PURE))
def test_the_pure_core_never_asks_what_time_it_is(module: str) -> None:
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}

    assert names & {"now", "today", "utcnow"} == set()


def test_the_tests_run_on_the_versions_that_users_get() -> None:
    with_traces = locked(".requirements-otel.lock").items()

    assert locked(".requirements.lock").items() <= with_traces <= locked(".requirements-test.lock").items()


@pytest.mark.parametrize("file_name", [".requirements.lock", ".requirements-otel.lock", ".requirements-test.lock"])
def test_a_lock_names_hashes_and_no_host_or_path(file_name: str) -> None:
    lock = (ROOT / file_name).read_text()

    assert locked(file_name)
    assert len(re.findall(r"== *\S+(?: ;[^\n]*)? \\\n +--hash=sha256:[0-9a-f]{64}", lock)) == len(locked(file_name))
    assert re.findall(r"\S*(?:://|@ |--index|--find-links|-e )\S*", lock) == []


def test_every_direct_dependency_is_locked() -> None:
    project = PYPROJECT["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["postgres"]]

    assert names_of(wanted) <= set(locked(".requirements.lock"))
    assert names_of(project["optional-dependencies"]["otel"]) <= set(locked(".requirements-otel.lock"))


def names_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9-]", name)[0] for name in requirements}


def test_the_wheel_has_every_file_of_the_three_packages(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith("lifecycle_ledger-")}

    tracked = subprocess.run(["git", "ls-files", "--", *PACKAGES], cwd=ROOT, check=True, capture_output=True, text=True)
    assert set(tracked.stdout.split()) <= shipped
    assert {name.split("/")[0] for name in shipped} == set(PACKAGES)


def test_the_readme_s_commands_are_the_ones_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text()

    for name in ("demo", "test"):
        assert len(re.findall(rf"<!-- {name}-command -->\n```sh\n[^\n]+\n```\n", readme)) == 1
