"""Every campaign, short: `python -m tests.faults NAME` runs it for as long as docs/GUARANTEES.md says."""

import os
import re
import shutil
from contextlib import nullcontext

import pytest

from tests.engines import NotInstalled, postgres_binaries
from tests.faults import fuzz, kill, postgres, projecting, steps, stopping
from tests.faults.campaigns import CAMPAIGNS
from tests.faults.disk import can_mount
from tests.faults.figures import Figures
from tests.faults.serving import ROOT
from tests.requirements import missing, program

SEED = 1
SHORT = {
    "clock-steps": 6,
    "crash-points": 1,
    "disk-errors": 1,
    "disk-full": 1,
    "fuzz-postgresql": 25,
    "fuzz-sqlite": 50,
    "kill-postgresql": 1,
    "kill-sqlite": 3,
    "postgresql-faults": 3,
    "power-loss": 20,
    "power-loss-postgresql": 2,
    "projecting-postgresql": 1,
    "projecting-sqlite": 2,
    "read-models-disk": 1,
    "read-models-power-loss": 4,
    "rebuilding-postgresql": 1,
    "rebuilding-sqlite": 1,
    "replaying-postgresql": 1,
    "replaying-sqlite": 4,
    "stopped-postgresql": 1,
    "stopped-sqlite": 1,
    "upgrading-postgresql": 1,
    "upgrading-power-loss": 8,
    "upgrading-sqlite": 4,
}
LIVED_ELSEWHERE = {"months"}
"""tests/simulation/test_months.py"""

ONLY_IN_CI = {"power-loss-postgresql"}
"""It records a PostgreSQL of its own: a tenth of what all tests take."""

SHORT_EVENTS = 100
"""An eighth of what is projected in the campaigns."""

SHORT_LOAD_S = 0.1
"""A third of the load before a fault, and of that after it, at most."""

OWN_SERVER = {"power-loss-postgresql"}
TRACED = {"crash-points", "disk-errors", "power-loss", "power-loss-postgresql", "read-models-power-loss"}
TRACED |= {"read-models-disk", "upgrading-power-loss"}


def test_every_campaign_has_a_short_version() -> None:
    assert {*SHORT, *LIVED_ELSEWHERE} == {*CAMPAIGNS}


@pytest.mark.parametrize("name", [name for name in SHORT if name not in ONLY_IN_CI or os.environ.get("CI")])
def test_a_fault_hits_and_violates_nothing(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    _require(name)
    monkeypatch.setattr(projecting, "EVENTS", SHORT_EVENTS)
    monkeypatch.setattr(postgres, "LOAD_S", (SHORT_LOAD_S / 2, SHORT_LOAD_S))
    for module in (kill, stopping):
        monkeypatch.setattr(module, "LOAD_S_MAX", SHORT_LOAD_S)
    if name.endswith("-postgresql") and name not in OWN_SERVER:
        server = request.getfixturevalue("postgres")
        for module in (fuzz, kill, steps, stopping):  # the server that all tests share will do: these leave it running
            monkeypatch.setattr(module, "PrivatePostgres", lambda: nullcontext(server))

    figures = CAMPAIGNS[name].run(SHORT[name], SEED)

    assert figures.fine, figures.told()


@pytest.mark.campaign
@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_fault_hits_often_and_violates_nothing(name: str) -> None:
    _require(name)

    figures = CAMPAIGNS[name].run(CAMPAIGNS[name].trials, SEED)

    assert figures.fine, figures.told()


def test_a_campaign_whose_fault_never_hit_is_not_fine() -> None:
    assert not Figures("a miss", trials=100).fine


def _require(name: str) -> None:
    if name in TRACED:
        program("strace")
    if name.endswith(("postgresql", "postgresql-faults")):
        try:
            postgres_binaries()
        except NotInstalled as error:
            missing("postgresql", str(error))
    if name == "disk-full" and not (shutil.which("mount") and can_mount()):
        pytest.skip("a small file system cannot be mounted without the right to mount")


def test_the_guarantees_have_a_line_for_every_campaign_and_no_other() -> None:
    document = (ROOT / "docs" / "GUARANTEES.md").read_text()

    assert set(re.findall(r"^\| `([a-z-]+)", document, re.MULTILINE)) == {*CAMPAIGNS}
