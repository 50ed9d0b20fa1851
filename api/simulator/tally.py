"""What has happened so far in a running simulation: the one value here that changes; `summary.py` reads it."""

from array import array
from collections import Counter
from dataclasses import dataclass, field

from api.simulator.facts import Fact

NO_ANSWER = "noAnswer"
"""Stands for a status where there was none: refused or reset connections, time run out."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts of deliveries and of attempts, and which facts the ledger must (`acknowledged`) or may hold (`attempted`).

    Of a fact in `given_up` a delivery was refused to the end; another one of it may have been acknowledged.

    `outcomes` counts acknowledged deliveries by the answer's `outcome`; `statuses` counts attempts by HTTP status.
    """

    sent: int = 0
    attempts: int = 0
    retried: int = 0
    refused: int = 0
    sends_recorded: int = 0
    sends_refused: int = 0
    no_answer: str = ""
    statuses: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    latencies_s: "array[float]" = field(default_factory=lambda: array("d"))
    attempted: set[Fact] = field(default_factory=set)
    acknowledged: set[Fact] = field(default_factory=set)
    given_up: set[Fact] = field(default_factory=set)

    @property
    def finished(self) -> int:
        """Deliveries that were acknowledged or given up."""
        return self.outcomes.total() + self.refused
