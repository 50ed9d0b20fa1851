"""From values to HTML: the templates, the words in which times and numbers are told, and the headers of every page.

Everything is escaped unless it is `Markup` made here. Text of strangers goes through `visible`, so that nothing in it steers
the reader's screen.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import Response

from api.visible import visible
from ledger.durations import MINUTE_S, SECOND_US, lasting, took
from ledger.times import EPOCH, MICROSECOND, write_time

HERE = Path(__file__).parent
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PAGE_HEADERS = SECURITY_HEADERS | {"Cache-Control": "no-store"}

NOT_A_STEP = frozenset({"", ".", ".."})
"""Ids that no path can carry: a browser would take them for steps of the path."""


def html(content: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A page with the headers that every page has."""
    return Response(content, status, PAGE_HEADERS | dict(headers or {}), "text/html; charset=utf-8")


def see_other(location: str, headers: Mapping[str, str] | None = None) -> Response:
    """Go there, with GET."""
    return Response(None, 303, PAGE_HEADERS | {"Location": location} | dict(headers or {}))


def message_url(message_id: str) -> str:
    """The page of a message."""
    return _url("message", message_id)


def event_url(message_id: str, version: int) -> str:
    """The page of one event of a message."""
    if message_id in NOT_A_STEP:
        return query_url("event", {"id": message_id, "version": str(version)})
    return f"{message_url(message_id)}/events/{version}"


def event_body_url(message_id: str, version: int) -> str:
    """The exact bytes of one event of a message."""
    if message_id in NOT_A_STEP:
        return query_url("event/body", {"id": message_id, "version": str(version)})
    return f"{event_url(message_id, version)}/body"


def conversation_url(conversation_id: str) -> str:
    """The page of a conversation."""
    return _url("conversation", conversation_id)


def send_url(idempotency_key: str) -> str:
    """The page of a request to send."""
    return _url("send", idempotency_key)


def query_url(page: str, query: Mapping[str, str | None]) -> str:
    """A page of the console with a query; what is None or empty is left out, save for ids."""
    given = {name: text for name, text in query.items() if text or (name == "id" and text is not None)}
    return f"/console/{page}?{urlencode(given, errors='replace')}" if given else f"/console/{page}"


def _url(what: str, key: str) -> str:
    if key in NOT_A_STEP:
        return query_url(what, {"id": key})
    return f"/console/{what}s/{quote(key, safe='', errors='replace')}"


def when(time_us: int | None) -> Markup:
    """A moment for people, in UTC; exact to the microsecond for who points at it."""
    if time_us is None:
        return Markup('<span class="none">not told</span>')
    exact = write_time(time_us)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact, exact, _written(time_us))


def clock(time_us: int) -> Markup:
    """The hour of a moment to the millisecond, where the day is told elsewhere."""
    exact = write_time(time_us)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact, exact, exact[11:23])


def day_of(time_us: int) -> str:
    """`23 Nov 2026`, in UTC."""
    moment = EPOCH + _bounded(time_us) * MICROSECOND
    return f"{moment.day} {moment:%b %Y}"


def ago(time_us: int, now_us: int) -> Markup:
    """How long ago a moment was; the page's script keeps it true, and paper tells the moment."""
    exact = write_time(time_us)
    return Markup('<time class="ago" datetime="{}" title="{}" data-on-paper="{}">{}</time>').format(
        exact, exact, _written(time_us), ago_words(time_us, now_us)
    )


def ago_words(time_us: int, now_us: int) -> str:
    """`just now`, `5 min ago`, `in 3 h`."""
    seconds = (now_us - time_us) // SECOND_US
    if -MINUTE_S < seconds < MINUTE_S // 6:
        return "just now"
    return f"in {lasting(-seconds)}" if seconds < 0 else f"{lasting(seconds)} ago"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 event`, `2 events`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def visible_lines(text: str) -> str:
    """Text of strangers that keeps its own lines, and nothing else that steers."""
    return "\n".join(map(visible, text.replace("\r\n", "\n").split("\n")))


@cache
def static_files() -> Mapping[str, bytes]:
    """The style sheet, the script and the icon, by name."""
    return {path.name: path.read_bytes() for path in sorted((HERE / "static").iterdir()) if path.is_file()}


@cache
def static_url(name: str) -> str:
    """Where a static file is; the digest makes a new address of a new content."""
    return f"/console/static/{name}?{hashlib.sha256(static_files()[name]).hexdigest()[:12]}"


@cache
def templates() -> Environment:
    """The templates with their filters."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "ago": ago,
        "clock": clock,
        "lasting": lasting,
        "lines": visible_lines,
        "shown": lambda text: visible(str(text)),
        "took": took,
        "when": when,
    }
    environment.globals |= {
        "conversation_url": conversation_url,
        "counted": counted,
        "event_body_url": event_body_url,
        "event_url": event_url,
        "message_url": message_url,
        "query_url": query_url,
        "send_url": send_url,
        "static_url": static_url,
    }
    return environment


def _written(time_us: int) -> str:
    return f"{day_of(time_us)}, {write_time(time_us)[11:19]} UTC"


def _bounded(time_us: int) -> int:
    # As write_time does: a provider's time may lie beyond the calendar.
    return min(max(time_us, -62_135_596_800_000_000), 253_402_300_799_999_999)
