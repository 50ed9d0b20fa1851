"""A coarse guard against becoming slow: ratios within one run, each a factor of two or more below what is usual.

Absolute times would fail on a busy machine; `python -m tests.benchmarks` measures properly.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from projections.read_models import MESSAGE_STATUS
from tests.benchmarks.bench import Bench
from tests.benchmarks.contenders import USUAL_TURNS_S, ours, textbooks, without_store
from tests.benchmarks.filled import fill
from tests.benchmarks.measuring import rounds, under_load
from tests.benchmarks.subjects.rebuild import library_per_second, rebuilt_per_second
from tests.requirements import program

CONNECTIONS = 64
EVENTS = 20_000
LIBRARY_FACTS = 300


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    program("wrk")
    with Bench.begun(quick=True, beside=tmp_path) as begun:
        begun.seconds = 2
        yield begun


def test_durable_ingest_keeps_up_with_the_server_without_a_store_and_outruns_the_textbook(bench: Bench) -> None:
    (textbook,) = textbooks(bench, "sqlite", threads=(1,), caches=("2000",), turns_s=(USUAL_TURNS_S,))
    contenders = [ours(bench, "sqlite"), without_store(bench), textbook]

    found = rounds(contenders, under_load(bench.deliveries(), connections=CONNECTIONS, seconds=2), count=1)

    ledger, ceiling, rival = (found[contender.name] for contender in contenders)
    assert ledger.failures == 0
    assert ledger.per_second.over(ceiling.per_second) >= 0.25
    assert ledger.per_second.over(rival.per_second) >= 3


def test_a_rebuild_is_ten_times_as_fast_as_the_librarys_way(bench: Bench) -> None:
    with bench.place("sqlite") as url:
        fill(url, EVENTS)

        assert rebuilt_per_second(url, MESSAGE_STATUS) >= 10 * library_per_second(bench, "sqlite", LIBRARY_FACTS)
