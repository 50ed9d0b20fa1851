"""Every campaign, short: `python -m tests.faults NAME` runs it for as long as docs/GUARANTEES.md says."""

import re
import shutil

import pytest

from tests.engines import NotInstalled, postgres_binaries
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
    "kill-postgresql": 2,
    "kill-sqlite": 3,
    "postgresql-faults": 3,
    "power-loss": 40,
    "projecting-postgresql": 1,
    "projecting-sqlite": 2,
}
LIVED_ELSEWHERE = {"months"}
"""tests/simulation/test_months.py"""

TRACED = {"crash-points", "disk-errors", "power-loss"}


def test_every_campaign_has_a_short_version() -> None:
    assert {*SHORT, *LIVED_ELSEWHERE} == {*CAMPAIGNS}


@pytest.mark.parametrize("name", SHORT)
def test_a_fault_hits_and_violates_nothing(name: str) -> None:
    _require(name)

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
