"""The page of a request to send: what your application asked for, what Red Cloud promised, and what has become of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from starlette.responses import Response

from api.answers import written
from api.console.rendering import send_url
from api.console.visit import Visit
from api.promise import promise_of
from ledger.errors import MalformedQuestion
from ledger.provider import Status
from ledger.sends import Result
from projections.failures import code_of
from projections.queries_messages import MessageStatus

RESULTS_SHOWN = 100


class Line(NamedTuple):
    """What was promised to one recipient, and what is true by now. `status` is None where the read model has not seen it yet.

    `after_us` is the time from the promise to this status; None while the message only waits.
    """

    message_id: str
    recipient: str | None
    answer: str
    status: Status | None
    failure_code: str | None
    changed_at_us: int | None
    after_us: int | None


class Tab(NamedTuple):
    """Those of the messages that have a status now, how many they are, and where they are listed."""

    words: str
    messages: int
    url: str
    is_current: bool


def send_page(visit: Visit) -> Response:
    """A request under its idempotency key: all of its messages, or those that have a status now."""
    key = visit.id_in("idempotencyKey")
    recorded_at_us, accepted = visit.service.ledger.accepted_request(key)
    first, wanted = _first(visit), _wanted(visit)
    now = visit.service.read_models.current_statuses([result.message_id for result in accepted.results])
    chosen = [each for each in accepted.results if wanted is None or _is_now(wanted, now.get(each.message_id))]
    some = chosen[first : first + RESULTS_SHOWN]
    text = accepted.request.get("text")
    visit.tell(items=len(some))
    return visit.page(
        "send.html",
        key=key,
        recorded_at_us=recorded_at_us,
        number=accepted.request.get("sendFrom"),
        reference=accepted.request.get("externalReference"),
        text=text if isinstance(text, str) and not visit.masked else None,
        is_withheld=text is not None and visit.masked,
        tabs=_tabs(key, accepted.results, now, wanted),
        lines=[_line(visit, result, now) for result in some],
        first=first,
        total=len(chosen),
        more=_address(key, wanted, first + RESULTS_SHOWN) if first + RESULTS_SHOWN < len(chosen) else None,
        beginning=_address(key, wanted) if first else None,
        rejected=[visit.said(written(visit.value(each))) for each in accepted.rejected],
    )


def _wanted(visit: Visit) -> Status | None:
    text = visit.asked("status")
    if text is not None and text not in set(Status):
        raise MalformedQuestion(f"status: expected one of {', '.join(Status)}, got {text[:40]!r}")
    return None if text is None else Status(text)


def _is_now(wanted: Status, found: MessageStatus | None) -> bool:
    return found is not None and found.message.status is wanted


def _tabs(key: str, results: Sequence[Result], now: Mapping[str, MessageStatus], wanted: Status | None) -> list[Tab]:
    """All of them, and each status that some have; nothing to choose from where all have the same."""
    messages = Counter(now[each.message_id].message.status for each in results if each.message_id in now)
    if wanted is None and len(messages) <= 1:
        return []
    statuses = [each for each in Status if messages[each] or each is wanted]
    return [
        Tab("All", len(results), _address(key), wanted is None),
        *(Tab(each.value, messages[each], _address(key, each), each is wanted) for each in statuses),
    ]


def _line(visit: Visit, result: Result, now: Mapping[str, MessageStatus]) -> Line:
    shown = (result.message_id, visit.phone(result.recipient), result.status)
    found = now.get(result.message_id)
    if found is None:
        return Line(*shown, None, None, None, None)
    message = found.message
    promise = promise_of(message, now_us=visit.now_us)
    waits = promise is None or message.status is Status.SUBMITTED
    after_us = None if waits or promise is None else promise.since(message.status_changed_at_us)
    code = code_of(message)
    shown_code = None if code is None else visit.said(code)
    return Line(*shown, message.status, shown_code, message.status_changed_at_us, after_us)


def _first(visit: Visit) -> int:
    text = visit.asked("from") or "0"
    if not text.isascii() or not text.isdigit() or len(text) > len("1000"):
        raise MalformedQuestion(f"from: expected a whole number, got {text[:40]!r}")
    return int(text)


def _address(key: str, status: Status | None = None, first: int = 0) -> str:
    address = send_url(key)
    asked = {name: text for name, text in (("status", status), ("from", first or None)) if text is not None}
    return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}" if asked else address
