"""Group commit: a bounded queue in front of who commits; nobody is answered before the commit.

Deliveries that arrive together, or while the disk is busy, share a transaction, so the number of syncs does not grow with
the number of callers. A caller that goes away takes nothing out of the queue; closing drains it. Who commits is at the other
end of a channel (`ledger/commit_channel.py`).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from ledger.errors import LedgerError, QueueFull, ShuttingDown, StoreUnavailable
from ledger.facts import Fact, Item, Outcome, Send
from ledger.outage import Outage

QUEUE_ITEMS_MAX = 4_096
QUEUE_BYTES_MAX = 64 * 1024 * 1024
BATCH_ITEMS_MAX = 512
BATCH_BYTES_MAX = 8 * 1024 * 1024

Commit = Callable[[Sequence[Item]], Awaitable[Sequence[Outcome]]]

logger = logging.getLogger(__name__)


class Waiting(NamedTuple):
    """An item in the queue and who waits for its outcome."""

    item: Item
    item_bytes: int
    answer: asyncio.Future[Outcome]


class GroupCommit:
    """A queue on one event loop; one batch is with `commit` at a time."""

    def __init__(self, commit: Commit, *, on_commit: Callable[[], None]) -> None:
        """`on_commit` is called after each commit that made something durable."""
        self._commit = commit
        self._on_commit = on_commit
        self._queue: deque[Waiting] = deque()
        self._queue_bytes = 0
        self._unanswered = 0
        self._proofs: list[asyncio.Future[None]] = []
        self._woken = asyncio.Event()
        self._closing = False
        self._outage = Outage(logger, "commits work again")
        self._loop = asyncio.get_running_loop()
        self._writer = self._loop.create_task(self._run(), name="group commit")

    @property
    def depth(self) -> int:
        """How many items wait."""
        return len(self._queue)

    @property
    def unanswered(self) -> int:
        """How many items wait, or are in the commit that is under way."""
        return self._unanswered

    def submit(self, item: Item) -> asyncio.Future[Outcome]:
        """The outcome of an item, once it is on disk. QueueFull or ShuttingDown at once, StoreUnavailable through the future."""
        item_bytes = size_of(item)
        if self._closing:
            raise ShuttingDown("the server is shutting down; send the same again")
        if len(self._queue) >= QUEUE_ITEMS_MAX or self._queue_bytes + item_bytes > QUEUE_BYTES_MAX:
            raise QueueFull(f"{len(self._queue)} items wait for the disk; send the same again")
        answer: asyncio.Future[Outcome] = self._loop.create_future()
        self._queue_bytes += item_bytes
        self._unanswered += 1
        self._queue.append(Waiting(item, item_bytes, answer))
        self._woken.set()
        return answer

    def prove(self) -> asyncio.Future[None]:
        """Done once the next commit is, of what waits or of nothing. ShuttingDown at once, StoreUnavailable through the future."""
        if self._closing:
            raise ShuttingDown("the server is shutting down")
        proof: asyncio.Future[None] = self._loop.create_future()
        self._proofs.append(proof)
        self._woken.set()
        return proof

    async def close(self) -> None:
        """Takes nothing new, and returns when what waits is committed."""
        self._closing = True
        self._woken.set()
        await self._writer

    async def _run(self) -> None:
        # Whatever comes in the same turn of the event loop is in the queue before this goes on.
        while not self._closing or self._queue:
            await self._woken.wait()
            self._woken.clear()
            while self._queue or self._proofs:
                await self._commit_one_batch()

    async def _commit_one_batch(self) -> None:
        """Commits what waits, up to the bounds of one transaction, and answers."""
        batch = self._take_batch()
        proofs, self._proofs = self._proofs, []
        failed: LedgerError | None = None
        outcomes: Sequence[Outcome] = ()
        answers: list[tuple[Waiting, Outcome | LedgerError]]
        try:
            outcomes = await self._commit([waiting.item for waiting in batch])
            answers = list(zip(batch, outcomes, strict=True))
        except LedgerError as error:
            self._outage.failed(str(error), "a commit %s failed: %s", _of(batch), error)
            failed = error
        except Exception as error:  # noqa: BLE001 - the writer must outlive whatever happens to one batch
            self._outage.failed(type(error).__name__, "a commit %s failed unexpectedly", _of(batch), unexpected=True)
            failed = StoreUnavailable(f"the commit failed: {type(error).__name__}")
        has_new = any(outcome.is_new for outcome in outcomes)  # a commit of nothing new may succeed where no other does
        if failed is not None:
            answers = [(waiting, failed) for waiting in batch]
        elif has_new:
            self._outage.worked()
        self._answer(answers)
        if has_new:
            self._tell_of_commit()
        for proof in proofs:
            if not proof.done():
                proof.set_result(None) if failed is None else proof.set_exception(failed)

    def _take_batch(self) -> list[Waiting]:
        """What waits, in order, up to the bounds of one transaction; nothing where only a proof is wanted."""
        batch: list[Waiting] = []
        batch_bytes = 0
        while self._queue and len(batch) < BATCH_ITEMS_MAX and batch_bytes < BATCH_BYTES_MAX:
            batch.append(self._queue.popleft())
            batch_bytes += batch[-1].item_bytes
        return batch

    def _answer(self, answers: Sequence[tuple[Waiting, Outcome | LedgerError]]) -> None:
        for waiting, outcome in answers:
            self._queue_bytes -= waiting.item_bytes
            self._unanswered -= 1
            if waiting.answer.done():
                continue  # the caller went away; what it brought is stored all the same
            if isinstance(outcome, LedgerError):
                waiting.answer.set_exception(outcome)
            else:
                waiting.answer.set_result(outcome)

    def _tell_of_commit(self) -> None:
        try:
            self._on_commit()
        except Exception:  # the writer must outlive that as well
            logger.exception("what follows a commit failed; the queue goes on")


def _of(batch: Sequence[object]) -> str:
    match len(batch):
        case 0:
            return "of nothing, to see whether it could be made,"
        case 1:
            return "of 1 item"
        case count:
            return f"of {count} items"


def size_of(item: Item) -> int:
    """About how many bytes a delivery or a send brings."""
    if isinstance(item, Fact):
        return len(item.state)
    return len(item.body) if isinstance(item, Send) else len(item.receipt.body)
