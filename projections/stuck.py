"""When a message is called stuck: it has had the same unfinished status for longer than is usual.

Red Cloud retries a webhook for 81 minutes. A message that only its request speaks of is odd sooner: nothing at all has come.
"""

from collections.abc import Mapping
from dataclasses import replace

from ledger.durations import MINUTE_S, SECOND_US
from ledger.provider import Status
from projections.message_ranges import MessageFilters

ANY = MessageFilters()

STUCK_AFTER_S: Mapping[Status, int] = {
    Status.SUBMITTED: 15 * MINUTE_S,
    Status.ACCEPTED: 90 * MINUTE_S,
    Status.SENT: 90 * MINUTE_S,
}
"""Seconds since the last update; the other statuses are ends."""


def stuck_filters(status: Status, now_us: int, among: MessageFilters = ANY) -> MessageFilters:
    """The messages of a status that are stuck, among those that other filters name."""
    return replace(among, status=status, updated_before_us=now_us - STUCK_AFTER_S[status] * SECOND_US)
