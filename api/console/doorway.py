"""The way into every page: who asks, may they, does a POST come from our own page; and every refusal as a page.

A page is a plain function from a Visit to an answer. It runs in a thread, because it asks the database.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.access import Caller, Scope
from api.audit.acts import Act, Way
from api.audit.witness import NOBODY, Witness
from api.console.rendering import query_url, see_other
from api.console.visit import Console, Visit
from api.errors import Forbidden, Unauthenticated
from api.http.bodies import read_body
from api.http.problems import kind_of
from api.http.questions import expect_known
from ledger.errors import LedgerError, NotFound
from projections.errors import RebuildRunning

COOKIE = "ledger_console"
SESSION_ENDED, FORM_LOST = "session", "form"
"""What the sign-in page says of a session that has ended: that alone, or that a form was not heeded either."""

WAY_ON: Mapping[type[Exception], tuple[str, str]] = {RebuildRunning: ("/console/operations", "Operations")}
"""Where a refusal leads to, and what that is called."""

logger = structlog.get_logger(__name__)

Handler = Callable[[Visit], Response] | Callable[[Visit], Awaitable[Response]]


class Page(NamedTuple):
    """A page that is looked at, what the audit trail calls that, and with which parameters it is asked."""

    path: str
    handler: Handler
    act: Act
    asks: Sequence[str] = ()
    scope: Scope = Scope.MASKED


class Action(NamedTuple):
    """A form that is sent. Only from our own pages: see `_expect_our_own_page`."""

    path: str
    handler: Handler
    act: Act
    scope: Scope = Scope.ADMIN


class Door(NamedTuple):
    """What needs no key: signing in and out, and what these pages are made of, which is no act and asks no database."""

    method: str
    path: str
    handler: Handler
    act: Act | None = None


def route_of(console: Console, way: Page | Action | Door) -> Route:
    """A way in as a route."""

    async def answer(request: Request) -> Response:
        visit = Visit(console, request, NOBODY)
        began_s = time.perf_counter()
        try:
            visit = await _let_in(visit, way)
            response = await _witnessed(visit, way)
        except (LedgerError, SQLAlchemyError) as error:
            response = refusal(visit, error)
        except Exception as error:
            logger.exception("a page of the console could not be made")
            response = refusal(visit, error)
        response.headers["Server-Timing"] = f"app;dur={(time.perf_counter() - began_s) * 1_000:.1f}"
        return response

    method = way.method if isinstance(way, Door) else "POST" if isinstance(way, Action) else "GET"
    return Route(way.path, answer, methods=[method])


def refusal(visit: Visit, error: Exception) -> Response:
    """What a person is told instead of a page."""
    kind = kind_of(error)
    if isinstance(error, Unauthenticated) and visit.service.access.keys:
        return see_other(sign_in_url(visit.request))
    detail = kind.detail or str(error)
    ways_on = [WAY_ON[type(error)]] if type(error) in WAY_ON else []
    return visit.page("refusal.html", kind.status, kind=kind, detail=detail, ways_on=ways_on)


def not_a_page(visit: Visit) -> Response:
    """What is asked for where there is nothing."""
    if not visit.request.path_params["rest"]:
        return see_other("/console")
    raise NotFound("there is no such page in the console")


def sign_in_url(request: Request) -> str:
    """The sign-in page, where to go on from there, and whether a session has ended meanwhile."""
    is_form = request.method == "POST"
    # A form is sent to a path below that of its page.
    target = request.url.path.rpartition("/")[0] if is_form else request.url.path
    if request.url.query and not is_form:
        target = f"{target}?{request.url.query}"
    ended = (FORM_LOST if is_form else SESSION_ENDED) if request.cookies.get(COOKIE) else None
    return query_url("sign-in", {"next": None if target == "/console" else target, "ended": ended})


async def _let_in(visit: Visit, way: Page | Action | Door) -> Visit:
    request = visit.request
    body = b""
    if request.method == "POST":
        _expect_our_own_page(request)
        body = await read_body(request.scope, request.receive)
    caller = _caller(visit.console, request)
    if caller is None and not isinstance(way, Door):
        raise Unauthenticated("sign in with an API key")
    return Visit(visit.console, request, caller or NOBODY, body)


def _caller(console: Console, request: Request) -> Caller | None:
    access = console.service.access
    if not access.keys:
        return access.caller(request)
    session_id = request.cookies.get(COOKIE)
    caller = console.sessions.caller(session_id, time.monotonic()) if session_id else None
    # A session lasts no longer than its key: one that was revoked, replaced or has expired ends it at once.
    return None if caller is None else access.still(caller)


def _expect_our_own_page(request: Request) -> None:
    # Browsers name the page that a form was sent from; it must be one of this very host. See also SameSite in signing_in.py.
    origins = request.headers.getlist("origin")
    if len(origins) != 1 or urlsplit(origins[0]).netloc != request.headers.get("host", ""):
        raise Forbidden(
            "The form did not come from a page of this console, so nothing was done. Reload the page, and try again."
        )


async def _witnessed(visit: Visit, way: Page | Action | Door) -> Response:
    """What a page answers, with what it owes the audit trail."""
    if way.act is None:
        return await cast("Awaitable[Response]", way.handler(visit))
    # Who signs in or out is told by those pages themselves.
    caller = NOBODY if isinstance(way, Door) else visit.caller
    names = (
        [name for name in way.asks if name != "id"] if isinstance(way, Page) else []
    )  # an id is what the entry is about
    asked = {name: visit.request.query_params.get(name) for name in names}
    witness = Witness(visit.service, Way.CONSOLE, way.act, caller, visit.request, asked)
    return await witness.sees(_let_ask(visit, way), partial(way.handler, visit))


async def _let_ask(visit: Visit, way: Page | Action | Door) -> None:
    if not isinstance(way, Door) and not visit.caller.may(way.scope):
        raise Forbidden(
            f"This needs a key with the scope {way.scope.value!r}; the key {visit.caller.name!r} does not have it."
        )
    if isinstance(way, Page):
        expect_known(visit.request, way.asks)
