"""A coarse guard against becoming slow: ratios within one run, each a factor of two or more below what is usual.

Absolute times would fail on a busy machine, and so may a ratio of two things that met another load: the best of a few short
rounds counts, of which the first mostly is enough. `python -m tests.benchmarks` measures properly.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from projections.message_status import MESSAGE_STATUS
from tests.benchmarks.bench import Bench
from tests.benchmarks.contenders import USUAL_TURNS_S, ours, textbooks, without_store
from tests.benchmarks.filled import fill
from tests.benchmarks.measuring import rounds, under_load
from tests.benchmarks.subjects.rebuild import library_per_second, rebuilt_per_second
from tests.requirements import program

CONNECTIONS = 64
SECONDS = 1
EVENTS = 10_000
LIBRARY_FACTS = 150
ROUNDS_MAX = 4
WAITING_FOR_A_CORE_MAX = 3
DISK = Path("/var/tmp")  # noqa: S108 - a folder of random name is made in it
"""A place that is not in memory, where other tests are: what is compared are two ways to wait for a disk."""


@pytest.fixture
def bench() -> Iterator[Bench]:
    program("wrk")
    with Bench.begun(quick=True, beside=DISK if DISK.is_dir() else None) as begun:
        begun.seconds = SECONDS
        yield begun


def test_durable_ingest_keeps_up_with_the_server_without_a_store_and_outruns_the_textbook(bench: Bench) -> None:
    (textbook,) = textbooks(bench, "sqlite", threads=(1,), caches=("2000",), turns_s=(USUAL_TURNS_S,))
    contenders = [ours(bench, "sqlite"), without_store(bench), textbook]
    loaded = under_load(bench.deliveries(), connections=CONNECTIONS, seconds=SECONDS)

    def ratios() -> tuple[float, float]:
        found = rounds(contenders, loaded, count=1)
        ledger, ceiling, rival = (found[contender.name] for contender in contenders)
        assert ledger.failures == 0
        if not (ceiling.per_second.median and rival.per_second.median):
            return 0.0, 0.0  # a machine that answers nothing for a second measures nothing
        return ledger.per_second.over(ceiling.per_second), ledger.per_second.over(rival.per_second)

    reached(ratios, (0.25, 3))


def test_a_rebuild_is_ten_times_as_fast_as_the_librarys_way(bench: Bench) -> None:
    with bench.place("sqlite") as url:
        fill([url], EVENTS)

        def ratio() -> tuple[float]:
            return (rebuilt_per_second(url, MESSAGE_STATUS) / library_per_second(bench, "sqlite", LIBRARY_FACTS),)

        reached(ratio, (10,))


def reached(measure: Callable[[], tuple[float, ...]], least: tuple[float, ...]) -> None:
    """Measures until all is reached in one round; AssertionError with what was measured where it is in none of a few."""
    found: list[tuple[float, ...]] = []
    while not found or any(each < floor for each, floor in zip(found[-1], least, strict=True)):
        if os.getloadavg()[0] > WAITING_FOR_A_CORE_MAX * (os.cpu_count() or 1):
            pytest.skip(f"the machine is too busy with other things to measure on it; so far {found}")
        assert len(found) < ROUNDS_MAX, f"expected at least {least}, measured {found}"
        found.append(measure())
