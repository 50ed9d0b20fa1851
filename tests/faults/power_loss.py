"""Power loss: a real run is recorded, and cut off after every one of its steps; only what was synced is sure to survive.

Each disk that could be left is opened by the real code. A control run without syncs must lose: else the method shows
nothing.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

from ledger.ledger import Ledger
from tests.faults.checks import lost, stored_bodies, stored_twice, unverified
from tests.faults.crash_points import acknowledged_in
from tests.faults.figures import Figures
from tests.faults.places import fresh_folder, sqlite_url
from tests.faults.recorded_disk import STRACE, Disk, Said, Step, steps_of
from tests.faults.serving import environment

APPENDS = 40
CONTROL_CUTS_MAX = 100
RECORDED_WITHIN_S = 120


def power_loss(trials: int, seed: int) -> Figures:
    """So many cuts of a run with full syncs, spread over its steps; then the control."""
    figures = Figures("power-loss")
    dice = Random(seed)
    with fresh_folder() as folder:
        steps = recorded(folder)
        figures.counts["recorded steps"] = len(steps)
        for cut, wrong, acknowledged in cut_off(steps, folder, trials, dice):
            figures.trials += 1
            figures.hits += acknowledged > 0
            figures.counts["acknowledged before a cut"] += acknowledged
            figures.violated(*(f"cut after step {cut}: {each}" for each in wrong))
    _control(figures, min(trials, CONTROL_CUTS_MAX), dice)
    return figures


def _control(figures: Figures, trials: int, dice: Random) -> None:
    """The same without any sync: where it loses nothing, the cuts above prove nothing."""
    with fresh_folder() as folder:
        losing = sum(bool(wrong) for _, wrong, _ in cut_off(recorded(folder, "synchronous-off"), folder, trials, dice))
    figures.counts[f"of {trials} control cuts lose or break"] = losing
    if not losing:
        figures.violated("the control without syncs lost nothing: the method does not work")


def recorded(folder: Path, *options: str) -> list[Step]:
    """The steps of a run of the appender."""
    trace = folder / "trace"
    subprocess.run(
        [
            *STRACE,
            "-o",
            str(trace),
            sys.executable,
            "-m",
            "tests.faults.appender",
            sqlite_url(folder),
            str(APPENDS),
            *options,
        ],
        env=environment(sqlite_url(folder), PYTHONDONTWRITEBYTECODE="1"),
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=RECORDED_WITHIN_S,
    )
    with trace.open() as lines:
        return list(steps_of(lines, folder))


def cut_off(steps: Sequence[Step], folder: Path, cuts: int, dice: Random) -> list[tuple[int, list[str], int]]:
    """(step, what is wrong, how many facts had been acknowledged) of so many cuts, spread over all steps.

    Every other cut leaves only what was synced; the rest also some of what was not, by the dice.
    """
    disk, said = Disk(), b""
    found: list[tuple[int, list[str], int]] = []
    places = sorted(dice.choices(range(1, len(steps) + 1), k=cuts))
    for number, step in enumerate(steps, start=1):
        disk.take(step)
        said += step.text if isinstance(step, Said) else b""
        for cut in range(places.count(number)):
            acknowledged = acknowledged_in(said)
            files = disk.after_power_cut(dice if (cut + len(found)) % 2 else None)
            found.append((number, opened_after(files, folder, acknowledged), len(acknowledged)))
    return found


def opened_after(files: dict[str, bytes], recorded_at: Path, acknowledged: dict[str, bytes]) -> list[str]:
    """What is wrong with the ledger on such a disk."""
    with fresh_folder() as folder:
        for name, content in files.items():
            (folder / Path(name).relative_to(recorded_at)).write_bytes(content)
        try:
            with Ledger.open(sqlite_url(folder)) as ledger:
                stored = dict(stored_bodies(ledger))
                return [*lost(stored, acknowledged), *stored_twice(stored), *unverified(ledger)]
        except Exception as error:  # noqa: BLE001 - whatever happens then, the ledger is not there
            return [f"the ledger cannot be opened: {error!r}"]
