"""Power loss on SQLite: a real run is recorded, and cut off after every one of its steps; only what was synced is sure to survive.

Each disk that could be left is opened by the real code. A control run without syncs must lose: else the method shows
nothing. Three runs: appends; appends with read models beside them, whose file is synced less often; and an upgrade.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random

from ledger.ledger import Ledger
from ledger.store.place import READ_MODELS
from ledger.store.tables import partition_heads
from tests.faults.appender import FACTS_A_COMMIT, PROJECTING, ROWS_SYNCHRONOUS_OFF, SYNCHRONOUS_OFF, received
from tests.faults.checks import lost, stored_bodies, stored_twice, unverified
from tests.faults.crash_points import acknowledged_in
from tests.faults.figures import Figures
from tests.faults.places import folder_in_memory, fresh_folder, sqlite_url
from tests.faults.projecting import fill
from tests.faults.read_models import read_model_violations
from tests.faults.recorded_disk import Disk
from tests.faults.recorded_trace import STRACE, Said, Step, steps_of
from tests.faults.serving import environment
from tests.faults.upgrading import wrong_after_upgrade

APPENDS = 40
CONTROL_CUTS_MAX = 100
LOGS_CUT_BACK_MAX = 40
LAST_FACTS = APPENDS * FACTS_A_COMMIT
RECORDED_WITHIN_S = 900

Wrong = Callable[[str, Mapping[str, bytes]], list[str]]
"""What is wrong with the ledger at a URL, of which these facts had been acknowledged."""

Recorded = tuple[dict[str, bytes], list[Step]]
"""What was in a folder before a run, and its steps."""

Cut = tuple[int, list[str], int]
"""After which step, what was wrong, and how many facts had been acknowledged."""


def power_loss(trials: int, seed: int) -> Figures:
    """So many cuts of appends with full syncs, spread over the steps; then the control."""
    figures = Figures("power-loss")
    dice = Random(seed)
    with fresh_folder() as folder:
        _cuts(figures, trials, dice, _wrong_log, folder, recorded(folder, _appends()))
    _control(figures, min(trials, CONTROL_CUTS_MAX), dice, _wrong_log, _appends(SYNCHRONOUS_OFF))
    return figures


def read_models_power_loss(trials: int, seed: int) -> Figures:
    """The same with read models, which may have lost their last transactions, and must equal a fold once they have caught up.

    Two controls: read models without any sync break, and a log that was cut back below them is noticed.
    """
    figures = Figures("read-models-power-loss")
    dice = Random(seed)
    with fresh_folder() as folder:
        run = recorded(folder, _appends(PROJECTING))
        _cuts(figures, trials, dice, wrong_read_models, folder, run)
        _cut_logs_back(figures, *run, folder, min(trials // 2, LOGS_CUT_BACK_MAX), dice)
    if trials >= CONTROL_CUTS_MAX:  # a short version has no time for another recording
        _control(figures, CONTROL_CUTS_MAX, dice, wrong_read_models, _appends(PROJECTING, ROWS_SYNCHRONOUS_OFF))
    return figures


def upgrading_power_loss(trials: int, seed: int) -> Figures:
    """So many cuts of an upgrade: the ledger before it or after it."""
    figures = Figures("upgrading-power-loss")

    def upgrade(folder: Path) -> Sequence[str]:
        fill(sqlite_url(folder), seed)
        return ("tests.faults.upgrader", sqlite_url(folder))

    with fresh_folder() as folder:
        run = recorded(folder, upgrade)
        _cuts(figures, trials, Random(seed), lambda url, _acknowledged: wrong_after_upgrade(url), folder, run)
    return figures


Program = Callable[[Path], Sequence[str]]
"""Prepares a folder, and names the program to record there, with its arguments."""


def _appends(*options: str) -> Program:
    return lambda folder: ("tests.faults.appender", sqlite_url(folder), str(APPENDS), *options)


def _cuts(figures: Figures, trials: int, dice: Random, wrong: Wrong, folder: Path, run: Recorded) -> None:
    begin, steps = run
    figures.counts["recorded steps"] = len(steps)
    says_nothing = not any(isinstance(step, Said) for step in steps)
    for cut, found, acknowledged in cut_off(begin, steps, folder, trials, dice, wrong):
        figures.trials += 1
        figures.hits += says_nothing or acknowledged > 0
        figures.counts["acknowledged before a cut"] += acknowledged
        figures.violated(*(f"cut after step {cut}: {each}" for each in found))


def _control(figures: Figures, trials: int, dice: Random, wrong: Wrong, program: Program) -> None:
    """The same without any sync: where it loses nothing, the cuts above prove nothing."""
    with fresh_folder() as folder:
        begin, steps = recorded(folder, program)
        losing = sum(bool(found) for _, found, _ in cut_off(begin, steps, folder, trials, dice, wrong))
    figures.counts[f"of {trials} control cuts lose or break"] = losing
    if not losing:
        figures.violated("the control without syncs lost nothing: the method does not work")


def _cut_logs_back(
    figures: Figures, begin: Mapping[str, bytes], steps: Sequence[Step], folder: Path, trials: int, dice: Random
) -> None:
    """The log of an earlier moment below the read models of the end, as after a restored backup; every other one went on since."""
    ends = Disk(begin)
    for step in steps:
        ends.take(step)
    rows = {name: content for name, content in ends.after_power_cut(None).items() if READ_MODELS in name}
    for trial in range(trials):
        log: dict[str, bytes | None] = {}
        # Not even begun: no server opens that beside read models.
        while not any(partition_heads.name.encode() in (content or b"") for content in log.values()):
            disk = Disk(begin)
            for step in steps[: dice.randrange(len(steps) // 2)]:
                disk.take(step)
            log = {name: each for name, each in disk.after_power_cut(None).items() if READ_MODELS not in name}
        files = log | rows
        wrong = partial(_wrong_below_read_models, goes_on=trial % 2 == 1)
        figures.violated(*(f"a log cut back: {each}" for each in opened_after(files, folder, {}, wrong)))
        figures.counts["logs cut back below their read models"] += 1


def _wrong_below_read_models(url: str, acknowledged: Mapping[str, bytes], *, goes_on: bool) -> list[str]:
    with Ledger.open(url) as ledger:
        if goes_on:
            for number in range(LAST_FACTS, 2 * LAST_FACTS):
                ledger.commit([received(ledger, number)])
    return wrong_read_models(url, acknowledged)


def recorded(folder: Path, program: Program) -> Recorded:
    """What was in a folder before a program ran there, and the program's steps."""
    command = program(folder)
    begin = {str(file): file.read_bytes() for file in folder.iterdir()}
    with fresh_folder() as elsewhere:
        trace = elsewhere / "trace"
        subprocess.run(
            [*STRACE, "-o", str(trace), sys.executable, "-m", *command],
            env=environment(sqlite_url(folder), PYTHONDONTWRITEBYTECODE="1"),
            stdout=subprocess.PIPE,
            check=True,
            timeout=RECORDED_WITHIN_S,
        )
        with trace.open() as lines:
            return begin, list(steps_of(lines, folder))


def cut_off(
    begin: Mapping[str, bytes], steps: Sequence[Step], folder: Path, cuts: int, dice: Random, wrong: Wrong
) -> Iterator[Cut]:
    """So many cuts, spread over all steps. Every other one leaves only what was synced; the rest also some of the rest, by the dice."""
    disk, said = Disk(begin), b""
    places = sorted(dice.choices(range(1, len(steps) + 1), k=cuts))
    made = 0
    for number, step in enumerate(steps, start=1):
        disk.take(step)
        said += step.text if isinstance(step, Said) else b""
        for _ in range(places.count(number)):
            acknowledged = acknowledged_in(said)
            files = dict(begin) | disk.after_power_cut(dice if made % 2 else None)
            yield number, opened_after(files, folder, acknowledged, wrong), len(acknowledged)
            made += 1


def opened_after(
    files: Mapping[str, bytes | None], recorded_at: Path, acknowledged: Mapping[str, bytes], wrong: Wrong
) -> list[str]:
    """What is wrong with the ledger on such a disk."""
    with folder_in_memory() as folder:
        for name, content in files.items():
            if content is not None:
                (folder / Path(name).relative_to(recorded_at)).write_bytes(content)
        try:
            return wrong(sqlite_url(folder), acknowledged)
        except Exception as error:  # noqa: BLE001 - whatever happens then, the ledger is not there
            return [f"the ledger cannot be opened: {error!r}"]


def _wrong_log(url: str, acknowledged: Mapping[str, bytes]) -> list[str]:
    with Ledger.open(url) as ledger:
        stored = dict(stored_bodies(ledger))
        return [*lost(stored, acknowledged), *stored_twice(stored), *unverified(ledger)]


def wrong_read_models(url: str, acknowledged: Mapping[str, bytes]) -> list[str]:
    """What is wrong with a ledger and its read models, once these have caught up."""
    with Ledger.open(url) as ledger:
        wrong = read_model_violations(ledger, rebuilding=True)
    return [*_wrong_log(url, acknowledged), *wrong]
