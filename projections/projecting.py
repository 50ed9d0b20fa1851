"""One generation of a projection in one partition: from a batch of the log to rows and checkpoint in one transaction.

    prepare   outside any lock: the changes, computed from the rows as they are at a revision
    commit    moves the checkpoint, if nobody else did since, and writes the changes: one transaction

A crash before the end of `commit` leaves rows and checkpoint as they were; after it, both are new.
"""

import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from ledger.clock import now_us
from ledger.errors import TryAgain, UnreadableEvent
from ledger.mapper import EventCodec
from ledger.positions import Position
from ledger.store.database import Database
from ledger.store.driver import Row
from projections.checkpoints import Checkpoint, Generation, OvertakenByAnother, advance, checkpoint, new_revision
from projections.log_batches import Batch, Bounds, Event, batch_after
from projections.parked import AFTER_A_PARKED_EVENT, park, parked_streams, told, told_with_place
from projections.projection import Projection, Sources, TooMuchAtOnce
from projections.recent import RECENT_BYTES_MAX, Recent

TELL_EVERY_S = 1.0

KNOWN_FAULTS = (UnreadableEvent, DataError, IntegrityError, TooMuchAtOnce)
"""What odd events are known to lead to. Whatever else is taken for an event's fault may be our own."""

logger = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """What a batch does between two checkpoints; `parked` are events that must be parked with it."""

    before: Checkpoint
    after: Checkpoint
    changed: list[Row]
    parked: list[tuple[Event, str]]


class Projector:
    """Projects one partition of the log into one generation. Used by one thread at a time; others may do the same work."""

    def __init__(
        self,
        rows: Database,
        log: Database,
        codec: EventCodec,
        projection: Projection,
        generation: Generation,
        partition: int,
        *,
        recent_bytes_max: int = RECENT_BYTES_MAX,
    ) -> None:
        self._rows = rows
        self._log = log
        self._codec = codec
        self._projection = projection
        self.generation = generation
        self.partition = partition
        # Messages folded a moment ago, true only while nobody else moved the checkpoint.
        self._recent = Recent(recent_bytes_max)
        self._recent_at = -1
        self._reached: Checkpoint | None = None
        self._told_at: dict[tuple[str, int], float] = {}

    @property
    def remembered_bytes(self) -> int:
        """About how much memory the messages take that were folded a moment ago."""
        return self._recent.held_bytes

    def position(self, connection: Connection) -> Checkpoint:
        """How far it is: as the last commit here left it, until somebody else turns out to have moved it.

        Read where the rows are read from. In a later transaction it may be that of newer rows, and older ones would be folded
        on and pass for them.
        """
        if self._reached is None:
            self._reached = checkpoint(connection, self.generation, self.partition)
        return self._reached

    def batch(self, after: int, bounds: Bounds, up_to: int | None = None) -> Batch:
        """The events of the partition after a position, as many as the bounds allow."""
        return batch_after(self._log, self.partition, after, bounds, up_to)

    def apply(self, batch: Batch) -> Checkpoint:
        """Projects a batch; events that cannot be projected are found by halving, and parked. OvertakenByAnother."""
        try:
            with self._rows.reading() as connection:
                prepared = self.prepare_within(connection, batch, self.position(connection))
            self.commit(prepared)
        except Exception as error:
            self.forget_recent()
            if not is_poison(error):
                raise
            if len(batch.events) == 1:
                return self._park(batch, error)
            first, second = batch.halves()
            self.apply(first)
            return self.apply(second)
        self._recent.trim()
        return prepared.after

    def prepare(self, batch: Batch, before: Checkpoint) -> Prepared:
        """What a batch does. `before` is the checkpoint after a commit of ours that may still be on its way."""
        with self._rows.reading() as connection:
            return self.prepare_within(connection, batch, before)

    def commit(self, prepared: Prepared) -> None:
        """Writes what was prepared, or OvertakenByAnother."""
        with self._rows.writing() as connection:
            self.commit_within(connection, prepared)
        self._reached = prepared.after

    def committed(self, prepared: Prepared) -> None:
        """What was prepared here was written by `commit_within`, and that transaction is over."""
        self._reached = prepared.after
        self._recent.trim()

    def prepare_within(self, connection: Connection, batch: Batch, before: Checkpoint) -> Prepared:
        """`prepare`, from the rows as a transaction sees them."""
        if before.position != batch.after:
            raise OvertakenByAnother(
                f"expected {self.partition}-{batch.after}, found {self.partition}-{before.position}"
            )
        if before.revision != self._recent_at:
            self._recent.forget()
        parked: list[tuple[Event, str]] = []
        kept = batch
        if before.parked:
            streams = parked_streams(
                connection, self.generation, self.partition, [event.stream_id for event in batch.events]
            )
            parked = [(event, AFTER_A_PARKED_EVENT) for event in batch.events if event.stream_id in streams]
            kept = batch._replace(events=[event for event in batch.events if event.stream_id not in streams])
        changed = self._projection.changes(self._sources(connection, self._recent), kept)
        after = _after(before, batch, parked)
        self._recent_at = after.revision
        return Prepared(before, after, changed, parked)

    def commit_within(self, connection: Connection, prepared: Prepared) -> None:
        """`commit`, within the caller's transaction; nothing of it holds before that ends."""
        advance(connection, self.generation, self.partition, prepared.before, prepared.after)
        self._projection.write(connection, self.generation, prepared.changed)
        park(connection, self.generation, self.partition, prepared.parked, now_us())

    def apply_within(self, connection: Connection, batch: Batch) -> None:
        """Projects a batch within the caller's transaction, which fails as a whole if an event cannot be projected."""
        self.forget_recent()
        try:
            before = checkpoint(connection, self.generation, self.partition)
            self.commit_within(connection, self.prepare_within(connection, batch, before))
        finally:
            self.forget_recent()

    def look_again(self) -> None:
        """Read the checkpoint again: a crash of PostgreSQL takes back the last commits, and only their readers are told."""
        self._reached = None

    def forget_recent(self) -> None:
        """What was folded may not have been written: read it again, and the checkpoint too."""
        self._recent.forget()
        self._recent_at = -1
        self._reached = None

    def _park(self, batch: Batch, error: Exception) -> Checkpoint:
        (event,) = batch.events
        with self._rows.writing() as connection:
            before = checkpoint(connection, self.generation, self.partition)
            if before.position != batch.after:
                raise OvertakenByAnother(f"expected {self.partition}-{batch.after}")
            parked = [(event, told(error))]
            prepared = Prepared(before, _after(before, batch, parked), [], parked)
            self.commit_within(connection, prepared)
        self._tell_of_parked(event, error)
        return prepared.after

    def tell_of_care(self, after: int, error: Exception) -> None:
        """Says why the events after a position are projected once more, with `apply`: a sound log never needs that."""
        level = logging.INFO if isinstance(error, KNOWN_FAULTS) else logging.ERROR
        told_now = "the events after %s are projected into %s once more, with care: %s"
        self._tell(level, told_now, Position(self.partition, after), self.generation.projection, told_with_place(error))

    def _tell_of_parked(self, event: Event, error: Exception) -> None:
        is_known = isinstance(error, KNOWN_FAULTS)
        self._tell(
            logging.WARNING if is_known else logging.ERROR,
            "the event at %s could not be projected into %s, and is parked with the later ones of its message: %s; "
            "`ledger projections` lists all of them, docs/RUNBOOK.md says what to do",
            Position(self.partition, event.position),
            self.generation.projection,
            told(error) if is_known else told_with_place(error),
        )

    def _tell(self, level: int, line: str, *values: object) -> None:
        """A line a second at most of each kind: a program that is too old may be unable to read every second event."""
        now_s = time.monotonic()
        if now_s >= self._told_at.get((line, level), -TELL_EVERY_S) + TELL_EVERY_S:
            self._told_at[line, level] = now_s
            logger.log(level, line, *values)

    def _sources(self, connection: Connection, recent: Recent) -> Sources:
        return Sources(connection, self.generation, self._log, self._codec, recent)


def _after(before: Checkpoint, batch: Batch, parked: Sequence[object]) -> Checkpoint:
    return Checkpoint(batch.last, new_revision(), before.parked + len(parked), batch.last_hash)


def is_poison(error: Exception) -> bool:
    """Whether an error may be the fault of an event, and is not that of the database, the machine or a race.

    Also what is not among `KNOWN_FAULTS`: what a fold or a driver makes of an event that a newer program wrote, or of a damaged row,
    cannot be listed in full, and the one that is missing would stop all read models. A mistake of ours looks the same; so it stops
    nothing either, and is told as an error with its place in the code.
    """
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        # The driver refused a value (such as a number of more than 64 bits) before the database saw it.
        return isinstance(error.orig, Exception) and is_poison(error.orig)
    if isinstance(error, SQLAlchemyError):
        return isinstance(error, DataError | IntegrityError)
    return not isinstance(error, OvertakenByAnother | TryAgain | OSError | MemoryError)
