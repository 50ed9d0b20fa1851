"""Around every request but a webhook: its id, how long it took, and one line in the log output, without its address.

The path is told by its template: what stands in a path or a query may be personal.
"""

import logging
import time

import structlog
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.request_ids import REQUEST_ID_HEADER, RequestIds
from api.metrics import Metrics

NO_ROUTE = "none"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Any other word is counted as `other`: a method is whatever a client writes."""

logger = structlog.get_logger(__name__)
_is_told = logging.getLogger(__name__).isEnabledFor


def observed(app: ASGIApp, metrics: Metrics, request_ids: RequestIds) -> ASGIApp:
    """The application with its requests named, counted and timed."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        started_s = time.perf_counter()
        request_id = request_ids.of(scope["headers"])

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID_HEADER, request_id)]
                _note(metrics, scope, message["status"], time.perf_counter() - started_s)
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=request_id.decode("ascii"))  # of this request's own task
        await app(scope, receive, send_named)

    return answer


def _note(metrics: Metrics, scope: Scope, status: int, seconds: float) -> None:
    method = scope["method"] if scope["method"] in METHODS else "other"
    found = scope.get("route")  # Starlette's, also where the path is known and the method is not
    route = found.path if isinstance(found, Route) else NO_ROUTE
    metrics.request_answered(method, route, status, seconds)
    if _is_told(logging.DEBUG):  # a line that nobody wants would cost a tenth of a request
        logger.debug("answered", method=method, route=route, status=status, milliseconds=round(seconds * 1_000, 1))
