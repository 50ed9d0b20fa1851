"""A crash at every durability call: the process dies at its first write, its second, … and the same with each sync.

From an empty folder on, so that also a crash within the creation of a ledger is among the cases. After each crash the
ledger is opened again, compared with what was acknowledged, and must take new facts.
"""

import subprocess
import sys
from collections.abc import Mapping

from ledger.ledger import Ledger
from tests.faults.appender import FACTS_A_COMMIT, body_of, received
from tests.faults.checks import lost, stored_bodies, stored_twice, unverified
from tests.faults.figures import Figures
from tests.faults.places import fresh_folder, sqlite_url
from tests.faults.serving import environment

CALLS = ("pwrite64", "fsync,fdatasync", "ftruncate", "unlink")
APPENDS = 10
RUNS_FOR_S = 120
KILLED = (-9, 137)


def crash_points(trials: int, seed: int) -> Figures:
    """Every point at which so many calls of each kind can be cut off; `seed` decides nothing here."""
    figures = Figures("crash-points")
    for calls in CALLS:
        for number in range(1, trials + 1):
            if not crash_at(figures, calls, number):
                figures.counts[f"points at {calls}"] = number - 1
                break
    return figures


def crash_at(figures: Figures, calls: str, number: int) -> bool:
    """One crash at the n-th such call; whether there was one to crash at."""
    with fresh_folder() as folder:
        url = sqlite_url(folder)
        ended, acknowledged = killed_at(url, calls, number)
        if ended not in KILLED:
            if ended != 0:
                figures.violated(f"the appender ended with {ended} at {calls} {number}")
            return False
        figures.trials += 1
        figures.hits += 1
        figures.counts["acknowledged"] += len(acknowledged)
        figures.violated(*(f"{calls} {number}: {each}" for each in after_crash(url, acknowledged)))
        return True


def killed_at(url: str, calls: str, number: int) -> tuple[int, dict[str, bytes]]:
    """How the appender ended that was killed at the n-th of these calls, and what it had acknowledged."""
    within = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={calls}"]
    within += ["-e", f"inject={calls}:signal=KILL:when={number}"]
    done = subprocess.run(
        [*within, sys.executable, "-m", "tests.faults.appender", url, str(APPENDS)],
        env=environment(url, PYTHONDONTWRITEBYTECODE="1"),
        stdout=subprocess.PIPE,
        check=False,
        timeout=RUNS_FOR_S,
    )
    return done.returncode, acknowledged_in(done.stdout)


def acknowledged_in(said: bytes) -> dict[str, bytes]:
    """Position → body of what an appender said."""
    lines = [line.split() for line in said.decode("ascii").splitlines()]
    return {position: body_of(int(number)) for position, number in lines}


def after_crash(url: str, acknowledged: Mapping[str, bytes]) -> list[str]:
    """What is wrong with the ledger that a crash left, and then with its going on."""
    with Ledger.open(url) as ledger:
        stored = dict(stored_bodies(ledger))
        wrong = [*lost(stored, acknowledged), *stored_twice(stored), *unverified(ledger)]
        # Red Cloud delivers again what was not acknowledged: some of it may be stored already.
        tell_again = [
            number for number in range(APPENDS * FACTS_A_COMMIT) if body_of(number) not in acknowledged.values()
        ]
        for number in tell_again[:FACTS_A_COMMIT]:
            ledger.commit([received(ledger, number)])
        stored = dict(stored_bodies(ledger))
        return [*wrong, *lost(stored, acknowledged), *stored_twice(stored), *unverified(ledger)]
