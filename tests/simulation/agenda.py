"""Virtual time: a list of what is to happen, taken in order."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


@dataclass
class Agenda:
    """What is to happen and when, in microseconds since 1970. Of the same moment, what was planned first comes first."""

    now_us: int
    steps: int = 0
    _planned: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    _count: int = 0

    def after(self, wait_us: int, action: Callable[[], None]) -> None:
        """Plans an action."""
        self._count += 1
        heapq.heappush(self._planned, (self.now_us + wait_us, self._count, action))

    def run(self) -> None:
        """Lets everything happen that is planned, and what that brings; returns when nothing is left."""
        while self._planned:
            self.now_us, _, action = heapq.heappop(self._planned)
            self.steps += 1
            action()
