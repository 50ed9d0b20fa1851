"""Why messages failed: grouped by the provider's code, the most frequent first."""

from collections.abc import Mapping
from typing import NamedTuple

from starlette.responses import Response

from api.console.rendering import query_url
from api.console.visit import Visit
from ledger.durations import SECOND_US
from ledger.errors import MalformedQuestion
from projections.queries_counts import FailureGroup

LOOKED_AT_MAX = 1_000


class Span(NamedTuple):
    """How far back it is looked."""

    words: str
    seconds: int | None


SPANS: Mapping[str, Span] = {
    "24h": Span("24 hours", 86_400),
    "7d": Span("7 days", 7 * 86_400),
    "ever": Span("Ever", None),
}


class Group(NamedTuple):
    """Failures with the same code, as this visitor may see it; `share` of 100, for the bar. `url` is None where no filter finds it."""

    code: str | None
    messages: int
    share: int
    latest_us: int
    url: str | None


def failures_page(visit: Visit) -> Response:
    """Failures by code."""
    span = visit.asked("since") or "7d"
    if span not in SPANS:
        raise MalformedQuestion(f"since: expected one of {', '.join(SPANS)}, got {span[:40]!r}")
    seconds = SPANS[span].seconds
    after_us = 0 if seconds is None else visit.now_us - seconds * SECOND_US
    failures = visit.service.read_models.failures_by_code(updated_after_us=after_us, look_at_most=LOOKED_AT_MAX)
    age = None if span == "ever" else span
    visit.tell(items=len(failures.groups))
    return visit.page(
        "failures.html",
        groups=[_group(visit, each, failures.groups[0].messages, age) for each in failures.groups],
        looked_at=failures.looked_at,
        is_all=failures.looked_at < LOOKED_AT_MAX,
        span=span,
        spans=SPANS,
    )


def _group(visit: Visit, group: FailureGroup, most: int, age: str | None) -> Group:
    code = group.failure_code
    shown = None if code is None else visit.said(code)
    # An address is shown to who reads it: a code in which something is masked does not stand in one. White space around
    # what is asked for does not count, so a code that begins or ends with some is not found by it.
    is_findable = code is not None and code != "" and shown == code == code.strip()
    url = query_url("messages", {"status": "failed", "code": code, "age": age}) if is_findable else None
    return Group(shown, group.messages, round(100 * group.messages / most), group.latest_us, url)
