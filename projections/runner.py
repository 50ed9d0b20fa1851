"""The runner: a thread that projects what is new in the log, and shows that it is alive.

It is woken at once after an append in this process and looks for itself otherwise, for appends of other processes; idle,
it costs one small query a look. Whatever fails is tried again, ever more slowly; the runner itself ends only when stopped.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from ledger.errors import StoreUnavailable
from ledger.mapper import EventCodec
from ledger.outage import Outage
from ledger.store import reads
from ledger.store.damage import StoreDamaged
from ledger.store.database import Database
from ledger.store.driver import said
from ledger.store.place import what_to_do_about_damage
from ledger.store.sqlite import DAMAGED
from projections.checkpoints import Checkpoint, Generation, OvertakenByAnother, checkpoints_of
from projections.heartbeats import beat
from projections.log_batches import LIVE, Batch, is_of_the_log, reading_log
from projections.projecting import Projector, is_poison
from projections.projection import Projection
from projections.recent import RECENT_BYTES_MAX
from projections.register import register_entry
from projections.spans import Attributes, Spans, unseen

LOOK_FIRST_S = 0.25
LOOK_LAST_S = 1.0
PASS_S_USUAL = 0.0025
REST_S_MIN, REST_S_MAX = 0.01, 0.25
"""After a pass it rests, and takes together what came meanwhile. The rest grows with the square of the pass, which grows with the load:
a usual pass rests as long as it took, one of ten times that ten times as long. So lists are fresh while there is time for it, and
webhooks have the machine when there is not: few large passes cost half of what many small ones do. What is left over in a pass is gone
on with at once."""

FAR_BEHIND_EVENTS = 10_000
"""So far behind, projecting takes seconds, and people wonder."""

RETRY_FIRST_S = 0.1
RETRY_LAST_S = 1.0
HEARTBEAT_S = 1.0

logger = logging.getLogger(__name__)

Reached = Callable[[str, int, int], None]


class Step(NamedTuple):
    """What is next for a projection in a partition: a batch, and the checkpoint that it goes on from."""

    projector: Projector
    before: Checkpoint
    batch: Batch


class Runner:
    """Projects the log into the live generations of all projections. `wake` may be called from any thread."""

    def __init__(
        self,
        rows: Database,
        log_database: Database,
        codec: EventCodec,
        projections: Sequence[Projection],
        reached: Reached,
        spans: Spans = unseen,
    ) -> None:
        self._rows = rows
        self._log = log_database
        self._codec = codec
        self._projections = projections
        self._reached = reached
        self._spans = spans
        self._projectors: dict[tuple[Generation, int], Projector] = {}
        self._done: list[int] | None = None
        self._first = 0
        self._is_left = False
        self._far_behind_since: float | None = None
        self._wake = threading.Event()
        self._is_over = threading.Event()
        self._outage = Outage(logger, "projecting works again")
        self._thread: threading.Thread | None = None
        self._heartbeat_due = 0.0
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.last_seen = time.monotonic()
        self.last_error: str | None = None

    def start(self) -> None:
        """Starts the thread."""
        self.last_seen = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="ledger-projections", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after its current batch."""
        self._is_over.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def wake(self) -> None:
        """There is something new in the log."""
        self._wake.set()

    @property
    def remembered_bytes(self) -> int:
        """About how much memory the messages take that were folded a moment ago."""
        return sum(projector.remembered_bytes for projector in self._projectors.values())

    @property
    def silent_s(self) -> float:
        """How long ago it last showed that it is alive."""
        return time.monotonic() - self.last_seen

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def pass_once(self) -> bool:
        """Projects one batch of each partition where there is something new; whether there was.

        One that fails keeps nobody from the others, and its error is raised in the end; two say that it is not theirs, and the
        next pass begins behind them.
        """
        with reading_log(self._log) as connection:
            heads = [head.position for head in reads.heads(connection)]
        if self._done is None:
            self._done = self._how_far(heads)
        left, done, failed = 0, self._done, None
        moved = [partition for partition, head in enumerate(heads) if done[partition] < head]
        self._tell_if_far_behind(sum(heads[partition] - done[partition] for partition in moved))
        for partition in sorted(moved, key=lambda each: (each - self._first) % len(heads)):
            if self._is_over.is_set():
                break
            try:
                if self._thread is not None:
                    self._beat()
                left_here = self._advance(partition, heads[partition], len(heads))
            except Exception as error:
                if failed is not None:
                    self._first = partition + 1
                    raise
                failed = error
                continue
            if left_here == 0:
                done[partition] = heads[partition]
            left += left_here
        self._is_left = left > 0
        if failed is not None:
            raise failed
        if left == 0 and not self._is_over.is_set():
            self._tell_if_caught_up()
        return bool(moved)

    def _how_far(self, heads: Sequence[int]) -> list[int]:
        """How far the projections are in each partition, as register and checkpoints say; those that are left alone hold nobody up."""
        with self._rows.reading() as connection:
            at = [
                [each.position for each in checkpoints_of(connection, registered.live_generation)]
                for projection in self._projections
                if (registered := register_entry(connection, projection.name)).version == projection.version
            ]
        return [min(positions) for positions in zip(heads, *at, strict=True)]

    def _advance(self, partition: int, head: int, partitions: int) -> int:
        """Projects the next batch of a partition into all projections at once; how many events one of them is still behind at most."""
        told: Attributes = {"partition": partition, "events": 0}
        with self._spans("project", told):
            steps = self._project(partition, head, partitions)
            told["events"] = max((len(each.batch.events) for each in steps), default=0)
        for each in steps:
            self._reached(each.projector.generation.projection, partition, each.batch.last)
        # More than that may have come before the batch was read.
        return max((max(head - each.batch.last, 0) for each in steps), default=0)

    def _tell_if_far_behind(self, events: int) -> None:
        if events > FAR_BEHIND_EVENTS and self._far_behind_since is None:
            self._far_behind_since = time.monotonic()
            logger.info(
                "the read models are %s events behind the log: lists lack what came last until they have caught up",
                f"{events:,}",
            )

    def _tell_if_caught_up(self) -> None:
        if self._far_behind_since is not None:
            logger.info("the read models have caught up, after %.1f s", time.monotonic() - self._far_behind_since)
            self._far_behind_since = None

    def _project(self, partition: int, head: int, partitions: int) -> list[Step]:
        steps: list[Step] = []
        try:
            # Few transactions, because each costs as much as some events: one to compute in, and one to write all rows in.
            with self._rows.reading() as connection:
                steps += self._steps(connection, partition, head, partitions)
                prepared = [each.projector.prepare_within(connection, each.batch, each.before) for each in steps]
            if steps:
                with self._rows.writing() as connection:
                    for each, changes in zip(steps, prepared, strict=True):
                        each.projector.commit_within(connection, changes)
        except Exception as error:
            for each in steps:
                each.projector.forget_recent()
            if not steps or not is_poison(error):  # before there was a batch, no event can be at fault
                raise
            for each in steps:
                each.projector.tell_of_care(each.batch.after, error)
                each.projector.apply(each.batch)
        else:
            for each, changes in zip(steps, prepared, strict=True):
                each.projector.committed(changes)
        return steps

    def _steps(self, connection: Connection, partition: int, head: int, partitions: int) -> list[Step]:
        """What is next for each projection that is behind; mostly the same batch for all."""
        batches: dict[int, Batch] = {}
        steps: list[Step] = []
        for projection in self._projections:
            registered = register_entry(connection, projection.name)
            if registered.version != projection.version:
                continue  # another version's rows are left alone until the rebuild has replaced them
            projector = self._projector(
                projection,
                registered.live_generation,
                partition,
                RECENT_BYTES_MAX // (len(self._projections) * partitions),
            )
            before = projector.position(connection)
            if before.position < head and before.position not in batches:
                batches[before.position] = projector.batch(before.position, LIVE)
            if before.position < head and batches[before.position].events:
                steps.append(Step(projector, before, batches[before.position]))
        return steps

    def _projector(
        self, projection: Projection, generation: Generation, partition: int, recent_bytes_max: int
    ) -> Projector:
        key = (generation, partition)
        if key not in self._projectors:
            # Only the live generation's projectors are kept: others hold what they folded for nothing.
            self._projectors = {
                held: projector
                for held, projector in self._projectors.items()
                if held[0].projection != generation.projection or held[0] == generation
            }
            self._projectors[key] = Projector(
                self._rows,
                self._log,
                self._codec,
                projection,
                generation,
                partition,
                recent_bytes_max=recent_bytes_max,
            )
        return self._projectors[key]

    def _run(self) -> None:
        look_s, retry_s = LOOK_FIRST_S, RETRY_FIRST_S
        while not self._is_over.is_set():
            self._wake.clear()
            began_s = time.monotonic()
            try:
                self._beat()
                worked = self.pass_once()
            except OvertakenByAnother:
                self._wake.wait(REST_S_MAX)
            except Exception as error:  # noqa: BLE001 - the runner must outlive whatever happens to one pass
                self._failed(error)
                self._is_over.wait(retry_s)  # whatever comes meanwhile
                retry_s = min(2 * retry_s, RETRY_LAST_S)
            else:
                self._outage.worked()
                self.last_error, retry_s = None, RETRY_FIRST_S
                look_s = LOOK_FIRST_S if worked else min(2 * look_s, LOOK_LAST_S)
                self._rest(look_s, _rest_s(time.monotonic() - began_s) if worked else 0.0)

    def _rest(self, look_s: float, rest_s: float) -> None:
        if not self._is_left and not self._is_over.wait(rest_s):
            self._wake.wait(look_s)

    def _failed(self, error: Exception) -> None:
        # The text of an error may quote rows, which are personal data; of those that say that a database cannot work none does.
        name = type(error).__name__
        match error:
            case OperationalError():
                why = f"{name} ({said(error)})"
            case StoreUnavailable():
                why = f"{name} ({error})"
            case _:
                why = name
        self._outage.failed(name, "projecting failed and is tried again: %s", f"{why}{self._what_to_do(error)}")
        # Strangers may ask for this one. What SQLite says names nothing; PostgreSQL names hosts and users.
        self.last_error = why if self._rows.is_sqlite else name
        self._projectors.clear()
        if not is_of_the_log(error):
            self._rows.after_failure(error)
        elif not isinstance(error, StoreDamaged):
            # Reading it again tells no more, and a check would keep who commits waiting.
            self._log.after_failure(error)

    def _what_to_do(self, error: Exception) -> str:
        """What an operator has to do, where it does not end by itself."""
        damaged = None if is_of_the_log(error) else self._rows.file
        if damaged is None or not any(words in str(error) for words in DAMAGED):
            return ""
        return f"; {what_to_do_about_damage(damaged)}"

    def _beat(self) -> None:
        self.last_seen = time.monotonic()
        if self.last_seen < self._heartbeat_due:
            return
        # A rebuild in any process may have put another generation in place, and a crash of PostgreSQL may have taken back
        # what was committed here: look at the checkpoints again.
        self._done = None
        for projector in self._projectors.values():
            projector.look_again()
        with self._rows.writing() as connection:
            beat(connection, [projection.name for projection in self._projections], self.name)
        self._heartbeat_due = self.last_seen + HEARTBEAT_S


def _rest_s(pass_s: float) -> float:
    return min(max(pass_s * pass_s / PASS_S_USUAL, REST_S_MIN), REST_S_MAX)
