"""The shapes of the HTTP contract as types: every answer is one of them (`api/answers.py`), and `GET /openapi.json` describes them.

The command line prints the same with `--json`. The scope `masked` sees the same members, some of them null.
"""

from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType, field

from api.audit.acts import Act, Way
from ledger.provider import MESSAGE_ID_CHARACTERS_MAX, SEQUENCE_MAX, Direction, Effect, Status

T = TypeVar("T")

Identifier = Annotated[str, Meta(min_length=1, max_length=MESSAGE_ID_CHARACTERS_MAX)]
Sequence = Annotated[int, Meta(ge=0, le=SEQUENCE_MAX)]
Count = Annotated[int, Meta(ge=0)]
PositionText = Annotated[
    str,
    Meta(
        pattern=r"^(0|[1-9][0-9]{0,4})-(0|[1-9][0-9]{0,18})$",
        examples=["0-17"],
        description="A partition and a number in it, as text.",
    ),
]
PositionsText = Annotated[str, Meta(pattern=r"^[0-9]+-[0-9]+(,[0-9]+-[0-9]+)*$", description="A position a partition.")]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"}, description="RFC 3339.")]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
# Generators of clients leave out whatever has an array that does not say what is in it.
AnyList = Annotated[list[Any], Meta(extra_json_schema={"items": {}})]


class Shape(Struct, rename="camel", forbid_unknown_fields=True):
    """A JSON object with exactly these members."""


class Problem(Struct, rename="camel"):
    """RFC 9457. A 504 also says how far behind the read model is."""

    type: str
    title: str
    status: int
    detail: str
    lag_events: Count | UnsetType = UNSET
    lag_seconds: float | UnsetType = UNSET


class Page(Shape, Generic[T]):
    """Some items of a list, and the cursor of what comes after them."""

    items: list[T]
    next: str | None


class Webhook(Struct, rename="camel"):
    """What Red Cloud sends, as far as we read it; every other member is kept as well.

    A body without a readable eventType or messageId, or on the four outbound kinds without a readable sequence, is
    quarantined; any other member of an unexpected type is kept, and not read.
    """

    event_type: Annotated[str, Meta(min_length=1)]
    message_id: Identifier
    sequence: Sequence | UnsetType = UNSET
    external_reference: str | UnsetType = UNSET
    provider_message_ref: str | UnsetType = UNSET
    conversation_id: str | UnsetType = UNSET
    number_id: str | UnsetType = UNSET
    from_: str | UnsetType = field(default=UNSET, name="from")
    to: str | UnsetType = UNSET
    body: Any = UNSET
    media: Any = UNSET


class RecordedWebhook(Shape, tag_field="outcome", tag="recorded"):
    """A new event, on disk."""

    message_id: Identifier
    version: Annotated[int, Meta(ge=1)]
    position: PositionText


class DuplicateWebhook(RecordedWebhook, tag_field="outcome", tag="duplicate"):
    """A fact that the log held already: the place of the original."""


class QuarantinedWebhook(Shape, tag_field="outcome", tag="quarantined"):
    """Authentic, but not readable as a webhook."""

    quarantine_id: str
    reason: str


class SendResult(Struct, rename="camel"):
    """One recipient's result in Red Cloud's response."""

    to: str
    message_id: Identifier
    status: str


class SendResponse(Struct, rename="camel"):
    """Red Cloud's answer to the request."""

    results: Annotated[list[SendResult], Meta(max_length=1_000)]
    errors: AnyList | UnsetType = UNSET


class SendHandedOver(Struct, rename="camel"):
    """Layer one of the state, handed over by the user's own application."""

    idempotency_key: Identifier
    request: dict[str, Any]
    response: SendResponse


class PlacedResult(Shape):
    """Where a result stands in the log."""

    message_id: Identifier
    position: PositionText


class SendRecorded(Shape):
    """What became of a request acceptance."""

    outcome: Literal["recorded", "duplicate"]
    messages: list[PlacedResult]
    rejected: AnyList


class SentMessage(Shape):
    """One result of a recorded send. Its position is null while the recording is under way."""

    message_id: Identifier
    to: str
    status: str
    position: PositionText | None


class Send(Shape):
    """A recorded send."""

    idempotency_key: Identifier
    recorded_at: Time
    request: dict[str, Any] | None
    messages: list[SentMessage]
    rejected: AnyList | None


class RequestAcceptance(Shape):
    """Layer one of a message's state."""

    status: str
    to: str
    idempotency_key: str
    recorded_at: Time


class Message(Shape):
    """The current status of a message.

    `parkedFrom` is there where it is told without the event at that position, and those after it, because that one cannot be
    read; lists do not tell it. The other four of the last members are there where they are known.
    """

    message_id: Identifier
    direction: Direction | None
    status: Status
    sequence: Sequence | None
    external_reference: str | None
    provider_message_ref: str | None
    failure: dict[str, Any] | None
    failure_code: str | None
    request_acceptance: RequestAcceptance | None
    missing_sequences: Annotated[list[Sequence], Meta(max_length=100)]
    conflicting_sequences: list[Sequence]
    event_count: Annotated[int, Meta(ge=1)]
    first_recorded_at: Time
    status_changed_at: Time
    updated_at: Time
    position: PositionText
    conversation_id: str | UnsetType | None = UNSET
    number_id: str | UnsetType | None = UNSET
    from_: str | UnsetType | None = field(default=UNSET, name="from")
    to: str | UnsetType | None = UNSET
    parked_from: PositionText | UnsetType = UNSET


class Signature(Shape):
    """What proves who sent an event."""

    timestamp: str
    secret_id: str
    verified: bool


class HistoryEvent(Shape, kw_only=True):
    """One event of a message. Of one whose effect is `unreadable`, nothing is known but version, position, hash and `topic`.

    `replayedAt` is there for what waited in quarantine: when it was recorded.
    """

    version: Annotated[int, Meta(ge=1)]
    position: PositionText
    event_type: str | None
    sequence: Sequence | None
    effect: Effect
    late: bool | None
    received_at: Time | None
    occurred_at: Time | None
    signature: Signature | None
    body: Any
    body_sha256: Sha256 | None
    hash: Sha256
    topic: str | UnsetType = UNSET
    replayed_at: Time | UnsetType = UNSET


class History(Shape):
    """The events of a message in the order of recording; `next` is null where there are no more."""

    message_id: Identifier
    events: list[HistoryEvent]
    next: str | None


class FeedEvent(HistoryEvent):
    """One event of the ledger. Its messageId is null where the event is unreadable and the first of its message."""

    message_id: Identifier | None


class Feed(Shape):
    """A page of the feed; poll again with `next`."""

    events: list[FeedEvent]
    next: str


class Conversation(Shape):
    """A conversation."""

    conversation_id: str
    number_id: str | None
    participants: list[str]
    message_count: Annotated[int, Meta(ge=1)]
    first_message_at: Time
    last_message_at: Time
    position: PositionText


class ConversationMessage(Shape):
    """One message of a conversation."""

    message_id: Identifier
    from_: str | None = field(name="from")
    to: str | None
    body: Any
    media: Any
    occurred_at: Time | None
    received_at: Time
    position: PositionText


class RebuildProgress(Shape):
    """How far a rebuild is, in events. Where the state is not `rebuilding` it was cut off there: ordered again, it goes on."""

    done: Count
    total: Count
    events_per_second: float
    seconds_left: float | None


class Projection(Shape):
    """A read model."""

    name: str
    version: int
    state: Literal["live", "rebuilding", "stopped"]
    position: PositionsText
    head: PositionsText
    lag_events: Count
    lag_seconds: Annotated[float, Meta(ge=0)]
    parked: Count
    rebuild: RebuildProgress | None


class Projections(Shape):
    """All read models."""

    items: list[Projection]


class RebuildStarted(Shape):
    """A rebuild that has begun; `progress` is where to look."""

    name: str
    state: Literal["rebuilding"]
    progress: str


class Verification(Shape):
    """A verification that came to its end; `heads` are to be noted elsewhere, `positions` those of the first findings."""

    at: Time
    holder: str
    way: Way
    clean: bool
    events: Count
    audit_entries: Count
    findings: Count
    positions: list[PositionText]
    heads: list[str]
    deep: bool


class LastVerification(Shape):
    """The last one; null before the first."""

    last: Verification | None


class AuditEntry(Shape):
    """Who did or saw what. `asked` has no whole number in it, `result` what there was to tell of the outcome."""

    number: Annotated[int, Meta(ge=1)]
    at: Time
    holder: str
    way: Way
    act: Act
    subject: str | None
    asked: dict[str, Any]
    outcome: str
    result: dict[str, Any]
    request_id: str | None
    hash: Sha256


class QuarantinedDelivery(Shape):
    """A delivery in quarantine."""

    quarantine_id: str
    reason: str
    received_at: Time
    attempts: Annotated[int, Meta(ge=1)]
    body_sha256: Sha256
    body_bytes: Count
    replayed_at: Time | None


class Replay(Shape):
    """What a replay did."""

    replayed: Count
    remaining: Count


class Alive(Shape):
    """The process lives."""

    status: Literal["alive"]


class Readiness(Shape):
    """Whether the server can do its work, and why not."""

    status: Literal["ready", "not ready"]
    reasons: list[str]
    warnings: list[str]
