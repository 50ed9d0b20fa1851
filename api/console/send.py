"""The page of a request to send: what your application asked for, what Red Cloud promised, and what has become of it."""

from collections.abc import Mapping
from typing import NamedTuple

from starlette.responses import Response

from api.answers import written
from api.console.rendering import send_url
from api.console.visit import Visit
from api.promise import promise_of
from ledger.errors import MalformedQuestion
from ledger.provider import Status
from ledger.sends import Result
from projections.read_models import MessageStatus

RESULTS_SHOWN = 100


class Line(NamedTuple):
    """What was promised to one recipient, and what is true by now. `status` is None where the read model has not seen it yet.

    `after_us` is the time from the promise to this status; None while the message only waits.
    """

    message_id: str
    recipient: str | None
    answer: str
    status: Status | None
    changed_at_us: int | None
    after_us: int | None


def send_page(visit: Visit) -> Response:
    """A request under its idempotency key."""
    key = visit.id_in("idempotencyKey")
    recorded_at_us, accepted = visit.service.ledger.accepted_request(key)
    first = _first(visit)
    some = accepted.results[first : first + RESULTS_SHOWN]
    now = visit.service.read_models.current_statuses([result.message_id for result in some])
    text = accepted.request.get("text")
    visit.tell(items=len(accepted.results))
    return visit.page(
        "send.html",
        key=key,
        recorded_at_us=recorded_at_us,
        number=accepted.request.get("sendFrom"),
        reference=accepted.request.get("externalReference"),
        text=text if isinstance(text, str) and not visit.masked else None,
        is_withheld=text is not None and visit.masked,
        lines=[_line(visit, result, now) for result in some],
        first=first,
        total=len(accepted.results),
        more=_address(key, first + RESULTS_SHOWN) if first + RESULTS_SHOWN < len(accepted.results) else None,
        beginning=send_url(key) if first else None,
        rejected=[visit.said(written(visit.value(each))) for each in accepted.rejected],
    )


def _line(visit: Visit, result: Result, now: Mapping[str, MessageStatus]) -> Line:
    shown = (result.message_id, visit.phone(result.recipient), result.status)
    found = now.get(result.message_id)
    if found is None:
        return Line(*shown, None, None, None)
    message = found.message
    promise = promise_of(message, now_us=visit.now_us)
    waits = promise is None or message.status is Status.SUBMITTED
    after_us = None if waits or promise is None else promise.since(message.status_changed_at_us)
    return Line(*shown, message.status, message.status_changed_at_us, after_us)


def _first(visit: Visit) -> int:
    text = visit.asked("from") or "0"
    if not text.isascii() or not text.isdigit() or len(text) > len("1000"):
        raise MalformedQuestion(f"from: expected a whole number, got {text[:40]!r}")
    return int(text)


def _address(key: str, first: int) -> str:
    address = send_url(key)
    return f"{address}{'&' if '?' in address else '?'}from={first}"
