"""A writer in a process of its own, so that a test can race several and kill them.

It waits for a line on its input, opens or creates the ledger and says its id; waits for another line, and then commits facts in an
order of its own, some at a time, and acknowledges each batch on its output only after the commit: one JSON line of
[fact key, position, version, whether it was new] for each.
"""

import json
import os
import signal
import sys
from collections import defaultdict
from random import Random
from subprocess import PIPE
from typing import Any

from ledger.facts import Fact
from ledger.ledger import Ledger
from tests import forks
from tests.builders import fact, placed, queued, sent
from tests.forks import Fork

BATCH_FACTS_MAX = 40
FACTS_PER_MESSAGE = 3

Acknowledged = tuple[str, str, int, bool]


def fact_number(number: int, partitions: int) -> Fact:
    """The same fact in every process that asks for it, but received by each at another time."""
    return fact(sent(number % FACTS_PER_MESSAGE, f"msg_{number // FACTS_PER_MESSAGE}"), partitions=partitions)


def start(url: str, partitions: int, seed: int, facts: int) -> Fork:
    """Starts a worker, which waits for its first line."""
    arguments = [url, *map(str, (partitions, seed, facts))]
    environment = forks.environment()
    return forks.start(*arguments, program="tests.store.worker:main", environment=environment, stdin=PIPE, stdout=PIPE)


def go(worker: Fork) -> None:
    """Gives a worker the line that it waits for."""
    worker.stdin.write(b"go\n")


def line_of(worker: Fork) -> str:
    """The next whole line that a worker said; empty at its end, and for a line that its end cut short."""
    line = worker.stdout.readline().decode()
    return line.strip() if line.endswith("\n") else ""


def acknowledged(line: str) -> list[Acknowledged]:
    """What a worker acknowledged in one line."""
    said: list[Any] = json.loads(line)
    return [tuple(each) for each in said]


def main() -> None:
    """The worker itself; its arguments are those of `start`."""
    url, partitions, seed, facts = sys.argv[1:]
    sys.stdin.readline()
    with Ledger.open(url, partitions=int(partitions)) as ledger:
        sys.stdout.write(f"{ledger.identity.ledger_id}\n")
        sys.stdout.flush()
        sys.stdin.readline()
        commit_all(ledger, Random(int(seed)), int(facts))


def commit_all(ledger: Ledger, chance: Random, facts: int) -> None:
    numbers = list(range(facts))
    chance.shuffle(numbers)
    while numbers:
        size = chance.randint(1, BATCH_FACTS_MAX)
        batch, numbers = numbers[:size], numbers[size:]
        for items in by_partition([fact_number(number, ledger.partitions) for number in batch]):
            outcomes = [placed(outcome) for outcome in ledger.commit(items)]
            said = [
                (item.fact_key.hex(), str(outcome.position), outcome.version, outcome.is_new)
                for item, outcome in zip(items, outcomes, strict=True)
            ]
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()


def by_partition(items: list[Fact]) -> list[list[Fact]]:
    found: defaultdict[int, list[Fact]] = defaultdict(list)
    for item in items:
        found[item.partition].append(item)
    return list(found.values())


def commit_and_die() -> None:
    """Commits one fact to the ledger that the only argument names, and is killed before anything else can be done."""
    Ledger.open(sys.argv[1]).commit([fact(queued())])
    os.kill(os.getpid(), signal.SIGKILL)
