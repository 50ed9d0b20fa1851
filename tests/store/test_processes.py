"""Several processes on one ledger, and kill -9: nothing acknowledged is lost, and no fact is stored twice."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from random import Random

import pytest

from ledger.ledger import Ledger
from ledger.verification import verify
from tests.builders import stored_facts
from tests.forks import Fork
from tests.store.worker import FACTS_PER_MESSAGE, Acknowledged, acknowledged, fact_number, go, line_of, start

PARTITIONS = 2
FACTS = 300


@contextmanager
def workers(url: str, seeds: list[int], facts: int) -> Iterator[list[Fork]]:
    """Some workers that have opened the ledger and wait."""
    with ExitStack() as stack:
        yield [stack.enter_context(start(url, PARTITIONS, seed, facts)) for seed in seeds]


def all_lines(worker: Fork) -> list[Acknowledged]:
    found: list[Acknowledged] = []
    while line := line_of(worker):
        found += acknowledged(line)
    return found


def together(started: list[Fork]) -> list[str]:
    for worker in started:
        go(worker)
    return [line_of(worker) for worker in started]


def test_processes_that_create_a_ledger_and_commit_the_same_facts_at_once_store_each_once(store_url: str) -> None:
    with workers(store_url, [1, 2, 3], FACTS) as started, ThreadPoolExecutor() as threads:
        ids = set(together(started))
        for worker in started:
            go(worker)
        answers = [each for answer in threads.map(all_lines, started) for each in answer]

    expected = {fact_number(number, PARTITIONS).fact_key.hex() for number in range(FACTS)}
    with Ledger.open_existing(store_url) as ledger:
        stored = {key.hex(): (position, version) for position, version, key in stored_facts(ledger)}
        verification = verify(ledger, deep=True)

    assert ids == {ledger.identity.ledger_id}
    assert (verification.events, verification.findings) == (FACTS, ())
    assert stored.keys() == expected
    assert len(answers) == 3 * FACTS
    assert sorted(key for key, _, _, is_new in answers if is_new) == sorted(expected)
    assert {(key, position, version) for key, position, version, _ in answers} == {
        (key, *place) for key, place in stored.items()
    }
    assert sorted(version for _, version in stored.values()) == sorted([1, 2, 3] * (FACTS // FACTS_PER_MESSAGE))


def killed_while_committing(url: str, chance: Random, writers: int, facts: int) -> list[Acknowledged]:
    """What workers acknowledged before each was killed, somewhere after its first answers."""
    with (
        workers(url, [chance.randrange(10**6) for _ in range(writers)], facts) as started,
        ThreadPoolExecutor() as threads,
    ):
        together(started)
        for worker in started:
            go(worker)
        answers = threads.map(answers_until_killed, started, [chance.randint(1, 60) for _ in started])
        return [each for answer in answers for each in answer]


def answers_until_killed(worker: Fork, lines: int) -> list[Acknowledged]:
    found: list[Acknowledged] = []
    for _ in range(lines):
        found += acknowledged(line_of(worker))
    worker.send_signal(signal.SIGKILL)
    found += all_lines(worker)
    assert worker.wait() == -signal.SIGKILL, "the worker was done before it could be killed"
    return found


def check_after_kills(url: str, seed: int, rounds: int) -> None:
    chance = Random(seed)
    answers: list[Acknowledged] = []
    for _ in range(rounds):
        answers += killed_while_committing(url, chance, writers=2, facts=30_000)
        with Ledger.open(url) as ledger:
            stored = {key.hex(): (position, version) for position, version, key in stored_facts(ledger)}
            verification = verify(ledger, deep=True)

        assert (verification.events, verification.findings) == (len(stored), ())
        assert {(key, position, version) for key, position, version, _ in answers} <= {
            (key, *place) for key, place in stored.items()
        }
        new = [key for key, _, _, is_new in answers if is_new]
        assert len(new) == len(set(new)) > 0


def test_after_kill_9_nothing_acknowledged_is_lost_and_nothing_is_stored_twice(store_url: str) -> None:
    check_after_kills(store_url, seed=1, rounds=2)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(100))
def test_a_hundred_times_after_kill_9_nothing_acknowledged_is_lost(store_url: str, seed: int) -> None:
    check_after_kills(store_url, seed, rounds=10)
