"""The composition root: `create_app(settings)` opens everything, wires the table of routes, and closes everything.

The webhook's path is answered before Starlette's own routing, because it is the one that must be fast.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import msgspec
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as ASGIScope

from api.access import Caller, expect_scope
from api.audit.acts import Way
from api.audit.witness import Witness
from api.console import console_routes
from api.gauges import Gauges
from api.http.observing import observed
from api.http.openapi import openapi_document
from api.http.problems import answer_error, answer_http_exception
from api.http.questions import expect_known
from api.http.receiving import WebhookEndpoint
from api.http.routes import ROUTES, WEBHOOK
from api.http.routing import Guarded, Open
from api.http.seldom import Seldom
from api.service import Service
from api.settings import Settings
from ledger.errors import LedgerError

WEBHOOK_PATH = WEBHOOK.path.encode("ascii")


def create_app(settings: Settings) -> ASGIApp:
    """The whole server as an ASGI application. Raises what `Ledger.open` raises."""
    return app_of(Service.open(settings))


def app_of(service: Service) -> ASGIApp:
    """The application around a service that is open already; who runs it can tell the service that the end is near."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await service.stop()

    answer = partial(answer_error, Seldom(level="error"), Seldom())
    starlette = Starlette(
        routes=[*(_route(service, route) for route in ROUTES), *console_routes(service)],
        exception_handlers={
            LedgerError: answer,
            SQLAlchemyError: answer,
            HTTPException: answer_http_exception,
            Exception: answer,
        },
        lifespan=lifespan,
    )
    starlette.router.redirect_slashes = False
    starlette.state.openapi = msgspec.json.encode(openapi_document([WEBHOOK, *ROUTES]))
    service.metrics.registry.register(Gauges(service))
    webhook: ASGIApp = WebhookEndpoint(service)
    others = observed(starlette, service.metrics, service.request_ids)
    if service.traces is not None:
        webhook, others = service.traces.of_webhooks(webhook), service.traces.of_requests(others)
    return _entrance(webhook, others, starlette)


def _entrance(webhook: ASGIApp, others: ASGIApp, lifespan: ASGIApp) -> ASGIApp:
    async def enter(scope: ASGIScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await lifespan(scope, receive, send)
        raw_path: bytes = scope["raw_path"].partition(b"?")[0]
        if raw_path == WEBHOOK_PATH:
            return await webhook(scope, receive, send)
        # Routes are matched before percent-decoding, because "%2F" belongs to an id.
        scope["path"] = raw_path.decode("ascii", "replace")
        return await others(scope, receive, send)

    return enter


def _route(service: Service, route: Guarded | Open) -> Route:
    match route:
        case Guarded():
            return Route(route.path, _guarded(service, route), methods=[route.method])
        case Open(path, handler):

            async def answer(request: Request) -> Response:
                return await handler(service, request)

            return Route(path, answer, methods=["GET"])


def _guarded(service: Service, route: Guarded) -> Callable[[Request], Awaitable[Response]]:
    known = [parameter.name for parameter in route.description.parameters if parameter.place == "query"]

    async def answer(request: Request) -> Response:
        caller = service.access.caller(request)
        witness = Witness(service, Way.HTTP, route.act, caller, request, route.asked(request))
        return await witness.sees(_let_in(caller, request), partial(route.handler, service, caller, request))

    async def _let_in(caller: Caller, request: Request) -> None:
        expect_scope(caller, route.scope)
        expect_known(request, known)
        if route.first is not None:
            await route.first(service, request)

    return answer
