"""What a running server holds: the ledger, its queues, and who may ask. Built at the root, handed to every handler."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from api.access import Access
from api.clock_watch import ClockWatch
from api.http.request_ids import RequestIds
from api.metrics import Metrics
from api.readiness import Readiness
from api.serving.threads import Threads, in_time
from api.serving.workers import Workers
from api.serving.writing import Writing, pairs
from api.settings import Settings
from api.tracing import spans_of
from ledger.audit.entries import AuditEntry
from ledger.audit.trail import AuditTrail
from ledger.audit.writer import EntryWriter, until_written
from ledger.clock import now_us
from ledger.commit_channel import CommitChannel
from ledger.errors import StoreUnavailable
from ledger.facts import Item, Outcome
from ledger.group_commit import Commit, GroupCommit
from ledger.ledger import Ledger
from ledger.reception import Reception
from ledger.store.log import Head
from projections.health import ProjectionStatus
from projections.read_models import ReadModels

if TYPE_CHECKING:  # importing it imports OpenTelemetry
    from api.traces import Traces

WAIT_FOR_S_MAX = 5.0
ASKING_AT_ONCE_MAX = 4
"""Threads that ask the database. They share Python's lock: more of them would wake only to wait for it, and PostgreSQL's pool keeps
no more connections open than these."""
HEALTH_THREADS = MONITORING_THREADS = 2
"""For /readyz and /metrics alone, so that no question makes them late: one proves, and the other tells those who ask meanwhile what is
known."""
READY_WITHIN_S, METRICS_WITHIN_S = 6.0, 8.0
ANSWERS_WITHIN_S = 30.0
STREAMS_READ_AT_ONCE = 1
"""However many follow the feed from its beginning, webhooks and questions have the other threads, and their turn at Python's lock."""
PROOF_S_MAX = 5.0
"""How long who commits may take to say that it could, before the server is not ready."""


class HowFar(NamedTuple):
    """How far the read models and the log are."""

    read_models: Sequence[ProjectionStatus]
    heads: Sequence[Head]


class Appended:
    """Tells those who follow the log that something was appended in this process. For one event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Wakes everyone who waits."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, at_most_s: float) -> None:
        """Returns after the next append, or after `at_most_s`: other processes append as well."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._event.wait()


@dataclass(slots=True)
class Service:
    """One server's parts. `queues` and `audit` exist between `start` and `stop`, on the event loop that called `start`.

    `now_us` says when a delivery was received. Nothing is ordered by it, so it may step as it likes.
    """

    settings: Settings
    ledger: Ledger
    read_models: ReadModels
    trail: AuditTrail
    reception: Reception
    access: Access
    appended: Appended = field(default_factory=Appended)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    queues: list[GroupCommit] = field(default_factory=list)
    open_streams: int = 0
    clock: ClockWatch = field(default_factory=ClockWatch)
    metrics: Metrics = field(default_factory=Metrics)
    request_ids: RequestIds = field(default_factory=RequestIds)
    wait_for_s_max: float = WAIT_FOR_S_MAX
    now_us: Callable[[], int] = now_us
    traces: "Traces | None" = None
    workers: Workers | None = None
    health: Threads = field(default_factory=lambda: Threads(HEALTH_THREADS, "health", READY_WITHIN_S))
    streams: Threads = field(default_factory=lambda: Threads(STREAMS_READ_AT_ONCE, "streams", ANSWERS_WITHIN_S))
    monitoring: Threads = field(default_factory=lambda: Threads(MONITORING_THREADS, "monitoring", METRICS_WITHIN_S))
    readiness: Readiness = field(init=False)
    audit: EntryWriter = field(init=False)
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _channels: list[CommitChannel] = field(default_factory=list)
    _writing: Writing | None = None
    _looking: "asyncio.Task[HowFar] | None" = None

    def __post_init__(self) -> None:
        self.readiness = Readiness(
            self.ledger, self.read_models, self.prove_writable, lambda: self.projecting_error, lambda: self.troubles
        )

    @classmethod
    def open(cls, settings: Settings, traces: "Traces | None" = None, workers: Workers | None = None) -> "Service":
        """Opens the ledger, and creates it where there is none. Without workers, threads of this process do their work."""
        with contextlib.ExitStack() as undo:
            ledger = undo.enter_context(Ledger.open(settings.database_url, partitions=settings.partitions))
            read_models = undo.enter_context(ReadModels.open(ledger, spans_of(traces)))
            trail = AuditTrail.open(ledger)
            undo.pop_all()
        reception = Reception(settings.secrets, ledger.partitions, settings.replay_window_s, ledger.codec)
        access = Access(settings.api_keys)
        return cls(settings, ledger, read_models, trail, reception, access, traces=traces, workers=workers)

    @property
    def projecting_error(self) -> str | None:
        """What projecting fails with, in whichever of our processes does it; None while it does not."""
        return self.read_models.projecting_error if self.workers is None else self.workers.projector.told.error

    @property
    def damages(self) -> list[str]:
        """What any of our processes met of damage in a file, each once."""
        elsewhere = [] if self.workers is None else self.workers.damages
        trail = self.trail.database.damage
        ours = [] if trail is None or trail.told is None else [trail.told]
        return list(dict.fromkeys([*self.read_models.damages, *elsewhere, *ours]))

    @property
    def troubles(self) -> list[str]:
        """What is wrong although deliveries can be taken: damage, and that nobody can read because the trail cannot be written."""
        failure = self.audit.failure
        if failure is None:
            return self.damages
        # Strangers may ask for this one. What SQLite says names nothing; PostgreSQL names hosts and users.
        why = failure if self.trail.database.is_sqlite else "the audit trail cannot be written; the log says why"
        return [*self.damages, f"whoever reads is refused: {why}"]

    def start(self) -> None:
        """Starts who commits and projects, with queues in front of them; the writer of the audit trail; and who asks."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(ASKING_AT_ONCE_MAX, "asking"))
        ours, theirs = pairs(self.ledger.writers)
        if self.workers is None:
            self._writing = Writing(self.ledger, theirs, self.read_models.wake)
            self.read_models.start()
        else:
            self.workers.begin(theirs)
        self.queues = [self._queue(CommitChannel(end)) for end in ours]
        self.trail.database.move_beside_commits()
        self.audit = EntryWriter(self._append_entries)

    async def stop(self) -> None:
        """Commits what waits, then closes."""
        self.closing.set()
        await asyncio.gather(*(queue.close() for queue in self.queues), self.audit.close())
        for channel in self._channels:
            channel.close()
        await asyncio.to_thread(self.health.close)
        await asyncio.to_thread(self.monitoring.close)
        await asyncio.to_thread(self.streams.close)
        await asyncio.to_thread(self._join)
        await asyncio.to_thread(self.read_models.close)
        self.trail.close()
        self.ledger.close()

    def rebuild(self, name: str) -> None:
        """Begins to build a read model again, where read models are projected. RebuildRunning, NotFound."""
        if self.workers is None:
            self.read_models.claim_rebuild(name).start()
        else:
            self.read_models.expect_known(name)
            self.workers.projector.rebuild(name)

    def submit(self, item: Item) -> asyncio.Future[Outcome]:
        """The outcome of an item once it is on disk. Those of one partition, and so of one message, wait in the same queue."""
        queue = self.queues[item.partition % len(self.queues)]
        return queue.submit(item) if self.traces is None else self.traces.submit(item, queue.submit)

    async def how_far(self) -> HowFar:
        """How far the read models and the log are. Looked up once for all who ask meanwhile: many may have waited in vain."""
        if self._looking is None or self._looking.done():
            self._looking = self._loop.create_task(asyncio.to_thread(self._how_far), context=Context())
        return await in_time(asyncio.shield(self._looking), ANSWERS_WITHIN_S)

    def prove_writable(self) -> None:
        """Has each writer commit nothing, and waits for it in a thread; StoreUnavailable where a delivery would be refused."""
        asyncio.run_coroutine_threadsafe(self._prove_writable(), self._loop).result()

    async def record(self, entry: AuditEntry) -> None:
        """Returns once an entry of the audit trail is on disk; StoreUnavailable where it cannot be."""
        await until_written(self.audit.submit(entry))

    def _how_far(self) -> HowFar:
        # The read models first: a head that is read later can only be further on.
        return HowFar(self.read_models.projections(), self.ledger.heads())

    async def _prove_writable(self) -> None:
        try:
            async with asyncio.timeout(PROOF_S_MAX):
                await asyncio.gather(*(queue.prove() for queue in self.queues))
        except TimeoutError:
            raise StoreUnavailable(f"who commits has not answered for {PROOF_S_MAX:.0f} s") from None

    def _queue(self, channel: CommitChannel) -> GroupCommit:
        self._channels.append(channel)
        commit: Commit = partial(self._commit, channel)
        if self.traces is not None:
            commit = self.traces.commits(commit, self.ledger.database.url.get_backend_name())
        return GroupCommit(commit, on_commit=self.appended.tell)

    async def _commit(self, channel: CommitChannel, items: Sequence[Item]) -> list[Outcome]:
        started_s, failed = time.perf_counter(), True
        try:
            outcomes = await channel.commit(items)
            failed = False
            return outcomes
        finally:
            if items:  # else it is a proof
                self._committed(items, time.perf_counter() - started_s, failed=failed)

    def _committed(self, items: Sequence[Item], seconds: float, *, failed: bool) -> None:
        if failed:
            self.readiness.doubt()
        self.metrics.committed(items, seconds, failed=failed)

    def _append_entries(self, entries: Sequence[AuditEntry]) -> None:
        started_s, failed = time.perf_counter(), True
        try:
            self.trail.append(entries)
            failed = False
        finally:
            self.metrics.audited(time.perf_counter() - started_s, failed=failed)

    def _join(self) -> None:
        for each in (self._writing, self.workers):
            if each is not None:
                each.join()
