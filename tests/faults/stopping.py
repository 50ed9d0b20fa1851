"""A server that gets no time at all for a while, as on a frozen machine: for longer than every timeout of ours, and then it goes on.

On SQLite it is the only one. On PostgreSQL two serve one ledger, and the other must not wait for what the stopped one has
locked. Whatever was under way is answered once it goes on, or delivered again; nothing is lost or stored twice.
"""

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random

from ledger.ledger import Ledger
from tests.api.running import client
from tests.engines import PrivatePostgres
from tests.faults.figures import Figures
from tests.faults.kill import Cast, first_answer, serving_together, whatever_is_wrong
from tests.faults.load import CONNECTIONS, REFUSED, Journal, Traffic, deliver
from tests.faults.places import fresh_folder, sqlite_url
from tests.faults.postgres import serve_again
from tests.faults.processes import stopped
from tests.faults.serving import Serving

STOPPED_S = (1.0, 6.0, 12.0, 20.0)
"""In turns. A runner is missed after 5 s, PostgreSQL ends an append after 8, deadlines of a connection are 10 and a lease is 15."""

POSTGRES_SERVERS = 2
LOAD_S_MAX = 0.3
IS_READY_WITHIN_S = 15.0


def stopped_sqlite(trials: int, seed: int) -> Figures:
    """The only server of an embedded ledger."""
    figures = Figures("stopped-sqlite")
    with fresh_folder() as folder:
        _stop_again_and_again(figures, sqlite_url(folder), folder, 1, trials, Random(seed))
    return figures


def stopped_postgresql(trials: int, seed: int) -> Figures:
    """One of two servers on a PostgreSQL."""
    figures = Figures("stopped-postgresql")
    with ExitStack() as ends:
        url = ends.enter_context(ends.enter_context(PrivatePostgres()).fresh_database())
        folder = ends.enter_context(fresh_folder())
        _stop_again_and_again(figures, url, folder, POSTGRES_SERVERS, trials, Random(seed))
    return figures


def _stop_again_and_again(figures: Figures, url: str, folder: Path, count: int, stops: int, dice: Random) -> None:
    Ledger.open(url).close()
    traffic = Traffic("stop", dice, Journal())
    with serving_together(url, folder, count) as cast:
        for number in range(stops):
            stopped_s = STOPPED_S[number % len(STOPPED_S)]
            asyncio.run(_stop_one(figures, cast, traffic, dice, stopped_s))
            figures.violated(*(f"{stopped_s:.0f} s: {each}" for each in whatever_is_wrong(url, traffic.journal)))
        for one in cast.running:
            if (status := one.stop()) != 0:
                figures.violated(f"a server ended with {status}")
    figures.counts["acknowledged"] += len(traffic.journal.acknowledged)
    figures.counts["refused or cut off"] += traffic.journal.answers[REFUSED] + traffic.journal.cut_off


async def _stop_one(figures: Figures, cast: Cast, traffic: Traffic, dice: Random, stopped_s: float) -> None:
    victim, journal, end = dice.choice(cast.running), traffic.journal, asyncio.Event()
    each = CONNECTIONS // len(cast.running)
    acknowledged = len(journal.acknowledged)
    loads = [asyncio.create_task(deliver(one.port, traffic, end, connections=each)) for one in cast.running]
    under_load = await first_answer(journal, acknowledged)
    await asyncio.sleep(dice.uniform(0, LOAD_S_MAX))
    with stopped(victim.pid):
        acknowledged = len(journal.acknowledged)
        await asyncio.sleep(stopped_s)
        meanwhile = len(journal.acknowledged) - acknowledged
    goes_on = await first_answer(journal, acknowledged + meanwhile)
    end.set()
    await asyncio.gather(*loads)
    figures.trials += 1
    figures.hits += under_load
    if len(cast.running) > 1:
        figures.counts["acknowledged by the other meanwhile"] += meanwhile
    if not (goes_on and await serve_again(cast.running, journal)):
        figures.violated(f"after {stopped_s:.0f} s the servers do not go on")
    if not await asyncio.to_thread(is_ready, victim):
        figures.violated(f"after {stopped_s:.0f} s the server is not ready again")


def is_ready(server: Serving) -> bool:
    """Whether a server says within some seconds that it is ready."""
    with client(server.url) as http:
        for _ in range(round(IS_READY_WITHIN_S / 0.1)):
            if http.get("/readyz").status_code == 200:
                return True
            time.sleep(0.1)
    return False
