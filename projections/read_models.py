"""The read side as one object: for `api/`, for the command line, and for programs of one's own.

STUB: the surface to code against; it is being filled in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Self, TypeVar

from ledger.json_values import JSONObject
from ledger.ledger import Ledger
from ledger.message import Message
from ledger.positions import Position
from ledger.provider import Direction, Status

MESSAGE_STATUS = "message-status"
INBOUND_CONVERSATIONS = "inbound-conversations"
LIMIT_DEFAULT = 50
LIMIT_MAX = 1_000

T = TypeVar("T")


class MessageStatus(NamedTuple):
    """A message as the read model (or a fold of the log) has it, and the position of its last event there: the ETag."""

    message: Message
    position: Position


class Conversation(NamedTuple):
    """A conversation. Times are microseconds since 1970."""

    conversation_id: str
    number_id: str | None
    participants: tuple[str, ...]
    message_count: int
    first_message_at_us: int
    last_message_at_us: int
    position: Position


class ConversationMessage(NamedTuple):
    """One message of a conversation; `body` and `media` as the provider sent them (any JSON value), made legible."""

    message_id: str
    sender: str | None
    recipient: str | None
    body: object
    media: object
    occurred_at_us: int | None
    received_at_us: int
    position: Position


class Page(NamedTuple, Generic[T]):
    """Some items of a list, and the cursor of what comes after them (None at the end)."""

    items: list[T]
    next: str | None


@dataclass(frozen=True, slots=True)
class MessageFilters:
    """What `GET /messages` may ask for; None is "any". Times are microseconds since 1970: after is inclusive, before exclusive."""

    status: Status | None = None
    direction: Direction | None = None
    external_reference: str | None = None
    provider_message_ref: str | None = None
    number_id: str | None = None
    phone: str | None = None
    failure_code: str | None = None
    updated_after_us: int | None = None
    updated_before_us: int | None = None


class RebuildProgress(NamedTuple):
    """How far a rebuild is, in events; `seconds_left` is None until there is a rate."""

    done: int
    total: int
    events_per_second: float
    seconds_left: float | None


class ProjectionStatus(NamedTuple):
    """One item of `GET /projections`. `position` and `head` are written "0-17", or "0-17,1-4" with several partitions."""

    name: str
    version: int
    state: str  # live, rebuilding or stopped
    position: str
    head: str
    lag_events: int
    lag_seconds: float
    parked: int
    rebuild: RebuildProgress | None


class Readiness(NamedTuple):
    """Why the read side is not ready (empty: it is), and what an operator should know although it is."""

    reasons: list[str]
    warnings: list[str]


class Difference(NamedTuple):
    """A row that a rebuild changed: its key (a messageId), the columns that differ, the events that explain it."""

    key: str
    columns: tuple[str, ...]
    positions: tuple[Position, ...]


class RebuildReport(NamedTuple):
    """What a rebuild did: events folded, how long, how many rows were compared and differ, and some examples."""

    events: int
    seconds: float
    rows_compared: int
    rows_differing: int
    examples: list[Difference]


class Rebuild:
    """A claimed rebuild: this object alone may build the shadow generation. `run` it here, or `start` it in a thread."""

    def run(self, on_progress: Callable[[RebuildProgress], None] | None = None) -> RebuildReport:
        """Builds, compares and switches. RebuildCancelled where somebody cancelled it."""
        raise NotImplementedError

    def start(self) -> None:
        """`run` in a thread of its own; the outcome is in `projections()` and in the log output."""
        raise NotImplementedError


class ReadModels:
    """The read models of a ledger. Every method may be called from any thread; only `wait_for` is a coroutine."""

    @classmethod
    def open(cls, ledger: Ledger) -> Self:
        """The read models beside a ledger, created (empty) if there are none; nothing runs before `start`."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts the runner's thread, which projects until `stop`."""

    def stop(self) -> None:
        """Ends the runner after its current batch; pauses a rebuild that runs in this process. Idempotent."""

    def close(self) -> None:
        """`stop`, and closes every connection."""

    def wake(self) -> None:
        """There is something new in the log: project it now. Cheap; callable from any thread."""

    def current_status(self, message_id: str) -> MessageStatus:
        """The status of a message; NotFound where the read model has none."""
        raise NotImplementedError

    def status_as_of(self, message_id: str, as_of: Position | int) -> MessageStatus:
        """The status as the ledger knew it at a position or a time in microseconds, folded from the log.

        NotFound before the first event; MalformedQuestion for a position of another partition.
        """
        raise NotImplementedError

    def messages(self, filters: MessageFilters, *, cursor: str | None = None, limit: int = LIMIT_DEFAULT) -> Page[MessageStatus]:
        """Messages, newest update first. MalformedQuestion for a cursor that is not ours or a limit out of 1–1000."""
        raise NotImplementedError

    def conversation(self, conversation_id: str) -> Conversation:
        """One conversation; NotFound where there is none."""
        raise NotImplementedError

    def conversations(
        self,
        *,
        number_id: str | None = None,
        participant: str | None = None,
        cursor: str | None = None,
        limit: int = LIMIT_DEFAULT,
    ) -> Page[Conversation]:
        """Conversations, latest message first."""
        raise NotImplementedError

    def conversation_messages(
        self, conversation_id: str, *, cursor: str | None = None, limit: int = LIMIT_DEFAULT
    ) -> Page[ConversationMessage]:
        """The messages of a conversation, oldest first; NotFound where there is no such conversation."""
        raise NotImplementedError

    async def wait_for(self, position: Position, *, name: str = MESSAGE_STATUS, timeout_s: float = 5.0) -> bool:
        """Whether the read model reached a position within the time; what is read after True is never older than it."""
        raise NotImplementedError

    def projections(self) -> list[ProjectionStatus]:
        """The state of every projection, from any process."""
        raise NotImplementedError

    def readiness(self) -> Readiness:
        """Whether the projections are alive and not lagging."""
        raise NotImplementedError

    def claim_rebuild(self, name: str) -> Rebuild:
        """The right to rebuild a projection (resumes one that died). RebuildRunning (SenderMustFix: 409), NotFound for an unknown name."""
        raise NotImplementedError

    def cancel_rebuild(self, name: str) -> bool:
        """Asks a rebuild in any process to end and drops what it built; False where none runs."""
        raise NotImplementedError

    def rollback(self, name: str) -> None:
        """Makes the previous generation live again, once it has caught up. NothingToRollBackTo (SenderMustFix)."""

    def retry(self, name: str) -> tuple[int, int]:
        """Tries the parked events again: (healed, still parked)."""
        raise NotImplementedError

    def rebuild_message(self, name: str, message_id: str) -> bool:
        """Folds one message again from the log; whether its row changed. NotFound."""
        raise NotImplementedError


def status_json(status: MessageStatus, *, masked: bool = False) -> JSONObject:
    """A status in the shape of `GET /messages/{messageId}`."""
    raise NotImplementedError


def conversation_json(conversation: Conversation, *, masked: bool = False) -> JSONObject:
    """A conversation in the shape of `GET /conversations/{conversationId}`."""
    raise NotImplementedError


def conversation_message_json(message: ConversationMessage, *, masked: bool = False) -> JSONObject:
    """An item of `GET /conversations/{conversationId}/messages`."""
    raise NotImplementedError


def projection_json(status: ProjectionStatus) -> JSONObject:
    """An item of `GET /projections`."""
    raise NotImplementedError
