"""What is stuck or lost: messages that have waited too long, status by status, and whatever the ledger could not take in."""

from typing import NamedTuple

from starlette.responses import Response

from api.console.listed import Line, line_of
from api.console.quarantine import waiting
from api.console.rendering import query_url
from api.console.visit import Visit
from api.stuck import STUCK_COUNTED_MAX, StuckCount, dated_ahead, stuck_counts
from api.verifying import known_verification
from ledger.provider import Status
from projections.stuck import stuck_filters

STUCK_SHOWN = 20


class Stuck(NamedTuple):
    """Some messages of a status that are stuck; `more` is where all of them are."""

    stuck: StuckCount
    lines: list[Line]
    more: str | None


def stuck_page(visit: Visit) -> Response:
    """The stuck messages, and what else may be lost."""
    counts = stuck_counts(visit.service.read_models, visit.now_us)
    pulse = visit.console.pulse.feel()
    groups = [_stuck(visit, count) for count in counts]
    visit.tell(items=sum(len(each.lines) for each in groups))
    return visit.page(
        "stuck.html",
        groups=groups,
        counted_max=STUCK_COUNTED_MAX,
        ahead=dated_ahead(visit.service.read_models, visit.now_us),
        quarantined=waiting(visit),
        projections=pulse.projections,
        verified=known_verification(visit.service.trail),
    )


def _stuck(visit: Visit, count: StuckCount) -> Stuck:
    if not count.messages:
        return Stuck(count, [], None)
    page = visit.service.read_models.messages(stuck_filters(count.status, visit.now_us), limit=STUCK_SHOWN)
    age = "over-15m" if count.status is Status.SUBMITTED else "over-90m"
    more = query_url("messages", {"status": count.status.value, "age": age}) if page.next else None
    return Stuck(count, [line_of(visit, status) for status in page.items], more)
