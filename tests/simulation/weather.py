"""When what fails: windows of bad weather, all drawn beforehand from the seed."""

from bisect import bisect_right
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from tests.simulation.agenda import DAY_US, HOUR_US, MINUTE_US, SECOND_US


class Sky(Enum):
    """What is wrong."""

    FAIR = "fair"
    AWAY = "the server does not run"
    BROKEN = "the disk gives I/O errors"
    FULL = "the disk is full"
    LOSSY = "the end of a commit is not learned"
    SLOW = "commits take up to two minutes"


WINDOWS_A_DAY = 3
GAP_MEAN_US = DAY_US // WINDOWS_A_DAY
LENGTHS_US = ((10 * SECOND_US, 0.4), (10 * MINUTE_US, 0.45), (HOUR_US, 0.12), (4 * HOUR_US, 0.03))
"""Mean lengths of windows and their shares: most pass between two attempts, few outlast the provider's 81 minutes."""


@dataclass
class Weather:
    """Bad windows from `start_us` to `end_us`; before and after the sky is fair."""

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    skies: list[Sky] = field(default_factory=list)

    def at(self, moment_us: int) -> Sky:
        """The sky at a moment."""
        index = bisect_right(self.starts, moment_us) - 1
        return self.skies[index] if index >= 0 and moment_us < self.ends[index] else Sky.FAIR


def weather(dice: Random, start_us: int, end_us: int) -> Weather:
    """Windows of all kinds, some minutes or hours apart."""
    drawn = Weather()
    moment_us = start_us
    while True:
        moment_us += round(dice.expovariate(1 / GAP_MEAN_US))
        mean_us = dice.choices([length for length, _ in LENGTHS_US], [share for _, share in LENGTHS_US])[0]
        length_us = 1 + round(dice.expovariate(1 / mean_us))
        if moment_us + length_us >= end_us:
            return drawn
        drawn.starts.append(moment_us)
        drawn.skies.append(dice.choice([sky for sky in Sky if sky is not Sky.FAIR]))
        moment_us += length_us
        drawn.ends.append(moment_us)
