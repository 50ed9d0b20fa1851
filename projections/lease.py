"""A rebuild's hold on its projection while it works: a lease in the register, which it renews by telling how far it is.

Who cancels a rebuild, or takes over that of a process that seems dead, writes so into the register; the rebuild finds it
there and ends. Who claims it is in `claims.py`.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from ledger.clock import now_us
from ledger.mapper import EventCodec
from ledger.store import reads
from ledger.store.database import Database
from projections.checkpoints import Generation, checkpoints_of
from projections.errors import RebuildCancelled, RebuildPaused
from projections.generations import drop_all_but_those_kept
from projections.projection import Projection
from projections.register import RegisterEntry, change, register_entry
from projections.spans import Spans, unseen

TELL_EVERY_S = 0.25


class Stores(NamedTuple):
    """What a rebuild works with."""

    rows: Database
    log: Database
    codec: EventCodec
    partitions: int
    spans: Spans = unseen


class RebuildProgress(NamedTuple):
    """How far a rebuild is, in events; `seconds_left` is None until there is a rate, and of one that was cut off."""

    done: int
    total: int
    events_per_second: float
    seconds_left: float | None


OnProgress = Callable[[RebuildProgress], None]


class Lease:
    """Of one rebuild. `pause` may be called from any thread."""

    def __init__(self, stores: Stores, projection: Projection, target: Generation, owner: str) -> None:
        self._stores = stores
        self._projection = projection
        self._target = target
        self._owner = owner
        self._on_progress: OnProgress | None = None
        self._told_at = 0.0
        self._began = time.monotonic()
        self._done_before = 0
        self.is_pausing = False

    def begin(self, on_progress: OnProgress | None) -> None:
        """The work begins, where an earlier one may have come to."""
        self._on_progress = on_progress
        self._began = time.monotonic()
        self._done_before = self.done()

    def pause(self) -> None:
        """Ends the rebuild the next time that it tells how far it is."""
        self.is_pausing = True

    @property
    def seconds(self) -> float:
        """How long it has worked."""
        return time.monotonic() - self._began

    @property
    def events_built(self) -> int:
        """How many events it has taken since it began."""
        return self.done() - self._done_before

    def tell(self) -> None:
        """Renews the lease and says how far it is. RebuildCancelled, RebuildPaused where somebody ended it or took it over."""
        now = time.monotonic()
        if self.is_pausing:
            raise RebuildPaused(f"the rebuild of {self._projection.name} was paused")
        if now < self._told_at + TELL_EVERY_S:
            return
        self._told_at = now
        progress = progress_of(self.done(), self.events(), self.events_built / max(self.seconds, 0.001))
        with self._stores.rows.writing() as connection:
            self.expect_ours(register_entry(connection, self._projection.name))
            change(
                connection,
                self._projection.name,
                rebuilder_seen_us=now_us(),
                rebuild_done=progress.done,
                rebuild_total=progress.total,
                rebuild_rate=progress.events_per_second,
            )
        if self._on_progress is not None:
            self._on_progress(progress)

    def expect_ours(self, registered: RegisterEntry) -> None:
        """RebuildCancelled, RebuildPaused as the register has it."""
        if registered.rebuilder != self._owner:
            raise RebuildPaused(f"another process took over the rebuild of {self._projection.name}")
        if registered.rebuild_cancelled:
            raise RebuildCancelled(f"the rebuild of {self._projection.name} was cancelled")

    def events(self) -> int:
        """How many events the log has."""
        with self._stores.log.reading() as connection:
            return sum(head.position for head in reads.heads(connection))

    def done(self) -> int:
        """How many of them are in the rows."""
        with self._stores.rows.reading() as connection:
            return sum(each.position for each in checkpoints_of(connection, self._target))

    def release(self) -> None:
        """Gives the lease back; what was built stays for the next claim, unless it was cancelled."""
        with self._stores.rows.writing() as connection:
            registered = register_entry(connection, self._projection.name)
            if registered.rebuilder != self._owner:
                return
            change(connection, self._projection.name, rebuilder=None, rebuild_cancelled=0)
            # A rollback builds none, and what a cut-off rebuild had built is not its own to drop.
            if registered.rebuild_cancelled and registered.shadow == self._target.number:
                change(connection, self._projection.name, shadow=None, shadow_version=None)
        if registered.rebuild_cancelled:
            self.drop_what_is_not_kept()

    def drop_what_is_not_kept(self) -> None:
        """Drops the generations that nobody needs any more, until a pause."""
        drop_all_but_those_kept(self._stores.rows, self._projection, lambda: self.is_pausing)


def progress_of(done: int, events: int, rate: float) -> RebuildProgress:
    """Progress, with the time that is left at this rate."""
    return RebuildProgress(done, events, round(rate, 1), round((events - done) / rate, 1) if rate > 0 else None)
