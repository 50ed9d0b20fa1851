"""Traces: OpenTelemetry's spans around what the ledger does. Imported only where somebody collects them (`api/tracing.py`).

A span tells a route's template, our own words for outcomes, positions in the log, and the request id that the log lines have
too: never an id of a person or message, a number, a body, an address, or the text of an error.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import structlog
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    format_span_id,
    format_trace_id,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.observing import METHODS
from api.http.request_ids import REQUEST_ID_HEADER
from api.http.routes import OPEN, WEBHOOK
from api.metrics import KIND_OF_TOPIC, OTHER_KIND
from api.program_version import program_version
from ledger.facts import Fact, Item, Outcome, Placed, Quarantined
from ledger.group_commit import Commit
from projections.checkpoints import OvertakenByAnother
from projections.errors import RebuildCancelled, RebuildPaused
from projections.spans import Attributes

SERVICE = "lifecycle-ledger"
CLOSE_S = 2.0
"""A collector that does not answer must not hold up the end of a server for longer."""

ASKED_BY_MACHINES = frozenset(route.path for route in OPEN)
"""Not traced: they are asked every few seconds, and say the same each time."""

NO_FAILURES = (OvertakenByAnother, RebuildCancelled, RebuildPaused)
SERVER_FAULTS = 500

_PROPAGATOR = TraceContextTextMapPropagator()


@dataclass(slots=True)
class Committed:
    """A transaction of the log: from when the writer took what waited until it was on disk (Unix nanoseconds)."""

    database_system: str
    began_ns: int
    ended_ns: int
    items: int
    error: str | None


@dataclass(slots=True)
class Submitted:
    """An item on its way to the disk. `committed` and `outcome` are filled in by the writer, before anybody is answered."""

    item: Item
    at_ns: int
    committed: Committed | None = None
    outcome: Outcome | None = None


_SUBMITTED: ContextVar[list[Submitted] | None] = ContextVar("what the request at hand submitted", default=None)


def provider_of(exporter: str) -> TracerProvider:
    """What samples and sends, as the standard settings say."""
    resource = Resource.create({SERVICE_VERSION: program_version()})
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    if exporter == "console":
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stderr)))
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - slow to import

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Traces:
    """The spans of one process. Whoever wants some of them sets OTEL_TRACES_SAMPLER."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(SERVICE, program_version())
        self._waiting: dict[int, Submitted] = {}

    def close(self, within_s: float = CLOSE_S) -> None:
        """Sends what waits, for no longer than this."""
        closing = threading.Thread(target=self._provider.shutdown, name="ledger-traces", daemon=True)
        closing.start()
        closing.join(within_s)

    def of_webhooks(self, app: ASGIApp) -> ASGIApp:
        """The webhook's endpoint, each delivery a trace of its own: a `traceparent` from outside is linked to, and decides nothing."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            sender = get_current_span(_context_of(scope)).get_span_context()
            # Without its `tracestate`, which is any text that a stranger likes.
            links = [Link(_ids_of(sender))] if sender.is_valid else []
            with self._served(scope, Context(), links) as (span, submitted):
                _tell_route(span, scope, WEBHOOK.path)
                await app(scope, receive, _noting(span, send))
                for each in submitted:
                    span.set_attributes(_told_of(each))

        return answer

    def of_requests(self, app: ASGIApp) -> ASGIApp:
        """All other ways in; a `traceparent` is gone on with."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] in ASKED_BY_MACHINES:
                await app(scope, receive, send)
                return
            with self._served(scope, _context_of(scope), []) as (span, _):
                try:
                    await app(scope, receive, _noting(span, send))
                finally:
                    route = scope.get("route")
                    _tell_route(span, scope, route.path if isinstance(route, Route) else None)

        return answer

    def submit(self, item: Item, submit: Callable[[Item], asyncio.Future[Outcome]]) -> asyncio.Future[Outcome]:
        """Submits an item, and remembers when, for the request at hand."""
        of_request = _SUBMITTED.get()
        if of_request is None:
            return submit(item)
        submitted = Submitted(item, time.time_ns())
        self._waiting[id(item)] = submitted
        try:
            answer = submit(item)
        except BaseException:
            del self._waiting[id(item)]
            raise
        of_request.append(submitted)
        return answer

    def commits(self, commit: Commit, database_system: str) -> Commit:
        """The writer's commit, timed for whoever waits for it: one transaction is seen in the trace of each of its deliveries."""

        async def timed(items: Sequence[Item]) -> Sequence[Outcome]:
            began_ns = time.time_ns()
            outcomes: Sequence[Outcome] = []
            error: str | None = None
            try:
                outcomes = await commit(items)
            except BaseException as failure:
                error = type(failure).__name__
                raise
            finally:
                done = Committed(database_system, began_ns, time.time_ns(), len(items), error)
                for number, item in enumerate(items):
                    submitted = self._waiting.pop(id(item), None)
                    if submitted is not None:
                        submitted.outcome = outcomes[number] if outcomes else None
                        submitted.committed = done
            return outcomes

        return timed

    @contextmanager
    def stretch(self, name: str, attributes: Attributes) -> Iterator[None]:
        """A stretch of work of the read models; what is in the attributes at its end is told."""
        with (
            self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span,
            _in_logs(span),
        ):
            try:
                yield
            except BaseException as error:
                _tell_error(span, error)
                raise
            finally:
                span.set_attributes({f"ledger.{key}": value for key, value in attributes.items()})

    @contextmanager
    def _served(self, scope: Scope, context: Context, links: Sequence[Link]) -> Iterator[tuple[Span, list[Submitted]]]:
        """The span of a request, and under it those of the transactions that it waited for."""
        attributes: dict[str, str] = {
            "http.request.method": _method(scope) or "_OTHER",
            "url.scheme": scope["scheme"],
            "network.protocol.version": scope["http_version"],
        }
        span = self._tracer.start_span(_method(scope) or "HTTP", context, SpanKind.SERVER, attributes, links)
        submitted: list[Submitted] = []
        token = _SUBMITTED.set(submitted if span.is_recording() else None)
        try:
            with use_span(span, record_exception=False, set_status_on_exception=False), _in_logs(span):
                yield span, submitted
        except BaseException as error:
            _tell_error(span, error)
            raise
        finally:
            _SUBMITTED.reset(token)
            self._add_commits(span, submitted)
            span.end()

    def _add_commits(self, span: Span, submitted: Sequence[Submitted]) -> None:
        context = set_span_in_context(span)
        # What a send brings is many items, and few transactions.
        seen: set[int] = set()
        for each in submitted:
            done = each.committed
            if done is None or id(done) in seen:
                continue
            seen.add(id(done))
            self._tracer.start_span("queue", context, start_time=each.at_ns).end(done.began_ns)
            attributes: Attributes = {"db.system.name": done.database_system, "db.operation.batch.size": done.items}
            commit = self._tracer.start_span("commit", context, SpanKind.CLIENT, attributes, start_time=done.began_ns)
            if done.error is not None:
                commit.set_attribute("error.type", done.error)
                commit.set_status(StatusCode.ERROR)
            commit.end(done.ended_ns)


def _context_of(scope: Scope) -> Context:
    """The caller's context, where a `traceparent` that makes sense came."""
    carrier: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        if name in (b"traceparent", b"tracestate"):
            carrier.setdefault(name.decode(), []).append(value.decode("latin-1"))
    if len(carrier.get("traceparent", ())) != 1:
        return Context()
    return _PROPAGATOR.extract(carrier, Context())


def _ids_of(sender: SpanContext) -> SpanContext:
    """A context's two ids alone."""
    return SpanContext(sender.trace_id, sender.span_id, is_remote=True)


def _noting(span: Span, send: Send) -> Send:
    """Tells the span what is answered."""

    async def send_noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            span.set_attribute("http.response.status_code", status)
            for name, value in message.get("headers", ()):
                if name == REQUEST_ID_HEADER:
                    span.set_attribute("http.response.header.x-request-id", [value.decode("ascii")])
            if status >= SERVER_FAULTS:
                span.set_attribute("error.type", str(status))
                span.set_status(StatusCode.ERROR)
        await send(message)

    return send_noted


def _tell_route(span: Span, scope: Scope, route: str | None) -> None:
    """By its template: what stands in a path may be personal."""
    if route is not None:
        span.set_attribute("http.route", route)
        span.update_name(f"{_method(scope) or 'HTTP'} {route}")


def _tell_error(span: Span, error: BaseException) -> None:
    span.set_attribute("error.type", type(error).__name__)
    if not isinstance(error, NO_FAILURES):
        span.set_status(StatusCode.ERROR)


def _method(scope: Scope) -> str | None:
    return scope["method"] if scope["method"] in METHODS else None


def _told_of(submitted: Submitted) -> dict[str, str]:
    """What became of a webhook, in the words of the metrics; by its position it is found in the log."""
    match submitted.item, submitted.outcome:
        case Fact(topic=topic), Placed(position, _, is_new):
            return {
                "ledger.outcome": "recorded" if is_new else "duplicate",
                "ledger.kind": KIND_OF_TOPIC.get(topic, OTHER_KIND),
                "ledger.position": str(position),
            }
        case _, Quarantined():
            return {"ledger.outcome": "quarantined", "ledger.kind": OTHER_KIND}
        case _:
            return {}


@contextmanager
def _in_logs(span: Span) -> Iterator[None]:
    """Log lines name the trace, where there is one to be found."""
    context = span.get_span_context()
    if not span.is_recording():
        yield
        return
    with structlog.contextvars.bound_contextvars(
        trace_id=format_trace_id(context.trace_id), span_id=format_span_id(context.span_id)
    ):
        yield
