"""What the ledger does right now, second by second: what the page of operations draws.

Sampled while somebody looks; one sample serves all who look. Read from the heads of the log, so that what other processes
record counts as well; outcomes are those of this process.
"""

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Lock
from typing import NamedTuple

from api.metrics import OUTCOMES
from api.service import Service
from projections.health import ProjectionStatus

SAMPLE_EVERY_S = 1.0
SAMPLES_MAX = 120
REFUSED = "refused"
FEW = 100
"""Events that are mostly projected before the page is there."""
COUNTERS = ("ledger_webhooks_total", "ledger_webhooks_refused_total")


class Sample(NamedTuple):
    """The state of the ledger at a moment (seconds of a clock that only goes forward)."""

    at_s: float
    events: int
    outcomes: Counter[str]
    projections: list[ProjectionStatus]

    @property
    def lag_events(self) -> int:
        """How far the slowest read model is behind."""
        return max((each.lag_events for each in self.projections), default=0)

    @property
    def behind(self) -> int:
        """The same where lists may be misleading; 0 where they are as good as up to date."""
        return max((each.lag_events for each in self.projections if each.is_behind or each.lag_events > FEW), default=0)


class Rate(NamedTuple):
    """Events a second, and how far the slowest read model was behind, about a moment."""

    events_per_s: float
    lag_events: int


@dataclass(slots=True)
class Pulse:
    """The latest samples of a running server. Thread-safe."""

    service: Service
    _samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=SAMPLES_MAX + 1))
    _lock: Lock = field(default_factory=Lock)

    def feel(self) -> Sample:
        """The latest sample, taken now where the one before is a second old."""
        with self._lock:
            now_s = time.monotonic()
            if not self._samples or now_s - self._samples[-1].at_s >= SAMPLE_EVERY_S * 0.9:
                self._samples.append(self._sample(now_s))
            return self._samples[-1]

    def rates(self) -> list[Rate]:
        """One for each sample but the first, oldest first."""
        with self._lock:
            samples = list(self._samples)
        return [
            Rate(max(0, after.events - before.events) / (after.at_s - before.at_s), after.lag_events)
            for before, after in pairwise(samples)
        ]

    def _sample(self, now_s: float) -> Sample:
        events = sum(head.position for head in self.service.ledger.heads())
        return Sample(now_s, events, self._outcomes(), self.service.read_models.projections())

    def _outcomes(self) -> Counter[str]:
        """Webhooks that this process answered, by what became of them."""
        found: Counter[str] = Counter(dict.fromkeys((*OUTCOMES, REFUSED), 0))
        # Only these two are collected: others of the registry ask the database.
        for metric in self.service.metrics.registry.restricted_registry(COUNTERS).collect():
            for sample in metric.samples:
                if sample.name in COUNTERS:
                    found[sample.labels.get("outcome", REFUSED)] += int(sample.value)
        return found
