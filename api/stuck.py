"""How many messages are stuck, status by status, wherever that is told."""

from typing import NamedTuple

from ledger.provider import Status
from projections.read_models import ReadModels
from projections.stuck import STUCK_AFTER_S, stuck_filters

STUCK_COUNTED_MAX = 1_000


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
