"""Entries of the audit trail from many threads: who finds nobody writing writes, and what comes meanwhile shares the next commit.

So where few ask, the thread that read writes as well, and an answer waits for the disk and for no other thread.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition

from ledger.audit.entries import AuditEntry
from ledger.commit_channel import LOOK_EVERY_S, LOOKS_MAX
from ledger.errors import LedgerError, QueueFull, ShuttingDown, StoreUnavailable
from ledger.outage import Outage
from ledger.store.damage import StoreDamaged
from ledger.store.driver import said

WAITING_MAX = 4_096
BATCH_MAX = 512

NOT_WRITTEN = "answers refused, because their entries of the audit trail were not written: %d"

logger = logging.getLogger(__name__)


class EntryWriter:
    """Writes what waits, a batch at a time. Every method but `close` may be called from any thread."""

    def __init__(self, append: Callable[[Sequence[AuditEntry]], object]) -> None:
        """`append` makes entries durable in one transaction, or raises."""
        self._append = append
        self._state = Condition()
        self._waiting: deque[tuple[AuditEntry, Future[None]]] = deque()
        self._is_writing = False
        self._closing = False
        self.failure: str | None = None
        """Why the last entries were not written; None where they were."""
        self._thread = ThreadPoolExecutor(1, "ledger-audit")
        self._thread.submit(int)  # begins it now: later there may be no more threads to have
        self._outage = Outage(logger, "the audit trail is written again")

    def write(self, entry: AuditEntry) -> Future[None]:
        """Done once an entry is on disk; written here, unless somebody writes just then. QueueFull or ShuttingDown at once."""
        written, is_ours = self._wait(entry)
        if is_ours:
            self._write_batch()
        return written

    def submit(self, entry: AuditEntry) -> Future[None]:
        """The same for who must not block, such as the event loop."""
        written, is_ours = self._wait(entry)
        if is_ours:
            self._thread.submit(self._write_batch)
        return written

    def look_again(self) -> None:
        """Where the last entries could not be written, finds out whether they could be by now. Waits for nothing."""
        with self._state:
            if self.failure is None or self._is_writing or self._closing:
                return
            self._is_writing = True
        self._thread.submit(self._write_batch)

    async def close(self) -> None:
        """Takes nothing new, and returns when what waits is written."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._state:
            self._closing = True
            self._state.wait_for(lambda: not self._is_writing)
        self._thread.shutdown()

    def _wait(self, entry: AuditEntry) -> tuple[Future[None], bool]:
        """Whether an entry is written, and whether who brings it has to see to that."""
        written: Future[None] = Future()
        with self._state:
            if self._closing:
                raise ShuttingDown("the server is shutting down; ask again")
            if len(self._waiting) >= WAITING_MAX:
                raise QueueFull(f"{len(self._waiting)} entries of the audit trail wait for the disk; ask again")
            self._waiting.append((entry, written))
            is_ours, self._is_writing = not self._is_writing, True
        return written, is_ours

    def _write_batch(self) -> None:
        with self._state:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_MAX))]
        failed = self._failure_of([entry for entry, _ in batch])
        for _, written in batch:
            written.set_result(None) if failed is None else written.set_exception(failed)
        with self._state:
            if self._waiting:
                self._thread.submit(self._write_batch)  # who wrote this one has an answer to give
            else:
                self._is_writing = False
                self._state.notify_all()

    def _failure_of(self, entries: Sequence[AuditEntry]) -> Exception | None:
        """Writes entries; why they are not written, where they are not."""
        failed = self._tried(entries)
        self.failure = None if failed is None else said(failed) if isinstance(failed, StoreDamaged) else str(failed)
        return failed

    def _tried(self, entries: Sequence[AuditEntry]) -> Exception | None:
        try:
            self._append(entries)
        except StoreDamaged as error:
            return error  # told where it was met
        except LedgerError as error:
            if entries:
                self._outage.failed(type(error).__name__, f"{NOT_WRITTEN}; %s", len(entries), error)
            return error
        except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever happens to one batch
            self._outage.failed(type(error).__name__, NOT_WRITTEN, len(entries), unexpected=True)
            return StoreUnavailable(f"the audit trail cannot be written: {type(error).__name__}")
        self._outage.worked()
        return None


async def until_written(written: Future[None]) -> None:
    """Returns once an entry is on disk; StoreUnavailable where it is not, or nobody can tell; StoreDamaged."""
    if not written.done():
        waiting = asyncio.wrap_future(written)
        waiting.add_done_callback(asyncio.Future.exception)  # whoever waits may have gone away
        for _ in range(LOOKS_MAX):
            await asyncio.wait([waiting], timeout=LOOK_EVERY_S)
            if waiting.done():
                break
        else:
            raise StoreUnavailable("the audit trail cannot be written: the disk does not answer; ask again")
    written.result()
