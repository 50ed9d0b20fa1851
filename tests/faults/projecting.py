"""A crash of the projector and of a rebuild at every statement and every commit, on both engines, also with appends under way.

A process makes the read models of a log, catches them up and rebuilds them, and dies at its n-th step. Whoever comes
next must find nothing torn: the read models catch up, equal a fold of the log, and can be rebuilt.
"""

from random import Random

from ledger.ledger import Ledger
from ledger.reception import Reception
from tests.faults.checks import unverified
from tests.faults.figures import Figures
from tests.faults.load import Journal, Traffic
from tests.faults.read_models import read_model_violations
from tests.faults.steps import at_every_step_postgresql, at_every_step_sqlite

EVENTS = 800
PARTITIONS = 2


def projecting_sqlite(trials: int, seed: int) -> Figures:
    """On SQLite."""
    return at_every_step_sqlite("projecting-sqlite", "project", fill, _wrong, trials, seed)


def projecting_postgresql(trials: int, seed: int) -> Figures:
    """On PostgreSQL."""
    return at_every_step_postgresql("projecting-postgresql", "project", fill, _wrong, trials, seed)


def rebuilding_sqlite(trials: int, seed: int) -> Figures:
    """With appends under way, on SQLite."""
    return at_every_step_sqlite("rebuilding-sqlite", "rebuild-while-appending", fill, _wrong, trials, seed)


def rebuilding_postgresql(trials: int, seed: int) -> Figures:
    """With appends under way, on PostgreSQL."""
    return at_every_step_postgresql("rebuilding-postgresql", "rebuild-while-appending", fill, _wrong, trials, seed)


def fill(url: str, seed: int) -> None:
    """A log of outbound and inbound messages in two partitions."""
    with Ledger.open(url, partitions=PARTITIONS) as ledger:
        reception = Reception(None, ledger.partitions)
        traffic = Traffic("projected", Random(seed), Journal())
        ledger.commit([reception.receive((), traffic.next(), now_us=moment_us) for moment_us in range(EVENTS)])


def _wrong(url: str) -> list[str]:
    with Ledger.open_existing(url) as ledger:
        return [*unverified(ledger), *read_model_violations(ledger, rebuilding=True)]
