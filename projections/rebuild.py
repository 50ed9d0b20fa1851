"""Rebuilding a projection beside the live one, while appends and reads go on.

    claim      one rebuilder at a time, by a lease that it renews; a dead one's work is gone on with
    catch up   large batches into a shadow generation; of a large log the next one is prepared ahead, in another process
    index      on PostgreSQL, where that locks nothing of the live one: sorted, they cost a fraction of what row by row they would
    compare    old rows with new ones
    switch     one transaction: the shadow catches up with what readers see already, and becomes live

Every batch is committed with its checkpoint, so a rebuild that is killed anywhere goes on from its last batch.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing
from enum import Enum, auto
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, Index

from ledger.clock import now_us
from ledger.store.damage import StoreDamaged
from ledger.store.driver import fetch, said
from projections.ahead import Prepare, preparing
from projections.checkpoints import Checkpoint, Generation, OvertakenByAnother, checkpoint, lock
from projections.comparison import Comparison, Difference, compare, total
from projections.errors import RebuildCancelled, RebuildPaused
from projections.generations import analyze, create_index
from projections.lease import TELL_EVERY_S, Lease, OnProgress, Stores
from projections.log_batches import Bounds
from projections.projecting import Projector, is_poison
from projections.projection import Projection, indexes_of
from projections.register import change, locked_entry, register_entry
from projections.spans import Attributes

BATCH = Bounds(events_max=20_000, bytes_max=16 * 1024 * 1024)
"""Large enough to be fast (each changes nearly all pages of some indexes), small enough that the live runner, which shares SQLite's
write lock, waits some 150 ms."""

SWITCH_EVENTS_MAX = 500
CATCH_UPS_MAX = 1_000
INDEXES_AT_ONCE = 2
LATE_ROWS_MAX = 2_000_000
"""On SQLite an index is made within a second for each million rows, and nobody writes meanwhile. So it is not left for later than
this: who projects is missed after five."""

logger = logging.getLogger(__name__)


class RebuildReport(NamedTuple):
    """What a rebuild did: events folded, how long, how many rows were compared and differ, and some examples."""

    events: int
    seconds: float
    rows_compared: int
    rows_differing: int
    examples: list[Difference]


class Ending(Enum):
    """How a rebuild ended. One that was cut off can be gone on with."""

    DONE = auto()
    CANCELLED = auto()
    CUT_OFF = auto()


OnSwitch = Callable[[], None]


class NotYetSwitched(Exception):
    """The live generation ran ahead while the switch was prepared, or an event must be parked first."""


class Rebuild:
    """A claimed rebuild: this object alone may build the shadow generation. `run` it here, or `start` it in a thread."""

    def __init__(
        self,
        stores: Stores,
        projection: Projection,
        target: Generation,
        owner: str,
        on_switch: OnSwitch,
        *,
        compares: bool,
    ) -> None:
        self._stores = stores
        self._on_switch = on_switch
        self._projection = projection
        self._target = target
        self._lease = Lease(stores, projection, target, owner)
        self._compares = compares
        self.ending: Ending | None = None
        """None until it has ended."""
        self._is_indexed = False
        self._thread: threading.Thread | None = None
        self._projectors = [
            Projector(stores.rows, stores.log, stores.codec, projection, target, partition)
            for partition in range(stores.partitions)
        ]

    def run(self, on_progress: OnProgress | None = None) -> RebuildReport:
        """Builds, compares and switches. RebuildCancelled where somebody cancelled it, RebuildPaused after `pause`."""
        ending = Ending.CUT_OFF
        try:
            report = self._run(on_progress)
        except RebuildCancelled:
            ending = Ending.CANCELLED
            raise
        else:
            ending = Ending.DONE
            return report
        finally:
            self._stores.rows.tidy()
            self.ending = ending

    def _run(self, on_progress: OnProgress | None) -> RebuildReport:
        told: Attributes = {"projection": self._projection.name}
        with self._stores.spans(f"rebuild {self._projection.name}", told):
            try:
                self._lease.begin(on_progress)
                report = self._build()
            except OvertakenByAnother as error:
                self._lease.release()
                raise RebuildPaused(f"another process took over the rebuild of {self._projection.name}") from error
            except BaseException:
                self._lease.release()
                raise
            told |= {
                "events": report.events,
                "rows.compared": report.rows_compared,
                "rows.differing": report.rows_differing,
            }
        self._on_switch()
        self._tell_of(report)
        self._lease.drop_what_is_not_kept()
        return report

    def _tell_of(self, report: RebuildReport) -> None:
        name, events = self._projection.name, f"{report.events:,}"
        if not self._compares:
            logger.info("rolled %s back: %s events that it lacked, in %.1f s", name, events, report.seconds)
            return
        compared, differing = f"{report.rows_compared:,}", f"{report.rows_differing:,}"
        told_now = "rebuilt %s: %s events in %.1f s; %s rows were compared, %s of them differed"
        logger.info(told_now, name, events, report.seconds, compared, differing)

    def _build(self) -> RebuildReport:
        spans = self._stores.spans
        self._lease.tell()
        self._stores.rows.move_beside_commits()
        with spans("catch up", {}):
            self._catch_up()
        with spans("index", {}):
            self._index()
        with spans("compare", {}):
            comparison = self._compare()
        with spans("switch", {}):
            return self._switch(comparison)

    def start(self) -> None:
        """`run` in a thread of its own; the outcome is in `projections()` and in the log output."""
        self._thread = threading.Thread(target=self._run_logged, name="ledger-rebuild", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Ends it after its current batch; another claim goes on from there."""
        self._lease.pause()
        if self._thread is not None:
            self._thread.join()

    def _run_logged(self) -> None:
        try:
            _tell_of_examples(self._projection.name, self.run().examples)
        except RebuildCancelled as error:
            logger.info("%s, and what it had built is dropped", error)
        except RebuildPaused as error:
            if not self._lease.is_pausing:
                logger.info("the rebuild of %s ended: %s", self._projection.name, error)
                return
            told = (
                "the rebuild of %s was cut off at %s of %s events; `ledger rebuild %s` goes on there, --cancel drops it"
            )
            name = self._projection.name
            logger.info(told, name, f"{self._lease.done():,}", f"{self._lease.events():,}", name)
        except StoreDamaged as error:
            logger.error("the rebuild of %s failed: %s", self._projection.name, said(error))  # noqa: TRY400 - says what to do
        except Exception:
            logger.exception("the rebuild of %s failed; starting it again goes on where it was", self._projection.name)

    def _catch_up(self) -> None:
        stores = self._stores
        left = max(self._lease.events() - self._lease.done(), 0)
        with preparing(
            stores.rows, stores.log, self._projection, self._target, BATCH, left, self._lease.tell
        ) as prepare:
            for projector in self._projectors:
                self._catch_up_partition(projector, prepare)

    def _catch_up_partition(self, projector: Projector, prepare: Prepare) -> None:
        before = self._position(projector)
        self._lease.tell()
        while True:
            try:
                prepared = prepare(projector, before)
                if prepared is None:
                    break
                projector.commit(prepared)
                before = prepared.after
                self._index_in_time()
            except Exception as error:
                if not is_poison(error):
                    raise
                projector.tell_of_care(before.position, error)
                before = self._apply_with_care(projector)
            self._lease.tell()
        # One partition's messages at a time; and whoever comes back here looks where it is by now.
        projector.forget_recent()

    def _apply_with_care(self, projector: Projector) -> Checkpoint:
        """Goes on from what is committed, past an event that cannot be projected."""
        projector.forget_recent()
        return projector.apply(projector.batch(self._position(projector).position, BATCH))

    def _position(self, projector: Projector) -> Checkpoint:
        with self._stores.rows.reading() as connection:
            return projector.position(connection)

    def _index_in_time(self) -> None:
        rows = self._stores.rows
        if rows.is_sqlite and not self._is_indexed:
            with rows.reading() as connection:
                ((count,),) = fetch(connection, f"SELECT max(rowid) FROM {self._projection.tables[0].of(self._target)}")  # noqa: S608 - a name of ours
            if (count or 0) >= LATE_ROWS_MAX:
                self._index()

    def _index(self) -> None:
        """Makes the indexes that are not there yet, and has the tables counted."""
        rows, indexes = self._stores.rows, indexes_of(self._projection, self._target)
        if rows.is_sqlite:  # one connection writes, which nobody can tell anything by meanwhile
            for index in indexes:
                create_index(rows, index)
                self._lease.tell()
        else:
            self._index_some_at_once(indexes)
        for kind in self._projection.tables:
            analyze(rows, kind.of(self._target))
        self._is_indexed = True

    def _index_some_at_once(self, indexes: Iterable[Index]) -> None:
        """PostgreSQL makes each on a core of its own."""
        made = partial(create_index, self._stores.rows)
        with ThreadPoolExecutor(INDEXES_AT_ONCE, "ledger-indexes") as threads:
            waiting = {threads.submit(made, index) for index in indexes}
            try:
                while waiting:
                    done, waiting = wait(waiting, TELL_EVERY_S, FIRST_COMPLETED)
                    for each in done:
                        each.result()
                    self._lease.tell()
            finally:
                for each in waiting:
                    each.cancel()

    def _compare(self) -> Comparison:
        stores = self._stores
        with stores.rows.reading() as connection:
            registered = register_entry(connection, self._projection.name)
        # Another version's rows need not be as ours, nor have our columns.
        if not self._compares or registered.version != self._projection.version:
            return Comparison(0, 0, [])
        live = registered.live_generation
        # Closed here, so that nobody compares any more when somebody has ended this.
        with closing(
            compare(stores.rows, stores.log, self._projection, live, self._target, stores.partitions)
        ) as parts:
            return total(self._telling(parts))

    def _telling(self, parts: Iterator[Comparison]) -> Iterator[Comparison]:
        for part in parts:
            self._lease.tell()
            yield part

    def _switch(self, comparison: Comparison) -> RebuildReport:
        for _ in range(CATCH_UPS_MAX):
            self._catch_up()
            report = RebuildReport(self._lease.events_built, self._lease.seconds, *comparison)
            try:
                with self._stores.rows.writing() as connection:
                    self._switch_within(connection)
            except NotYetSwitched:
                continue
            return report
        raise RebuildPaused(f"the rebuild did not catch up with the live rows in {CATCH_UPS_MAX:,} tries")

    def _switch_within(self, connection: Connection) -> None:
        # Locked: a cancel comes before it, and is obeyed, or after it, and finds nothing to cancel.
        registered = locked_entry(connection, self._projection.name)
        self._lease.expect_ours(registered)
        for projector in self._projectors:
            # Locked, so that nobody reads a newer row from the live generation than the one that takes its place has.
            seen = lock(connection, registered.live_generation, projector.partition)
            ours = checkpoint(connection, self._target, projector.partition)
            if seen.position - ours.position > SWITCH_EVENTS_MAX:
                raise NotYetSwitched
            while ours.position < seen.position:
                _apply_within(connection, projector, ours.position, seen.position)
                ours = checkpoint(connection, self._target, projector.partition)
        change(
            connection,
            self._projection.name,
            live=self._target.number,
            version=self._projection.version,
            previous=registered.live,
            previous_version=registered.version,
            shadow=None,
            shadow_version=None,
            switched_at_us=now_us(),
            rebuilder=None,
        )


def _apply_within(connection: Connection, projector: Projector, after: int, up_to: int) -> None:
    batch = projector.batch(after, BATCH, up_to)
    try:
        projector.apply_within(connection, batch)
    except Exception as error:
        if not is_poison(error):
            raise
        # An event that came just now cannot be projected: the next catch-up parks it.
        projector.tell_of_care(after, error)
        raise NotYetSwitched from error


def _tell_of_examples(name: str, examples: Sequence[Difference]) -> None:
    """For the log of a server, whose rebuilds nobody watches."""
    for example in examples:
        positions, columns = ", ".join(map(str, example.positions)), ", ".join(example.columns)
        logger.warning("the row of %s with the events %s was not as the log says, in: %s", name, positions, columns)
