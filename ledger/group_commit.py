"""Group commit: one bounded queue and one writer thread a partition; nobody is answered before the commit.

Deliveries that arrive together, or while the disk is busy, share a transaction, so the number of syncs does not grow with
the number of callers. A caller that goes away takes nothing out of the queue; closing drains it. The audit trail has a
writer of this kind as well.

The writer is woken once the event loop has nothing more to bring. Woken at the first delivery it would fight with the loop
for Python's lock at every step into the database, and a batch would be half as large: a quarter fewer webhooks a second.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from ledger.errors import LedgerError, QueueFull, ShuttingDown, StoreUnavailable
from ledger.facts import Fact, Item, Send

QUEUE_ITEMS_MAX = 4_096
QUEUE_BYTES_MAX = 64 * 1024 * 1024
BATCH_ITEMS_MAX = 512
BATCH_BYTES_MAX = 8 * 1024 * 1024
GATHER_S_MAX = 0.005
IDLE_AFTER_S = 1.0

Brought = TypeVar("Brought")
Told = TypeVar("Told")

Commit = Callable[[Sequence[Brought]], list[Told]]

log = logging.getLogger(__name__)


class Waiting(NamedTuple, Generic[Brought, Told]):
    """An item in the queue and who waits for its outcome."""

    item: Brought
    item_bytes: int
    answer: asyncio.Future[Told]


class GroupCommit(Generic[Brought, Told]):
    """The queue and the writer of one partition. Submit from one event loop; `commit` runs in the writer's thread."""

    def __init__(
        self,
        commit: Commit[Brought, Told],
        *,
        size_of: Callable[[Brought], int],
        on_commit: Callable[[], None],
        on_idle: Callable[[], None],
    ) -> None:
        """`on_commit` runs on the event loop after each commit, `on_idle` in the writer's thread when nothing has come for a while.

        `size_of` is about how many bytes an item brings.
        """
        self._commit = commit
        self._size_of = size_of
        self._on_commit = on_commit
        self._on_idle = on_idle
        self._queue: deque[Waiting[Brought, Told]] = deque()
        self._queue_bytes = 0
        self._unanswered = 0
        self._gathering_until_s: float | None = None
        self._gathered = 0
        self._wake = threading.Event()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """How many items wait."""
        return len(self._queue)

    @property
    def unanswered(self) -> int:
        """How many items wait, or are in the commit that is under way."""
        return self._unanswered

    def submit(self, item: Brought) -> asyncio.Future[Told]:
        """The outcome of an item, once it is on disk. QueueFull or ShuttingDown at once, StoreUnavailable through the future."""
        item_bytes = self._size_of(item)
        if self._closing:
            raise ShuttingDown("the server is shutting down; nothing was stored, send it again")
        if len(self._queue) >= QUEUE_ITEMS_MAX or self._queue_bytes + item_bytes > QUEUE_BYTES_MAX:
            raise QueueFull(f"{len(self._queue)} items wait for the disk; nothing was stored, try it again")
        answer: asyncio.Future[Told] = self._loop.create_future()
        self._queue_bytes += item_bytes
        self._unanswered += 1
        self._queue.append(Waiting(item, item_bytes, answer))
        if self._gathering_until_s is None:
            self._gathering_until_s = self._loop.time() + GATHER_S_MAX
            self._gathered = 0
            self._loop.call_soon(self._gather)
        return answer

    async def close(self) -> None:
        """Takes nothing new, commits what waits, and ends the writer."""
        self._closing = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join)

    def _gather(self) -> None:
        """Wakes the writer once a turn of the event loop has brought nothing more, or the first has waited long enough."""
        waiting = len(self._queue)
        if waiting > self._gathered and self._loop.time() < (self._gathering_until_s or 0.0):
            self._gathered = waiting
            self._loop.call_soon(self._gather)
        else:
            self._gathering_until_s = None
            self._wake.set()

    def _run(self) -> None:
        while True:
            if not self._wake.wait(IDLE_AFTER_S):
                self._rest()
            self._wake.clear()
            # Asked before the queue is: what was submitted before closing is then seen in it.
            closing = self._closing
            left = len(self._queue)
            while left > 0:
                left -= self._commit_one_batch()
            if closing:
                return

    def _commit_one_batch(self) -> int:
        """Commits what waits, up to the bounds of one transaction; how many items these were."""
        batch = self._take_batch()
        outcomes: Sequence[Told | LedgerError]
        try:
            outcomes = self._commit([waiting.item for waiting in batch])
        except LedgerError as error:
            log.warning("a commit of %d items failed: %s", len(batch), error)
            outcomes = [error] * len(batch)
        except Exception as error:  # the writer must outlive whatever happens to one batch
            log.exception("a commit of %d items failed unexpectedly", len(batch))
            outcomes = [StoreUnavailable(f"the commit failed: {type(error).__name__}")] * len(batch)
        self._loop.call_soon_threadsafe(self._answer, batch, outcomes)
        return len(batch)

    def _take_batch(self) -> list[Waiting[Brought, Told]]:
        """What waits, in order, up to the bounds of one transaction."""
        batch = [self._queue.popleft()]
        batch_bytes = batch[0].item_bytes
        while self._queue and len(batch) < BATCH_ITEMS_MAX and batch_bytes < BATCH_BYTES_MAX:
            batch.append(self._queue.popleft())
            batch_bytes += batch[-1].item_bytes
        return batch

    def _answer(self, batch: Sequence[Waiting[Brought, Told]], outcomes: Sequence[Told | LedgerError]) -> None:
        for waiting, outcome in zip(batch, outcomes, strict=True):
            self._queue_bytes -= waiting.item_bytes
            self._unanswered -= 1
            if waiting.answer.done():
                continue  # the caller went away; what it brought is stored all the same
            if isinstance(outcome, LedgerError):
                waiting.answer.set_exception(outcome)
            else:
                waiting.answer.set_result(outcome)
        self._on_commit()

    def _rest(self) -> None:
        try:
            self._on_idle()
        except Exception:
            log.exception("the writer's idle work failed")
        self._wake.wait()


def size_of(item: Item) -> int:
    """About how many bytes a delivery or a send brings."""
    if isinstance(item, Fact):
        return len(item.state)
    return len(item.body) if isinstance(item, Send) else len(item.receipt.body)
