"""PostgreSQL fails under load: it crashes, loses backends, hangs, has no connection left, or somebody holds the lock.

Two `ledger serve` processes share the ledger and are never restarted. Each fault lasts a moment; afterwards they must
serve again by themselves, and every acknowledged fact must be stored once, however its first commit ended.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from functools import partial
from random import Random

import psycopg
from sqlalchemy import make_url

from ledger.ledger import Ledger
from tests.engines import CONNECTIONS_MAX, PrivatePostgres
from tests.faults.figures import Figures
from tests.faults.kill import whatever_is_wrong
from tests.faults.load import CONNECTIONS, OK, Journal, Traffic, deliver, deliver_all
from tests.faults.places import fresh_folder
from tests.faults.processes import stopped
from tests.faults.serving import Serving, serve

SERVERS = 2
TRIALS_PER_LEDGER = 10
LOAD_S = (0.1, 0.4)
STOPPED_S = (0.5, 2.0)
LOCKED_S = 11.0
"""Longer than the 10 s after which an append gives up waiting for the lock."""

SERVES_AGAIN_WITHIN_S = 60.0
TAKEN = "taken"
_OURS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND application_name <> 'taken'"
)

Fault = Callable[[PrivatePostgres, str, Random], bool]
"""Says whether it has hit for certain; else that is seen by what the servers answer meanwhile."""


def postgres_faults(trials: int, seed: int) -> Figures:
    """All faults in turn."""
    return _campaign("postgresql-faults", tuple(FAULTS), trials, seed)


def postgres_short_faults(trials: int, seed: int) -> Figures:
    """Those that take a second or two, in turn."""
    return _campaign("postgresql-faults", tuple(name for name in FAULTS if name != "lock held"), trials, seed)


def _campaign(name: str, faults: tuple[str, ...], trials: int, seed: int) -> Figures:
    figures = Figures(name)
    with PrivatePostgres() as server:
        for begun in range(0, trials, TRIALS_PER_LEDGER):
            dice = Random(f"{seed}/{begun}")
            with fresh_folder() as folder, server.fresh_database() as url, ExitStack() as ends:
                Ledger.open(url).close()
                cast = [serve(url, folder / f"server-{number}.log") for number in range(SERVERS)]
                for one in cast:
                    ends.callback(one.kill)
                traffic = Traffic("pg", dice, Journal())
                for trial in range(begun, min(begun + TRIALS_PER_LEDGER, trials)):
                    fault = faults[trial % len(faults)]
                    inject = partial(FAULTS[fault], server, url, dice)
                    asyncio.run(_one_trial(figures, fault, inject, cast, traffic, dice))
                    figures.violated(*(f"{fault}: {each}" for each in whatever_is_wrong(url, traffic.journal)))
                figures.counts["acknowledged"] += len(traffic.journal.acknowledged)
    return figures


async def _one_trial(
    figures: Figures, fault: str, inject: Callable[[], bool], cast: list[Serving], traffic: Traffic, dice: Random
) -> None:
    journal, end = traffic.journal, asyncio.Event()
    failures, acknowledged = _failures(journal), len(journal.acknowledged)
    loads = [asyncio.create_task(deliver(one.port, traffic, end, connections=CONNECTIONS // SERVERS)) for one in cast]
    await asyncio.sleep(dice.uniform(*LOAD_S))
    hit, slowest_s = await _slowest_answer(journal, asyncio.to_thread(inject))
    await asyncio.sleep(dice.uniform(*LOAD_S))
    end.set()
    await asyncio.gather(*loads)
    hit = hit or _failures(journal) > failures or slowest_s > STOPPED_S[0] / 2
    figures.trials += 1
    figures.hits += hit and len(journal.acknowledged) > acknowledged
    figures.counts[fault] += hit
    figures.counts["refused or cut off"] += _failures(journal) - failures
    if not await serve_again(cast, journal):
        figures.violated(f"{fault}: the servers do not serve again within {SERVES_AGAIN_WITHIN_S:.0f} s")


def _failures(journal: Journal) -> int:
    return journal.cut_off + sum(count for status, count in journal.answers.items() if status not in OK)


async def _slowest_answer(journal: Journal, fault: Coroutine[None, None, bool]) -> tuple[bool, float]:
    """Lets the fault happen; whether it hit, and the longest time without any acknowledgement meanwhile, in seconds."""
    happening = asyncio.create_task(fault)
    seen, since_s, longest_s = len(journal.acknowledged), time.monotonic(), 0.0
    while not happening.done():
        await asyncio.sleep(0.01)
        longest_s = max(longest_s, time.monotonic() - since_s)
        if len(journal.acknowledged) != seen:
            seen, since_s = len(journal.acknowledged), time.monotonic()
    return await happening, longest_s


async def serve_again(cast: list[Serving], journal: Journal) -> bool:
    """Delivers everything that was not acknowledged until it is, to each server in turn; whether that came to an end in time."""
    deadline_s = time.monotonic() + SERVES_AGAIN_WITHIN_S
    while journal.unanswered:
        if time.monotonic() > deadline_s:
            return False
        for one in cast:
            waiting = [journal.unanswered.popleft() for _ in range(len(journal.unanswered))]
            await deliver_all(one.port, waiting, journal, connections=CONNECTIONS)
            await asyncio.sleep(0.05)
    return all(one.is_running for one in cast)


def crash(server: PrivatePostgres, _url: str, _dice: Random) -> bool:
    """All of it ends at once, without a checkpoint, and starts again."""
    server.stop(immediate=True)
    server.start()
    return True


def terminate_backends(_server: PrivatePostgres, url: str, _dice: Random) -> bool:
    """An administrator ends every connection of ours."""
    with psycopg.connect(_plain(url), autocommit=True) as administrator:
        return _terminate(administrator)


def kill_backend(server: PrivatePostgres, url: str, dice: Random) -> bool:
    """Kill -9 one of our backends; PostgreSQL then resets all of them and recovers."""
    with psycopg.connect(_plain(url)) as connection:
        victims = [pid for (pid,) in connection.execute(_OURS)]
    if victims:
        server.kill_backend(dice.choice(victims))
    return bool(victims)


def hang(server: PrivatePostgres, _url: str, dice: Random) -> bool:
    """No process of PostgreSQL gets any time for a while."""
    with stopped(server.pid):
        time.sleep(dice.uniform(*STOPPED_S))
    return False


def exhaust_connections(_server: PrivatePostgres, url: str, dice: Random) -> bool:
    """Others take every connection there is, those that ours lose included."""
    with ExitStack() as taken:
        administrator = taken.enter_context(psycopg.connect(_plain(url), autocommit=True))
        _take_all(taken, url)
        end_s = time.monotonic() + dice.uniform(*STOPPED_S)
        while time.monotonic() < end_s:
            _terminate(administrator)
            _take_all(taken, url)
    return False


def hold_lock(_server: PrivatePostgres, url: str, _dice: Random) -> bool:
    """Somebody locks the head of the log for longer than an append waits."""
    with psycopg.connect(_plain(url)) as connection:
        connection.execute("SELECT * FROM partition_heads FOR UPDATE")
        time.sleep(LOCKED_S)
    return False


FAULTS: dict[str, Fault] = {
    "crash": crash,
    "backends terminated": terminate_backends,
    "backend killed": kill_backend,
    "hung": hang,
    "no connections left": exhaust_connections,
    "lock held": hold_lock,
}


def _take_all(taken: ExitStack, url: str) -> None:
    with suppress(psycopg.OperationalError):
        for _ in range(CONNECTIONS_MAX):
            taken.enter_context(psycopg.connect(_plain(url), application_name=TAKEN))


def _terminate(administrator: psycopg.Connection) -> bool:
    return bool(administrator.execute(f"SELECT pg_terminate_backend(ours.pid) FROM ({_OURS}) ours").fetchall())  # noqa: S608


def _plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
