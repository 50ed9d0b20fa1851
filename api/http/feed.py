"""GET /feed and GET /feed/stream: every event of the ledger, in order, for programs with a checkpoint of their own."""

import weakref
from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.access import Caller
from api.answers import feed_answer, feed_event_answer
from api.audit.acts import Act, Way
from api.audit.witness import Witness, tell
from api.errors import TooManyStreams
from api.http.problems import kind_of
from api.http.questions import query_limit, query_text
from api.http.responses import FOR_THE_CALLER, json_answer
from api.service import Service
from ledger.errors import LedgerError, MalformedQuestion
from ledger.positions import Cursor

logger = structlog.get_logger(__name__)

STREAM_PAGE_EVENTS = 200
STREAMS_MAX = 64
POLL_S = 0.25
HEARTBEAT_POLLS = 60
EVENT_START = b"id: "
STREAM_HEADERS = FOR_THE_CALLER | {"X-Accel-Buffering": "no"}


def get_feed(service: Service, caller: Caller, request: Request) -> Response:
    """A page of events after a cursor; `next` is always there to poll with."""
    cursor = _cursor(service, query_text(request, "after"))
    entries, following = service.ledger.feed(cursor, query_limit(request))
    tell(request, items=len(entries))
    return json_answer(feed_answer(entries, str(following), masked=caller.is_masked))


async def get_feed_stream(service: Service, caller: Caller, request: Request) -> Response:
    """The same as server-sent events, resumed after `Last-Event-ID` (or `after`)."""
    last_event_id = request.headers.get("last-event-id")
    resumed = last_event_id or query_text(request, "after")
    cursor = _cursor(service, resumed, "Last-Event-ID" if last_event_id else "after")
    if resumed:
        await service.streams.ask(service.ledger.feed, cursor, 0)  # refused now, rather than by a stream that ends
    if request.method == "HEAD":
        return Response(None, 200, STREAM_HEADERS, "text/event-stream")
    if service.open_streams >= STREAMS_MAX:
        raise TooManyStreams(f"{STREAMS_MAX} streams are open already; use GET /feed, or try again")
    witness = Witness(service, Way.HTTP, Act.FOLLOW_FEED, caller, request, {"after": resumed})
    return FeedStream(witness, cursor)


class FeedStream(StreamingResponse):
    """A stream that has its place from when it is answered with: many may ask before the first of them begins."""

    def __init__(self, witness: Witness, cursor: Cursor) -> None:
        super().__init__(_follow(witness, cursor), 200, STREAM_HEADERS, "text/event-stream")
        witness.service.open_streams += 1
        # Given back once, at its end; or when it is thrown away because it never began (its audit entry could not be kept).
        self._leave = weakref.finalize(self, _give_back, witness.service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streams."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


def _give_back(service: Service) -> None:
    service.open_streams -= 1


def _cursor(service: Service, text: str | None, name: str = "after") -> Cursor:
    if not text:
        return Cursor.start(service.ledger.partitions)
    try:
        return Cursor.parse(text, service.ledger.partitions)
    except MalformedQuestion as error:
        raise MalformedQuestion(f"{name}: {error}") from None


async def _follow(witness: Witness, cursor: Cursor) -> AsyncIterator[bytes]:
    """Ends when the server closes, the client goes away, or its key is revoked, expires or gets other scopes."""
    service, items = witness.service, 0
    try:
        async for page in _pages(service, witness.caller, cursor):
            items += page.events
            yield page.content
    finally:
        witness.ended(items=items)


class StreamPage(NamedTuple):
    """Some events as they are sent, how many they are, and the cursor after them."""

    content: bytes
    events: int
    cursor: Cursor


async def _pages(service: Service, caller: Caller, cursor: Cursor) -> AsyncIterator[StreamPage]:
    yield StreamPage(b": connected\n\n", 0, cursor)
    idle_polls = 0
    while not service.closing.is_set() and service.access.still(caller) == caller:
        try:
            page = await service.streams.ask(_page, service, caller, cursor)
        except (LedgerError, SQLAlchemyError) as error:
            _tell_end(error)
            return  # the client reconnects with its last id
        cursor = page.cursor
        if page.events:
            yield page
            continue
        await service.appended.wait(POLL_S)
        idle_polls += 1
        if idle_polls % HEARTBEAT_POLLS == 0:
            yield StreamPage(b": still here\n\n", 0, cursor)


def _page(service: Service, caller: Caller, cursor: Cursor) -> StreamPage:
    """The next events, made ready in the thread that reads them: the event loop has webhooks to take."""
    entries, _ = service.ledger.feed(cursor, STREAM_PAGE_EVENTS)
    written: list[bytes] = []
    for entry in entries:
        cursor = cursor.advanced(entry.position)
        written.append(_event(str(cursor), msgspec.json.encode(feed_event_answer(entry, masked=caller.is_masked))))
    return StreamPage(b"".join(written), len(entries), cursor)


def _tell_end(error: Exception) -> None:
    logger.error("a stream of the feed ended early", problem=kind_of(error).slug, error=type(error).__name__)


def _event(event_id: str, content: bytes) -> bytes:
    # A raw body may have line ends between its tokens; in JSON they are white space, in an event stream they end a line.
    line = content.replace(b"\r", b" ").replace(b"\n", b" ")
    return EVENT_START + event_id.encode("ascii") + b"\ndata: " + line + b"\n\n"
