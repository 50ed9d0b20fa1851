"""The read side as one object: for `api/`, for the command line, and for programs of one's own.

`ReadModels.open` finds or makes the read models beside a ledger; `start` lets them follow the log; the rest are questions
and orders. Each question is one function in `queries_messages.py` or `queries_conversations.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError

from ledger.errors import NotFound
from ledger.events import stream_key
from ledger.facts import partition_of
from ledger.ledger import Ledger
from ledger.positions import Position
from ledger.store.database import Database, opening
from ledger.store.place import READ_MODELS
from projections import queries_conversations, queries_counts, queries_messages
from projections.as_of import status_as_of, status_now
from projections.checkpoints import Generation, OvertakenByAnother, checkpoints_of
from projections.claims import Cancelled, cancel_rebuild, claim_rebuild, claim_rollback
from projections.health import (
    RUNNER_SILENT_S_MAX,
    ProjectionStatus,
    Readiness,
    projection_status,
    readiness,
)
from projections.inbound_conversations import INBOUND_CONVERSATIONS, InboundConversationsProjection
from projections.lease import Stores
from projections.message_ranges import MessageFilters
from projections.message_status import MESSAGE_STATUS, MessageStatusProjection
from projections.opening import open_for
from projections.page_cursors import LIMIT_DEFAULT
from projections.parked import ParkedEvent, list_parked, some_parked_streams
from projections.projection import Projection
from projections.queries_conversations import Conversation, ConversationMessage
from projections.queries_counts import Failures
from projections.queries_messages import MessageStatus, Page
from projections.rebuild import Rebuild
from projections.refolding import healed_events, refold
from projections.register import live
from projections.remaking import Remaking
from projections.runner import Runner
from projections.spans import Spans, unseen
from projections.waiting import ASK_AGAIN_BESIDE_OUR_RUNNER_S, ASK_AGAIN_S, Waiters

RETRY_PAGE = 200
PARKED_SHOWN_MAX = 1_000
RUNNER_SILENT = "a runner that shows no sign of life"

P = ParamSpec("P")
T = TypeVar("T")


def read_models_url(ledger_url: URL) -> URL:
    """Where the read models of a ledger are: on SQLite in a file of their own, so that projecting never takes the log's lock."""
    if ledger_url.get_backend_name() == "sqlite":
        return ledger_url.set(database=f"{ledger_url.database}{READ_MODELS}")
    return ledger_url


class ReadModels:
    """The read models of a ledger. Every method may be called from any thread; only `wait_for` is a coroutine."""

    def __init__(self, ledger: Ledger, rows: Database, spans: Spans = unseen) -> None:
        self._ledger = ledger
        self.stores = Stores(rows, ledger.database, ledger.codec, ledger.partitions, spans)
        self._projections: dict[str, Projection] = {
            MESSAGE_STATUS: MessageStatusProjection(),
            INBOUND_CONVERSATIONS: InboundConversationsProjection(ledger.partitions),
        }
        self._waiters = Waiters(self._how_far)
        self._runner: Runner | None = None
        self._remaking: Remaking | None = None
        self._lost: str | None = None
        self._rebuilds: list[Rebuild] = []
        self._rebuilds_lock = Lock()

    @classmethod
    def open(cls, ledger: Ledger, spans: Spans = unseen) -> Self:
        """The read models beside a ledger, created (empty) if there are none; nothing runs before `start`.

        What was made from another history than the log has (a restored backup, a foreign file) is made again from it.
        """
        url = read_models_url(ledger.database.url).render_as_string(hide_password=False)
        with opening(url, durable=False) as rows:
            opened = cls(ledger, rows, spans)
            opened._lost = open_for(ledger, rows, list(opened._projections.values()))
            return opened

    def start(self) -> None:
        """Starts the runner's thread, which projects until `stop`; and rebuilds what another version of us had made."""
        if self._runner is not None:
            return
        self.stores.rows.move_beside_commits()
        self._runner = self.new_runner()
        self._runner.start()
        self._remaking = Remaking(self.stores.rows, self._projections.values(), self.claim_rebuild)
        self._remaking.start()

    def stop(self) -> None:
        """Ends the runner after its current batch; pauses a rebuild that runs in this process. Idempotent."""
        if self._remaking is not None:
            self._remaking.stop()
            self._remaking = None
        with self._rebuilds_lock:
            ours, self._rebuilds = self._rebuilds, []
        for rebuild in ours:
            rebuild.pause()
        if self._runner is not None:
            self._runner.stop()
            self._runner = None

    def close(self) -> None:
        """`stop`, and closes every connection."""
        self.stop()
        self.stores.rows.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def wake(self) -> None:
        """There is something new in the log: project it now. Cheap; callable from any thread."""
        if self._runner is not None:
            self._runner.wake()

    def new_runner(self) -> Runner:
        """A runner of all projections that nobody started: whoever keeps it projects with `pass_once`, in a thread of theirs."""
        return Runner(
            self.stores.rows,
            self._ledger.database,
            self._ledger.codec,
            list(self._projections.values()),
            self._waiters.reached,
            self.stores.spans,
        )

    def catch_up(self) -> None:
        """Projects everything that the log has now, here and without a thread: `ledger project --once`, and tests."""
        runner = self.new_runner()
        is_left = True
        while is_left:
            with suppress(OvertakenByAnother):  # somebody else projects as well
                is_left = runner.pass_once()

    def current_status(self, message_id: str) -> MessageStatus:
        """The status of a message, with what the log has beyond the read model. NotFound."""
        return status_now(self._ledger, message_id, self._held(message_id))

    def _held(self, message_id: str) -> MessageStatus | None:
        """What the read model has of a message; None also where it cannot say, because it is damaged: the log has all of it."""
        with suppress(DatabaseError), self.stores.rows.asking() as connection:
            generation, version = live(connection, MESSAGE_STATUS)
            # Another version's rows are not for us to go on from.
            if version == self._projections[MESSAGE_STATUS].version:
                return queries_messages.held_status(connection, generation, message_id, self._ledger.partitions)
        return None

    def current_statuses(self, message_ids: Sequence[str]) -> dict[str, MessageStatus]:
        """The statuses of many messages, by id; what the read model does not have is left out."""
        return self._ask(MESSAGE_STATUS, queries_messages.current_statuses, message_ids, self._ledger.partitions)

    def status_as_of(self, message_id: str, as_of: Position | int) -> MessageStatus:
        """The status as the ledger knew it at a position or a time in microseconds since 1970, folded from the log.

        NotFound before the first event; MalformedQuestion for a position of another partition.
        """
        return status_as_of(self._ledger, message_id, as_of)

    def messages(
        self, filters: MessageFilters, *, cursor: str | None = None, limit: int = LIMIT_DEFAULT
    ) -> Page[MessageStatus]:
        """Messages, newest update first. MalformedQuestion for a cursor that is not ours or a limit out of 1 to 1000."""
        return self._ask(MESSAGE_STATUS, queries_messages.messages, filters, cursor=cursor, limit=limit)

    def count_messages(self, filters: MessageFilters, *, at_most: int) -> int:
        """How many messages there are, but at most `at_most`; cheap whatever the table holds."""
        return self._ask(MESSAGE_STATUS, queries_counts.count_messages, filters, at_most=at_most)

    def failures_by_code(self, *, updated_after_us: int, look_at_most: int) -> Failures:
        """Failed messages updated since then, by code; of very many, the newest `look_at_most`."""
        question = queries_counts.failures_by_code
        return self._ask(MESSAGE_STATUS, question, updated_after_us=updated_after_us, look_at_most=look_at_most)

    def conversation(self, conversation_id: str) -> Conversation:
        """One conversation; NotFound where there is none."""
        question = queries_conversations.conversation
        return self._ask(INBOUND_CONVERSATIONS, question, conversation_id, self._ledger.partitions)

    def conversations(
        self,
        *,
        number_id: str | None = None,
        participant: str | None = None,
        cursor: str | None = None,
        limit: int = LIMIT_DEFAULT,
    ) -> Page[Conversation]:
        """Conversations, latest message first."""
        question = queries_conversations.conversations
        return self._ask(
            INBOUND_CONVERSATIONS, question, number_id=number_id, participant=participant, cursor=cursor, limit=limit
        )

    def our_numbers(self, conversation_ids: Sequence[str]) -> Mapping[str, str | None]:
        """The number of each conversation that is ours, where it was told."""
        return self._ask(INBOUND_CONVERSATIONS, queries_conversations.our_numbers, conversation_ids)

    def conversation_messages(
        self, conversation_id: str, *, cursor: str | None = None, limit: int = LIMIT_DEFAULT
    ) -> Page[ConversationMessage]:
        """The messages of a conversation, oldest first; NotFound where there is no such conversation."""
        question = queries_conversations.conversation_messages
        page = self._ask(INBOUND_CONVERSATIONS, question, conversation_id, cursor=cursor, limit=limit)
        if not page.items:
            self.conversation(conversation_id)
        return page

    async def wait_for(self, position: Position, *, name: str = MESSAGE_STATUS, timeout_s: float = 5.0) -> bool:
        """Whether the read model reached a position within the time; what is read after True is never older than it."""
        self._projection(name)
        ask_again_s = ASK_AGAIN_S if self._runner is None else ASK_AGAIN_BESIDE_OUR_RUNNER_S
        return await self._waiters.wait(name, position, ask_again_s=ask_again_s, timeout_s=timeout_s)

    def projection_status(self, name: str) -> ProjectionStatus:
        """The state of a projection, from any process; NotFound."""
        projection = self._projection(name)
        return projection_status(self.stores.rows, self._ledger.database, self._ledger.codec, projection)

    def projections(self) -> list[ProjectionStatus]:
        """The state of every projection, from any process."""
        return [self.projection_status(name) for name in self._projections]

    @property
    def projecting_error(self) -> str | None:
        """What projecting fails with in this process; None while it does not, or another process does it."""
        runner = self._runner
        if runner is None:
            return None
        is_well = runner.is_alive and runner.silent_s < RUNNER_SILENT_S_MAX
        return runner.last_error if is_well or runner.last_error else RUNNER_SILENT

    @property
    def damages(self) -> list[str]:
        """What this process met of damage in the log or in the read models, with the file and what to do; and what the log lacks."""
        met = (self._ledger.database.damage, self.stores.rows.damage)
        lost = [] if self._lost is None else [f"acknowledged events are missing: {self._lost}"]
        return [*lost, *(each.told for each in met if each is not None and each.told is not None)]

    def readiness(self, projecting_error: str | None) -> Readiness:
        """Whether the projections are alive and not lagging, and do not fail: with what, if they do, tells who runs them."""
        return readiness(self.projections(), projecting_error)

    def expect_known(self, name: str) -> None:
        """NotFound where there is no such projection."""
        self._projection(name)

    def claim_rebuild(self, name: str) -> Rebuild:
        """The right to rebuild a projection; goes on with one that was killed or paused. RebuildRunning, NotFound."""
        return self._own(claim_rebuild(self.stores, self._projection(name), self.wake))

    def cancel_rebuild(self, name: str) -> Cancelled:
        """Asks a rebuild in any process to end, and drops what it, or one that was cut off, had built."""
        return cancel_rebuild(self.stores.rows, self._projection(name))

    def rollback(self, name: str) -> bool:
        """Makes the previous generation live again, once it has caught up; whether that dropped what a cut-off rebuild had built.

        NothingToRollBackTo, RebuildRunning.
        """
        rollback, drops = claim_rollback(self.stores, self._projection(name), self.wake)
        self._own(rollback).run()
        return drops

    def parked(self, name: str) -> list[ParkedEvent]:
        """The first 1,000 parked events of a projection."""
        self._projection(name)
        return self._ask(name, list_parked, PARKED_SHOWN_MAX)

    def retry(self, name: str) -> tuple[int, int]:
        """Folds every message with parked events again from the log: (events healed, events still parked)."""
        projection = self._projection(name)
        healed, after = 0, (-1, 0)
        while streams := self._ask(name, some_parked_streams, after, RETRY_PAGE):
            for partition, stream, position in streams:
                healed += healed_events(self.stores, projection, partition, stream)
                after = (partition, position)
        left = sum(each.parked for each in self._ask(name, checkpoints_of))
        return healed, left

    def rebuild_message(self, name: str, message_id: str) -> bool:
        """Folds one message again from the log; whether its row changed. NotFound."""
        projection = self._projection(name)
        self._ledger.history(message_id, limit=1)
        stream = stream_key(message_id)
        partition = partition_of(stream, self._ledger.partitions)
        folded = refold(self.stores, projection, partition, stream)
        return folded.after != folded.before

    def _how_far(self, name: str) -> list[int]:
        """The position of a projection in each partition."""
        return [each.position for each in self._ask(name, checkpoints_of)]

    def _ask(
        self,
        name: str,
        question: Callable[Concatenate[Connection, Generation, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """A question to the generation that is live, in one state of the database."""
        with self.stores.rows.reading() as connection:
            return question(connection, live(connection, name).generation, *args, **kwargs)

    def _projection(self, name: str) -> Projection:
        if name not in self._projections:
            raise NotFound(f"there is no projection {name[:64]!r}: expected {' or '.join(sorted(self._projections))}")
        return self._projections[name]

    def _own(self, rebuild: Rebuild) -> Rebuild:
        with self._rebuilds_lock:
            self._rebuilds = [*(each for each in self._rebuilds if each.ending is None), rebuild]
        return rebuild
