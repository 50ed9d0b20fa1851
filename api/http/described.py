"""How a route is told to other people's programs: the words of which `api/http/routes.py` makes its table.

Pure values. `api/http/openapi.py` writes them as OpenAPI 3.1; a test holds them equal to what the server really does.
"""

from typing import Annotated, Literal, NamedTuple

from msgspec import Meta

from api.audit.acts import Act
from api.http.problems import PROBLEM_MEDIA_TYPE
from api.shapes import Identifier, PositionText, Time
from ledger.ledger import HISTORY_EVENTS_MAX
from ledger.provider import Direction, Status
from projections.page_cursors import LIMIT_DEFAULT, LIMIT_MAX

JSON_MEDIA_TYPE = "application/json"
BYTES_MEDIA_TYPE = "application/octet-stream"
EVENT_STREAM_MEDIA_TYPE = "text/event-stream"
METRICS_MEDIA_TYPE = "text/plain"


class Parameter(NamedTuple):
    """What can be asked with; `shape` is a type that msgspec can describe."""

    name: str
    place: Literal["path", "query", "header"]
    shape: object
    description: str


class Content(NamedTuple):
    """A body: of a request, or of an answer."""

    shape: object
    media_type: str = JSON_MEDIA_TYPE


class Answer(NamedTuple):
    """An answer that is no refusal; `headers` are names of HEADERS in `api/http/openapi.py`."""

    status: int
    description: str
    content: Content | None = None
    headers: tuple[str, ...] = ()


class Description(NamedTuple):
    """A route in words and types. `problems` are the statuses of its refusals, beside those that the kind of route brings."""

    summary: str
    group: str
    answers: tuple[Answer, ...]
    problems: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Content | None = None


def json_of(shape: object, description: str, status: int = 200, headers: tuple[str, ...] = ()) -> Answer:
    """An answer in JSON."""
    return Answer(status, description, Content(shape), headers)


def bytes_of(description: str) -> Answer:
    """Exact bytes as an answer."""
    return Answer(200, description, Content(bytes, BYTES_MEDIA_TYPE))


def limit_of(items: str, default: int) -> Parameter:
    """How much a page may have."""
    shape = Annotated[int, Meta(ge=1, le=LIMIT_MAX, extra_json_schema={"default": default})]
    return Parameter("limit", "query", shape, f"How many {items} a page may have; {default} unless told.")


PROBLEM = PROBLEM_MEDIA_TYPE

MESSAGE_ID = Parameter("messageId", "path", Identifier, "Red Cloud's messageId, percent-encoded (`%2F` belongs to it).")
VERSION = Parameter("version", "path", Annotated[int, Meta(ge=1)], "The event's version: 1, 2, 3 … within its message.")
CONVERSATION_ID = Parameter("conversationId", "path", str, "The conversationId, percent-encoded.")
IDEMPOTENCY_KEY = Parameter("idempotencyKey", "path", Identifier, "The key of the request to send, percent-encoded.")
QUARANTINE_ID = Parameter("id", "path", str, "A quarantineId.")
PROJECTION = Parameter("name", "path", str, "`message-status` or `inbound-conversations`.")

LIMIT = limit_of("items", LIMIT_DEFAULT)
HISTORY_LIMIT = limit_of("events", HISTORY_EVENTS_MAX)
CURSOR = Parameter("cursor", "query", str, "The `next` of an earlier page.")
AFTER = Parameter("after", "query", str, "The `next` of an earlier page; from the beginning without it.")
LAST_EVENT_ID = Parameter("Last-Event-ID", "header", str, "The id of the last event that was received.")
IF_NONE_MATCH = Parameter(
    "If-None-Match", "header", str, "ETags of answers that the client has: 304 where one still holds."
)
WAIT_FOR = Parameter(
    "waitFor", "query", PositionText, "Waits until the read model has reached this position, else 504."
)
AS_OF = Parameter("asOf", "query", PositionText | Time, "The status as the ledger knew it at this time or position.")

MESSAGE_FILTERS = (
    Parameter("status", "query", Status, "Messages of this status."),
    Parameter("direction", "query", Direction, "Outbound or inbound messages."),
    Parameter("externalReference", "query", str, "Messages of this business object."),
    Parameter("providerMessageRef", "query", str, "Messages that Red Cloud itself knows by this reference."),
    Parameter("numberId", "query", str, "Messages from or to this number of ours."),
    Parameter("phone", "query", str, "Messages with this phone at either end, as Red Cloud wrote it."),
    Parameter("failureCode", "query", str, "Messages that failed with this code."),
    Parameter("updatedAfter", "query", Time, "Messages updated at this time or after it."),
    Parameter("updatedBefore", "query", Time, "Messages updated before this time."),
)
AUDIT_FILTERS = (
    Parameter("holder", "query", str, "Entries of this key, `loopback`, or a user of the command line."),
    Parameter("act", "query", Act, "Entries of this act."),
    Parameter("subject", "query", str, "Entries about this messageId, conversationId, idempotency key or projection."),
    Parameter("since", "query", Time, "Entries of this time or after it."),
    Parameter("until", "query", Time, "Entries before this time."),
)
NUMBER_ID = Parameter("numberId", "query", str, "Conversations of this number of ours.")
PARTICIPANT = Parameter("participant", "query", str, "Conversations in which this phone takes part.")
