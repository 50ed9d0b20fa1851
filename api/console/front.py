"""The front page: one box to search with, the five questions that people come with, and how the ledger is."""

from typing import NamedTuple

from starlette.responses import Response

from api.console.listed import line_of
from api.console.quarantine import waiting
from api.console.visit import Visit
from api.stuck import StuckCount, stuck_counts
from ledger.durations import DAY_US
from ledger.provider import Status
from projections.message_ranges import MessageFilters
from projections.queries_messages import MessageStatus, Page

LATEST_SHOWN = 8
COUNTED_MAX = 1_000


class Health(NamedTuple):
    """What the front page says of the ledger itself."""

    failed_today: int
    stuck: list[StuckCount]
    quarantined: int
    parked: int

    @property
    def stuck_total(self) -> int:
        """Stuck messages of all statuses."""
        return sum(each.messages for each in self.stuck)


def front_page(visit: Visit) -> Response:
    """The front page."""
    read_models = visit.service.read_models
    latest: Page[MessageStatus] = read_models.messages(MessageFilters(), limit=LATEST_SHOWN)
    visit.tell(items=len(latest.items))
    return visit.page(
        "front.html",
        health=_health(visit),
        latest=[line_of(visit, status) for status in latest.items],
        counted_max=COUNTED_MAX,
    )


def _health(visit: Visit) -> Health:
    sample = visit.console.pulse.feel()
    failed = MessageFilters(status=Status.FAILED, updated_after_us=visit.now_us - DAY_US)
    return Health(
        failed_today=visit.service.read_models.count_messages(failed, at_most=COUNTED_MAX),
        stuck=stuck_counts(visit.service.read_models, visit.now_us),
        quarantined=waiting(visit),
        parked=sum(each.parked for each in sample.projections),
    )
