"""The next batch of a rebuild, prepared in a process of its own while the last one is written.

Preparing takes two thirds of a rebuild's time, and Python computes on one core a process. What the two say to each other:

    rebuild        prepare the batch after this checkpoint of this partition   (before it writes the batch before that)
    this process   the prepared batch; None at the end of the log; or why it could not be prepared

It only reads, and ends when the rebuild does, however that ends. What it cannot prepare the rebuild prepares by itself,
and so finds out what is the matter: an event, the database, or that this process is dead.
"""

import gc
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection, Pipe
from typing import NamedTuple, Self

import msgspec

from ledger.mapper import EventCodec
from ledger.positions import Position
from ledger.store.database import Database
from projections.checkpoints import Checkpoint, Generation
from projections.log_batches import Batch, Bounds
from projections.parked import told_with_place
from projections.projecting import Prepared, Projector
from projections.projection import Projection

AHEAD_EVENTS_MIN = 100_000
BEGUN_WITHIN_S = 0.0
"""How long a batch waits for the process: Python takes half a second to start, and meanwhile the rebuild prepares by itself."""

ANSWERS_WITHIN_S = 60.0
LOOK_EVERY_S = 0.25
NICENESS = 10
"""Whoever answers webhooks and questions goes first."""

logger = logging.getLogger(__name__)


class Task(NamedTuple):
    """What the process is told first: where everything is, and what is built."""

    rows_url: str
    log_url: str
    projection: Projection
    generation: Generation
    bounds: Bounds


class Request(NamedTuple):
    """Which batch is wanted."""

    partition: int
    before: Checkpoint


_encode = msgspec.msgpack.Encoder().encode
_request = msgspec.msgpack.Decoder(Request).decode
_answer = msgspec.msgpack.Decoder(Prepared | str | None).decode

Prepare = Callable[[Projector, Checkpoint], Prepared | None]
"""The batch after a checkpoint; None at the end of the log."""


@contextmanager
def preparing(
    rows: Database,
    log_database: Database,
    projection: Projection,
    generation: Generation,
    bounds: Bounds,
    left: int,
    while_waiting: Callable[[], None],
) -> Iterator[Prepare]:
    """How batches are prepared: ahead, where so many events are left that a process is worth its start, and else when asked.

    `while_waiting` is called four times a second while the process takes its time, and may end that by raising.
    """
    prepare: Prepare = partial(_prepare_next, bounds)
    with ExitStack() as stack:
        if left >= AHEAD_EVENTS_MIN:
            task = Task(_url_of(rows), _url_of(log_database), projection, generation, bounds)
            try:
                prepare = stack.enter_context(Ahead(task, prepare, while_waiting)).prepare_next
            except OSError as error:
                logger.warning(
                    "no process can be started to prepare batches (%s): the rebuild goes on without it", error
                )
        yield prepare


def _prepare_next(bounds: Bounds, projector: Projector, before: Checkpoint) -> Prepared | None:
    batch = projector.batch(before.position, bounds)
    return projector.prepare(batch, before) if batch.events else None


class Ahead:
    """The rebuild's hold on the process. For one thread. What the process does not do, `prepare` does."""

    def __init__(self, task: Task, prepare: Prepare, while_waiting: Callable[[], None]) -> None:
        self._prepare = prepare
        self._while_waiting = while_waiting
        self._asked: Request | None = None
        self._has_begun = False
        self._is_over = False
        self._has_told = False
        self._connection, theirs = Pipe()
        with theirs:
            # -P: nothing is imported from the folder that it happens to be started in. A group of its own: Ctrl-C is for
            # the rebuild, which then ends it.
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", "-c", f"from {__name__} import work; work({theirs.fileno()})", _shown_as(task)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,
            )
        self._connection.send(task)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def prepare_next(self, projector: Projector, before: Checkpoint) -> Prepared | None:
        """The batch after a checkpoint, and begins with the one after that; None at the end of the log."""
        reason: str | None = None
        try:
            if self._is_there():
                answer = self._asked_for(Request(projector.partition, before))
                if not isinstance(answer, str):
                    return answer
                reason = answer
        except (EOFError, OSError):
            self._is_over = True
            self._process.kill()  # it may only be slow
            told = "the process that prepares batches for a rebuild ended with %d; the rebuild goes on without it"
            logger.warning(told, self._process.wait())
        prepared = self._prepare(projector, before)  # raises what is the fault of an event
        if reason is not None and not self._has_told:
            self._has_told = True
            told = "the process that prepares batches for a rebuild could not do so after %s, but the rebuild could: %s"
            logger.warning(told, Position(projector.partition, before.position), reason)
        return prepared

    def _is_there(self) -> bool:
        """Whether it can be asked by now."""
        if not self._has_begun and not self._is_over and self._connection.poll(BEGUN_WITHIN_S):
            self._connection.recv_bytes()
            self._has_begun = True
        return self._has_begun and not self._is_over

    def _asked_for(self, request: Request) -> Prepared | str | None:
        if self._asked != request:
            if self._asked is not None:
                self._connection.recv_bytes()  # the rebuild went another way
            self._ask(request)
        give_up_s = time.monotonic() + ANSWERS_WITHIN_S
        while not self._connection.poll(LOOK_EVERY_S):
            self._while_waiting()
            if time.monotonic() > give_up_s:
                raise TimeoutError
        answer: Prepared | str | None = _answer(self._connection.recv_bytes())
        self._asked = None
        if isinstance(answer, Prepared):
            self._ask(Request(request.partition, answer.after))
        return answer

    def _ask(self, request: Request) -> None:
        self._connection.send_bytes(_encode(request))
        self._asked = request


def work(descriptor: int) -> None:
    """Answers requests until nobody is there any more: what the process does."""
    with suppress(OSError):  # where a service's system calls are filtered, this one may be refused
        os.nice(NICENESS)
    with Connection(descriptor) as connection, suppress(EOFError, ConnectionError):
        task: Task = connection.recv()
        gc.disable()  # it makes trees, which reference counting frees
        connection.send_bytes(b"begun")
        _answer_requests(connection, task)


def _answer_requests(connection: Connection, task: Task) -> None:
    rows, log_database = Database(task.rows_url, durable=False), Database(task.log_url)
    projectors: dict[int, Projector] = {}
    with Reading(task.bounds, ahead=not log_database.is_sqlite) as reading:
        while True:
            partition, before = _request(connection.recv_bytes())
            if partition not in projectors:
                # One partition at a time: what is remembered of another's messages is of no use any more.
                projectors = {
                    partition: Projector(rows, log_database, EventCodec(), task.projection, task.generation, partition)
                }
            projector = projectors[partition]
            try:
                batch = reading.after(projector, before.position)
                answer = _encode(projector.prepare(batch, before) if batch.events else None)
            except Exception as error:  # noqa: BLE001 - the rebuild tries it too, and tells what is the matter
                projector.forget_recent()
                answer = _encode(told_with_place(error))
            connection.send_bytes(answer)


class Reading:
    """Batches of the log; `ahead`: while one is prepared, the next is read, so that nobody waits for a server.

    SQLite reads in our own process, and row by row the two would only wait for one another.
    """

    def __init__(self, bounds: Bounds, *, ahead: bool) -> None:
        self._bounds = bounds
        self._ahead = ahead
        self._thread = ThreadPoolExecutor(1, "ledger-reading")
        self._next: tuple[tuple[int, int], Future[Batch]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._thread.shutdown()

    def after(self, projector: Projector, position: int) -> Batch:
        """The events after a position."""
        ahead, self._next = self._next, None
        if ahead is not None and ahead[0] == (projector.partition, position):
            batch = ahead[1].result()
        else:
            batch = projector.batch(position, self._bounds)
        if self._ahead and batch.events:
            reading = self._thread.submit(projector.batch, batch.last, self._bounds)
            self._next = (projector.partition, batch.last), reading
        return batch


def _shown_as(task: Task) -> str:
    """What `ps` shows at the end of the process's line; nobody reads it there."""
    return f"ledger: prepares batches for the rebuild of {task.projection.name}"


def _url_of(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)
