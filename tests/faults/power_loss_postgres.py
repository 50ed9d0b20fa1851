"""Power loss on PostgreSQL: a real server is recorded under strace, and cut off; it recovers from what was synced, by itself.

The server has segments of 1 MiB and a checkpoint every 2 MiB, so that the run has many of both. What the ledger relies on is
asked of each disk: every acknowledged fact, the chain, and read models (committed with `synchronous_commit=off`) that
are never ahead of their log. A control with `fsync=off` must lose.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random

from tests.engines import PrivatePostgres, ServerDidNotStart
from tests.faults.crash_points import acknowledged_in
from tests.faults.figures import Figures
from tests.faults.places import memory
from tests.faults.power_loss import RECORDED_WITHIN_S, wrong_read_models
from tests.faults.recorded_disk import Disk
from tests.faults.recorded_trace import STRACE, Said, Step, steps_of
from tests.faults.serving import environment

APPENDS = 40
CONTROL_CUTS_MAX = 20
INITDB_OPTIONS = ("--wal-segsize=1",)
SETTINGS = {"min_wal_size": "2MB", "max_wal_size": "2MB", "checkpoint_completion_target": "0.1"}
OF_THE_PROCESS = ("postmaster.pid", "postmaster.opts")
"""What only a running server needs, and what would keep the next one from starting beside a process of the same number."""


def postgres_power_loss(trials: int, seed: int) -> Figures:
    """So many cuts, spread over all steps; then the control."""
    figures = Figures("power-loss-postgresql")
    dice = Random(seed)
    for cut, wrong, acknowledged in _cut_off(figures, {"fsync": "on"}, trials, dice):
        figures.trials += 1
        figures.hits += acknowledged > 0
        figures.counts["acknowledged before a cut"] += acknowledged
        figures.violated(*(f"cut after step {cut}: {each}" for each in wrong))
    if trials < CONTROL_CUTS_MAX:
        return figures  # a short version: another server and another recording would be most of it
    cuts = CONTROL_CUTS_MAX
    losing = sum(bool(wrong) for _, wrong, _ in _cut_off(Figures("control"), {"fsync": "off"}, cuts, dice))
    figures.counts[f"of {cuts} control cuts lose or break"] = losing
    if not losing:
        figures.violated("the control without syncs lost nothing: the method does not work")
    return figures


def _cut_off(
    figures: Figures, settings: Mapping[str, str], cuts: int, dice: Random
) -> list[tuple[int, list[str], int]]:
    # In memory: what is recorded is what the server asks the disk for, and recovery syncs a thousand files.
    with PrivatePostgres(initdb_options=INITDB_OPTIONS, settings=SETTINGS | dict(settings), parent=memory()) as server:
        url = server.new_database()
        server.stop()
        before = server.folder / "before"
        _copy(server.data, before)
        steps = _recorded(server, url)
        figures.counts["recorded steps"] = len(steps)
        disk, said = Disk(_files_in(before, server.data), names_with_files=True), b""
        places = sorted(dice.choices(range(1, len(steps) + 1), k=cuts))
        found: list[tuple[int, list[str], int]] = []
        for number, step in enumerate(steps, start=1):
            disk.take(step)
            said += step.text if isinstance(step, Said) else b""
            for _ in range(places.count(number)):
                files = disk.after_power_cut(dice if len(found) % 2 else None)
                acknowledged = acknowledged_in(said)
                found.append((number, _recovered(server, before, files, url, acknowledged), len(acknowledged)))
        return found


def _recorded(server: PrivatePostgres, url: str) -> list[Step]:
    """The steps of a run of the appender and of the server below it."""
    trace = server.folder / "trace"
    program = [sys.executable, "-m", "tests.faults.recorded_postgres", *server.start_command, url, str(APPENDS)]
    subprocess.run(
        [*STRACE, "-o", str(trace), *program],
        env=environment(url, PYTHONDONTWRITEBYTECODE="1"),
        stdout=subprocess.PIPE,
        check=True,
        timeout=RECORDED_WITHIN_S,
    )
    with trace.open() as lines:
        return list(steps_of(lines, server.data))


def _recovered(
    server: PrivatePostgres,
    before: Path,
    files: Mapping[str, bytes | None],
    url: str,
    acknowledged: Mapping[str, bytes],
) -> list[str]:
    """What is wrong with the ledger after a server recovers on such a disk."""
    shutil.rmtree(server.data)
    _copy(before, server.data)
    for name, content in files.items():
        _put(Path(name), content)
    for name in OF_THE_PROCESS:
        (server.data / name).unlink(missing_ok=True)
    try:
        server.start()
    except ServerDidNotStart as error:
        return [f"PostgreSQL does not start: {error}"]
    try:
        return wrong_read_models(url, acknowledged)
    except Exception as error:  # noqa: BLE001 - whatever happens then, the ledger is not there
        return [f"the ledger cannot be opened: {error!r}"]
    finally:
        server.stop(immediate=True)


def _put(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink(missing_ok=True)
        return
    is_new = not file.exists()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    if is_new:
        owner = file.parent.stat()
        shutil.chown(file, owner.st_uid, owner.st_gid)
        file.chmod(0o600)


def _copy(folder: Path, to: Path) -> None:
    subprocess.run(["cp", "-a", str(folder), str(to)], check=True)


def _files_in(folder: Path, as_if_in: Path) -> dict[str, bytes]:
    """The content of every file of a folder, under the names that they have in another."""
    return {str(as_if_in / file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
