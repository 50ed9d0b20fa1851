"""A disk that fails and is repaired: failed syncs and writes, a full disk, a read-only file system; the server is never restarted.

strace makes some of the server's calls fail with EIO, ENOSPC or EROFS, and then no longer; a small file system in memory
is really full, and then no longer. Whatever was acknowledged must be stored; whatever was refused must be taken once the
disk is well.
"""

import asyncio
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from ledger.ledger import Ledger
from tests.faults.checks import violations
from tests.faults.figures import Figures
from tests.faults.load import REFUSED, Journal, Traffic, deliver_all
from tests.faults.places import fresh_folder, sqlite_url
from tests.faults.processes import family
from tests.faults.serving import Serving, serve

FAULTS = (
    ("fsync,fdatasync", "EIO"),
    ("pwrite64", "EIO"),
    ("pwrite64", "ENOSPC"),
    ("pwrite64", "EROFS"),
    ("ftruncate", "EIO"),
)
FAILS_FROM_CALL_MAX = 8
CONNECTIONS = 4
ROUNDS_BROKEN = 8
ROUNDS_WELL_MAX = 100
ROUNDS_WELL = 5
DELIVERIES_A_ROUND = 16
UNTIL_IDLE_WORK_S = 1.2
ATTACHED_WITHIN_S = 20.0
DISK_BYTES = 32 * 1024 * 1024
"""More than the write-ahead log of the load after the repair: else the disk would be full again."""

FILLER_BYTES = 64 * 1024


def disk_errors(trials: int, seed: int) -> Figures:
    """Calls that fail until the disk is repaired, in a server under load."""
    figures = Figures("disk-errors")
    dice = Random(seed)
    for trial in range(trials):
        calls, error = FAULTS[trial % len(FAULTS)]
        with fresh_folder() as folder:
            server = serve(created(folder), folder / "log")
            traffic = Traffic(f"disk{trial}", dice, Journal())
            # A truncation is rare: one for each time that the write-ahead log is emptied.
            first = 1 if calls == "ftruncate" else dice.randint(1, FAILS_FROM_CALL_MAX)
            with failing(server, calls, error, first) as trace:
                asyncio.run(while_broken(server.port, traffic))
            failed = trace.read_text().count("(INJECTED)")
            figures.counts["failed calls"] += failed
            _repaired(figures, f"{calls} {error}", server, traffic, sqlite_url(folder), hit=failed > 0)
    return figures


def disk_full(trials: int, seed: int) -> Figures:
    """A file system that is really full, and has room again."""
    figures = Figures("disk-full")
    dice = Random(seed)
    for trial in range(trials):
        with small_file_system() as folder:
            server = serve(created(folder), folder.parent / "log")
            traffic = Traffic(f"full{trial}", dice, Journal())
            filler = fill(folder / "filler")
            asyncio.run(while_broken(server.port, traffic))
            filler.unlink()
            hit = traffic.journal.answers[REFUSED] > 0
            _repaired(figures, "disk full", server, traffic, sqlite_url(folder), hit=hit)
    return figures


@contextmanager
def failing(server: Serving, calls: str, error: str, first: int, files: Iterable[Path] = ()) -> Iterator[Path]:
    """Lets such calls of a running server fail from the n-th of each thread on, until the end of the block; gives the trace.

    Where files are given, only calls on those.
    """
    trace, said = server.log.with_name("trace"), server.log.with_name("strace")
    processes = [word for pid in family(server.pid) for word in ("-p", str(pid))]
    paths = [word for file in files for word in ("-P", str(file))]
    inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={first}+"]
    with said.open("wb") as output:
        tracer = subprocess.Popen(["strace", "-f", *processes, "-o", str(trace), *paths, *inject], stderr=output)
    deadline_s = time.monotonic() + ATTACHED_WITHIN_S
    while said.read_bytes().count(b" attached") < len(processes) / 2:
        assert time.monotonic() < deadline_s, said.read_text()
        time.sleep(0.01)
    try:
        yield trace
    finally:
        tracer.terminate()
        tracer.wait()


def created(folder: Path) -> str:
    """The URL of a new ledger, created before there is any fault."""
    url = sqlite_url(folder)
    Ledger.open(url).close()
    return url


def _repaired(figures: Figures, fault: str, server: Serving, traffic: Traffic, url: str, *, hit: bool) -> None:
    """After the repair: the same server takes everything that it refused, ends in order, and nothing is missing."""
    journal = traffic.journal
    figures.trials += 1
    figures.hits += hit
    figures.counts["refused meanwhile"] += journal.answers[REFUSED]
    try:
        if not asyncio.run(_serves_again(server.port, traffic)):
            figures.violated(f"{fault}: the server does not serve again: {dict(journal.answers)}")
        if (status := server.stop()) != 0:
            figures.violated(f"{fault}: the server ended with {status}")
    finally:
        server.kill()
    figures.counts["acknowledged"] += len(journal.acknowledged)
    with Ledger.open_existing(url) as ledger:
        figures.violated(*(f"{fault}: {each}" for each in violations(ledger, journal)))


async def while_broken(port: int, traffic: Traffic) -> None:
    """Delivers for some seconds, and long enough in between for the work of an idle server."""
    for _ in range(ROUNDS_BROKEN):
        await _round(port, traffic)
    await asyncio.sleep(UNTIL_IDLE_WORK_S)
    await _round(port, traffic)


async def _serves_again(port: int, traffic: Traffic) -> bool:
    well = 0
    for _ in range(ROUNDS_WELL_MAX):
        await _round(port, traffic)
        well = 0 if traffic.journal.unanswered else well + 1
        if well == ROUNDS_WELL:
            return True
    return False


async def _round(port: int, traffic: Traffic) -> None:
    bodies = [traffic.next() for _ in range(DELIVERIES_A_ROUND)]
    await deliver_all(port, bodies, traffic.journal, connections=CONNECTIONS)


def fill(filler: Path) -> Path:
    """A file that takes all the room there is."""
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(FILLER_BYTES)) == FILLER_BYTES:
            pass
    return filler


@contextmanager
def small_file_system() -> Iterator[Path]:
    """A file system of a few megabytes in memory. Needs the right to mount."""
    with fresh_folder() as parent:
        folder = parent / "small"
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def can_mount() -> bool:
    """Whether this process may mount."""
    with suppress(subprocess.CalledProcessError, OSError), small_file_system():
        return True
    return False
