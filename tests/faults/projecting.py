"""A crash of the projector and of a rebuild at every statement and every commit, on both engines.

A process makes the read models of a log, catches them up and rebuilds them, and dies at its n-th step. Whoever comes
next must find nothing torn: the read models catch up, equal a fold of the log, and can be rebuilt.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from random import Random
from secrets import token_hex

from sqlalchemy import make_url

from ledger.ledger import Ledger
from ledger.reception import Reception
from tests.engines import PrivatePostgres
from tests.faults.figures import Figures
from tests.faults.load import Journal, Traffic
from tests.faults.places import folder_in_memory, sqlite_url
from tests.faults.read_models import read_model_violations
from tests.faults.serving import environment

EVENTS = 1_500
PARTITIONS = 2
RUNS_WITHIN_S = 120
KILLED = -9


Copies = Callable[[], AbstractContextManager[str]]
"""Lends a fresh copy of one log, by its URL."""


def projecting_sqlite(trials: int, seed: int) -> Figures:
    """On SQLite."""
    with folder_in_memory() as folder:
        (folder / "log").mkdir()
        fill(sqlite_url(folder / "log"), seed)

        @contextmanager
        def copy() -> Iterator[str]:
            shutil.copytree(folder / "log", folder / "copy")
            yield sqlite_url(folder / "copy")
            shutil.rmtree(folder / "copy")

        return _at_every_step("projecting-sqlite", copy, trials, seed)


def projecting_postgresql(trials: int, seed: int) -> Figures:
    """On PostgreSQL."""
    with PrivatePostgres() as server, server.fresh_database() as log_url:
        fill(log_url, seed)
        log = make_url(log_url)

        @contextmanager
        def copy() -> Iterator[str]:
            url = log.set(database=f"copy_{token_hex(6)}")
            server.execute(f'CREATE DATABASE "{url.database}" TEMPLATE "{log.database}"')
            yield url.render_as_string(hide_password=False)
            server.drop_database(url.render_as_string(hide_password=False))

        return _at_every_step("projecting-postgresql", copy, trials, seed)


def _at_every_step(name: str, copy: Copies, trials: int, seed: int) -> Figures:
    """Dies at each step; with fewer trials than there are steps, at some by the dice."""
    figures = Figures(name)
    with copy() as url:
        steps = int(_project(url, 0).stdout)
    figures.counts["steps to die at"] = steps
    for step in sorted(Random(seed).sample(range(1, steps + 1), min(trials, steps))):
        with copy() as url:
            ended = _project(url, step)
            figures.trials += 1
            figures.hits += ended.returncode == KILLED
            with Ledger.open_existing(url) as ledger:
                wrong = read_model_violations(ledger, rebuilding=True)
            figures.violated(*(f"after a death at step {step}: {each}" for each in wrong))
    return figures


def _project(url: str, dies_at: int) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "tests.faults.projector", url, str(dies_at)]
    return subprocess.run(
        command, env=environment(url), stdout=subprocess.PIPE, check=dies_at == 0, timeout=RUNS_WITHIN_S
    )


def fill(url: str, seed: int) -> None:
    """A log of outbound and inbound messages in two partitions."""
    with Ledger.open(url, partitions=PARTITIONS) as ledger:
        reception = Reception(None, ledger.partitions)
        traffic = Traffic("projected", Random(seed), Journal())
        items = [reception.receive((), traffic.next(), now_us=moment_us) for moment_us in range(EVENTS)]
        for partition in range(PARTITIONS):
            ledger.commit([item for item in items if item.partition == partition])
