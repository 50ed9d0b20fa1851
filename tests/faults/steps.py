"""A death at every step of a deed, on both engines: whoever comes next must find nothing torn, and go on.

Each death happens to a fresh copy of one ledger.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from random import Random
from secrets import token_hex

from sqlalchemy import make_url

from tests import forks
from tests.engines import PrivatePostgres
from tests.faults.figures import Figures
from tests.faults.places import folder_in_memory, sqlite_url
from tests.faults.serving import environment

KILLED = -9
Copies = Callable[[], AbstractContextManager[str]]
"""Lends a fresh copy of one ledger, by its URL."""

Fill = Callable[[str, int], None]
"""Makes the ledger at a URL, from a seed."""

Wrong = Callable[[str], list[str]]
"""What is wrong with the ledger at a URL after the death; it may go on with what the dead one was about."""


def at_every_step_sqlite(name: str, deed: str, fill: Fill, wrong: Wrong, trials: int, seed: int) -> Figures:
    """On SQLite; with fewer trials than there are steps, at some of them by the dice."""
    with folder_in_memory() as folder:
        (folder / "first").mkdir()
        fill(sqlite_url(folder / "first"), seed)

        @contextmanager
        def copy() -> Iterator[str]:
            shutil.copytree(folder / "first", folder / "copy")
            yield sqlite_url(folder / "copy")
            shutil.rmtree(folder / "copy")

        return _at_every_step(Figures(name), deed, copy, wrong, trials, seed)


def at_every_step_postgresql(name: str, deed: str, fill: Fill, wrong: Wrong, trials: int, seed: int) -> Figures:
    """On PostgreSQL."""
    with PrivatePostgres() as server, server.fresh_database() as first_url:
        fill(first_url, seed)
        first = make_url(first_url)

        @contextmanager
        def copy() -> Iterator[str]:
            url = first.set(database=f"copy_{token_hex(6)}")
            server.execute(f'CREATE DATABASE "{url.database}" TEMPLATE "{first.database}"')
            yield url.render_as_string(hide_password=False)
            server.drop_database(url.render_as_string(hide_password=False))

        return _at_every_step(Figures(name), deed, copy, wrong, trials, seed)


def _at_every_step(figures: Figures, deed: str, copy: Copies, wrong: Wrong, trials: int, seed: int) -> Figures:
    with copy() as url:
        ended, steps = _do(deed, url, 0)
        assert ended == 0, f"{deed} fails without any fault: exit status {ended}"
        figures.violated(*(f"without any death: {each}" for each in wrong(url)))
    figures.counts["steps to die at"] = steps
    for step in sorted(Random(seed).sample(range(1, steps + 1), min(trials, steps))):
        with copy() as url:
            ended, _ = _do(deed, url, step)
            figures.trials += 1
            figures.hits += ended == KILLED
            if ended not in {0, KILLED}:
                figures.violated(f"{deed} ended with {ended} instead of dying at step {step}")
            figures.violated(*(f"after a death at step {step}: {each}" for each in wrong(url)))
    return figures


def _do(deed: str, url: str, dies_at: int) -> tuple[int, int]:
    """Does a deed, and dies at its n-th step (0: never); how the process ended, and how many steps a whole deed has."""
    ended = forks.run(deed, url, str(dies_at), program="tests.faults.doer:main", environment=environment(url))
    return ended.returncode, int(ended.stdout or 0)
