"""How many messages are stuck, status by status, wherever that is told."""

from typing import NamedTuple

from ledger.durations import MINUTE_S, SECOND_US
from ledger.provider import Status
from projections.message_ranges import MessageFilters
from projections.read_models import ReadModels
from projections.stuck import STUCK_AFTER_S, stuck_filters

STUCK_COUNTED_MAX = 1_000
AHEAD_US = MINUTE_S * SECOND_US
"""Clocks of several servers may differ by less."""


class StuckCount(NamedTuple):
    """How many messages of a status are stuck (at most a thousand are counted), and after how long one is."""

    status: Status
    messages: int
    after_s: int


def stuck_counts(read_models: ReadModels, now_us: int) -> list[StuckCount]:
    """How many are stuck, by status."""
    return [
        StuckCount(
            status, read_models.count_messages(stuck_filters(status, now_us), at_most=STUCK_COUNTED_MAX), after_s
        )
        for status, after_s in STUCK_AFTER_S.items()
    ]


def dated_ahead(read_models: ReadModels, now_us: int) -> int:
    """How many messages were updated at a time that is still to come, because a clock of ours was ahead: nobody sees them wait."""
    ahead = MessageFilters(updated_after_us=now_us + AHEAD_US)
    return read_models.count_messages(ahead, at_most=STUCK_COUNTED_MAX)
