"""kill -9 under load: real servers, 32 connections, and a client that remembers every 2xx.

On SQLite one server is killed and started again. On PostgreSQL three serve one ledger, one of them is killed, and the
others go on. Every third time it is one of a server's two workers which is killed, by turns the one that commits and the
one that projects: the server must then end by itself. After each restart everything is compared; the unanswered is
delivered again, as Red Cloud would.
"""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from subprocess import TimeoutExpired

from ledger.ledger import Ledger
from tests.engines import PrivatePostgres
from tests.faults.checks import violations
from tests.faults.figures import Figures
from tests.faults.load import CONNECTIONS, Journal, Traffic, deliver
from tests.faults.places import fresh_folder, sqlite_url
from tests.faults.read_models import served_read_model_violations
from tests.faults.serving import Serving, serve

KILLS_PER_LEDGER = 10
POSTGRES_SERVERS = 3
PARTITIONS = (1, 16)
"""Of one ledger after the other, in turns."""

WORKER_EACH = 3
REFUSED = 503
LOAD_S_MAX = 0.3
FIRST_ANSWER_S_MAX = 10.0


def kill_sqlite(trials: int, seed: int) -> Figures:
    """One server on an embedded ledger, killed again and again."""
    figures = Figures("kill-sqlite")
    for begun in range(0, trials, KILLS_PER_LEDGER):
        with fresh_folder() as folder:
            dice = Random(f"{seed}/{begun}")
            _kill_again_and_again(figures, sqlite_url(folder), folder, 1, min(KILLS_PER_LEDGER, trials - begun), dice)
    return figures


def kill_postgresql(trials: int, seed: int) -> Figures:
    """Three servers on one PostgreSQL, of which one is killed each time."""
    figures = Figures("kill-postgresql")
    with PrivatePostgres() as server:
        for begun in range(0, trials, KILLS_PER_LEDGER):
            kills = min(KILLS_PER_LEDGER, trials - begun)
            with fresh_folder() as folder, server.fresh_database() as url:
                _kill_again_and_again(figures, url, folder, POSTGRES_SERVERS, kills, Random(f"{seed}/{begun}"))
    return figures


def _kill_again_and_again(figures: Figures, url: str, folder: Path, servers: int, kills: int, dice: Random) -> None:
    journal = Journal()
    traffic = Traffic("kill", dice, journal)
    Ledger.open(url, partitions=PARTITIONS[figures.trials // KILLS_PER_LEDGER % len(PARTITIONS)]).close()
    with serving_together(url, folder, servers) as cast:
        for number in range(1, kills + 1):
            asyncio.run(_kill_one(figures, cast, traffic, dice))
            cast.restart()
            figures.violated(*whatever_is_wrong(url, journal, rebuilding=number == kills))
    figures.counts["acknowledged"] += len(journal.acknowledged)
    figures.counts["2xx"] += sum(count for status, count in journal.answers.items() if status < 300)


def whatever_is_wrong(url: str, journal: Journal, *, rebuilding: bool = False) -> list[str]:
    """Everything that is wrong with a ledger that is served, and with its read models."""
    with Ledger.open_existing(url) as ledger:
        return [*violations(ledger, journal), *served_read_model_violations(ledger, rebuilding=rebuilding)]


async def _kill_one(figures: Figures, cast: "Cast", traffic: Traffic, dice: Random) -> None:
    victim = dice.choice(cast.running)
    end = asyncio.Event()
    journal = traffic.journal
    acknowledged, cut_off = len(journal.acknowledged), _without_an_outcome(journal)
    each = CONNECTIONS // len(cast.running)
    loads = [asyncio.create_task(deliver(one.port, traffic, end, connections=each)) for one in cast.running]
    under_load = await first_answer(journal, acknowledged)
    await asyncio.sleep(dice.uniform(0, LOAD_S_MAX))
    if figures.trials % WORKER_EACH == WORKER_EACH - 1:
        kills_writer = figures.trials // WORKER_EACH % 2 == 0
        os.kill(victim.writer_pid if kills_writer else victim.projector_pid, signal.SIGKILL)
        await _ended(figures, victim, "writer" if kills_writer else "projector")
    victim.kill()
    if len(cast.running) > 1:  # the others go on for a while without it
        await asyncio.sleep(dice.uniform(0, LOAD_S_MAX))
    end.set()
    await asyncio.gather(*loads)
    # A kill counts where it cut off work: there had been acknowledgements, and some deliveries never had an outcome.
    figures.trials += 1
    figures.hits += under_load and _without_an_outcome(journal) > cut_off
    figures.counts["deliveries cut off"] += _without_an_outcome(journal) - cut_off


def _without_an_outcome(journal: Journal) -> int:
    """Deliveries that were never answered, or told that nobody knows what became of them."""
    return journal.cut_off + journal.answers[REFUSED]


async def _ended(figures: Figures, server: Serving, worker: str) -> None:
    """A server that has lost a worker says so and ends, with a status that tells a supervisor to start it again."""
    try:
        status = await asyncio.to_thread(server.process.wait)
    except TimeoutExpired:
        figures.violated(f"a server went on without its {worker}")
        return
    figures.counts[f"{worker}s killed"] += 1
    if status == 0:
        figures.violated(f"a server that lost its {worker} ended with {status}")


async def first_answer(journal: Journal, acknowledged: int) -> bool:
    """Waits until more is acknowledged than before; False where nothing is for a long time."""
    deadline_s = time.monotonic() + FIRST_ANSWER_S_MAX
    while len(journal.acknowledged) == acknowledged and time.monotonic() < deadline_s:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.002)
    return len(journal.acknowledged) > acknowledged


@dataclass
class Cast:
    """The servers of one ledger."""

    url: str
    folder: Path
    running: list[Serving]

    def restart(self) -> None:
        """Starts those again that were killed."""
        self.running = [one if one.is_running else self.start(number) for number, one in enumerate(self.running)]

    def end(self) -> None:
        """Kills them all."""
        for one in self.running:
            one.kill()

    def start(self, number: int) -> Serving:
        """Starts one."""
        return serve(self.url, self.folder / f"server-{number}.log")


@contextmanager
def serving_together(url: str, folder: Path, count: int) -> Iterator[Cast]:
    """So many servers of one ledger, killed at the end."""
    with ExitStack() as ends:
        cast = Cast(url, folder, [])
        ends.callback(cast.end)
        for number in range(count):
            cast.running.append(cast.start(number))
        yield cast
