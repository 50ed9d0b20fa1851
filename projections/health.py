"""How the projections are: how far behind, in events and in seconds, whether somebody projects, and what a rebuild does."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection

from ledger.clock import now_us
from ledger.durations import SECOND_US, took
from ledger.errors import UnreadableEvent
from ledger.mapper import EventCodec
from ledger.positions import Position
from ledger.store import reads
from ledger.store.database import Database
from projections.checkpoints import Checkpoint, Generation, checkpoints_of
from projections.claims import is_running
from projections.heartbeats import Seen, last_seen
from projections.lease import RebuildProgress, progress_of
from projections.log_batches import Bounds, batch_after
from projections.projection import Projection
from projections.register import RegisterEntry, register_entry

LIVE: Final = "live"
REBUILDING: Final = "rebuilding"
STOPPED: Final = "stopped"
State = Literal["live", "rebuilding", "stopped"]
RUNNER_SILENT_S_MAX = 5.0
LAG_S_MAX = 30.0
FIRST_WAITING = Bounds(1, 1)


class ProjectionStatus(NamedTuple):
    """One item of `GET /projections`. `position` and `head` are written "0-17", or "0-17,1-4" with several partitions."""

    name: str
    version: int
    """That of the program which made the rows."""
    our_version: int
    state: State
    position: str
    head: str
    lag_events: int
    lag_seconds: float
    parked: int
    rebuild: RebuildProgress | None
    """Of one that runs or, where the state is not REBUILDING, that was cut off."""
    runner: Seen | None
    """The runner, in any process, that showed last that it is alive; None where none ever did."""

    @property
    def is_cut_off(self) -> bool:
        """Whether `rebuild` is of one that does not run any more, and can be gone on with."""
        return self.rebuild is not None and self.state != REBUILDING

    @property
    def is_left_alone(self) -> bool:
        """Whether its rows are of another version, and nobody is at rebuilding them to ours."""
        return self.version != self.our_version and self.state != REBUILDING

    @property
    def is_behind(self) -> bool:
        """Whether it is further behind than one that is being kept up to date."""
        return self.lag_events > 0 and (self.state == STOPPED or self.lag_seconds > LAG_S_MAX)

    @property
    def condition(self) -> str:
        """Its state in a word for people, to whom one that is far behind is not `live`."""
        return "catching up" if self.state == LIVE and self.is_behind else self.state


class Readiness(NamedTuple):
    """Why the read side is not ready (empty: it is), and what an operator should know although it is."""

    reasons: list[str]
    warnings: list[str]


def projection_status(rows: Database, log: Database, codec: EventCodec, projection: Projection) -> ProjectionStatus:
    """The state of a projection, from any process."""
    # The rows first: a head that is read later can only be further on, so the lag is never shown too small.
    with rows.reading() as connection:
        registered = register_entry(connection, projection.name)
        at = checkpoints_of(connection, registered.live_generation)
        runner = last_seen(connection, projection.name)
        built = _built(connection, registered, projection)
    with log.reading() as connection:
        heads = [head.position for head in reads.heads(connection)]
    rebuild, runs = None, is_running(registered)
    if runs:
        rebuild = progress_of(registered.rebuild_done, registered.rebuild_total, registered.rebuild_rate)
    elif built is not None:
        rebuild = progress_of(built, sum(heads), 0.0)
    return ProjectionStatus(
        name=projection.name,
        version=registered.version,
        our_version=projection.version,
        state=REBUILDING if runs else STOPPED if _is_silent(runner) else LIVE,
        position=_written([each.position for each in at]),
        head=_written(heads),
        lag_events=sum(max(head - each.position, 0) for head, each in zip(heads, at, strict=True)),
        lag_seconds=max(
            (
                _waiting_s(log, codec, partition, each)
                for partition, each in enumerate(at)
                if each.position < heads[partition]
            ),
            default=0.0,
        ),
        parked=sum(each.parked for each in at),
        rebuild=rebuild,
        runner=runner,
    )


def readiness(statuses: Sequence[ProjectionStatus], projecting_error: str | None) -> Readiness:
    """Whether the projections are alive and not lagging. Signs of life may be another server's runner's: ours tells its own errors."""
    reasons: list[str] = []
    warnings: list[str] = []
    if projecting_error is not None:
        reasons.append(f"projecting fails with {projecting_error}")
    for status in statuses:
        if _is_silent(status.runner):
            reasons.append(f"{status.name}: no runner has shown that it is alive for {RUNNER_SILENT_S_MAX:.0f} s")
        if status.lag_seconds > LAG_S_MAX:
            reasons.append(f"{status.name}: {lag_in_words(status.lag_events, status.lag_seconds)}")
        if status.parked:
            warnings.append(
                f"{status.name}: {status.parked:,} {'event is' if status.parked == 1 else 'events are'} parked"
            )
        if status.is_left_alone:
            warnings.append(
                f"{status.name}: its rows are of version {status.version}, and stay as they are until they are rebuilt to version"
                f" {status.our_version}: `ledger rebuild {status.name}`"
            )
    return Readiness(reasons, warnings)


def _is_silent(runner: Seen | None) -> bool:
    return runner is None or runner.ago_s > RUNNER_SILENT_S_MAX


def lag_in_words(events: int, seconds: float) -> str:
    """How far behind a read model is. The seconds are no estimate of how long it takes to catch up."""
    if not events:
        return "up to date with the log"
    behind = f"{events:,} {'event' if events == 1 else 'events'} behind the log"
    return f"{behind}, the first of them recorded {took(round(seconds * SECOND_US))} ago"


def _built(connection: Connection, registered: RegisterEntry, projection: Projection) -> int | None:
    """How many events a rebuild that did not come to its end has folded; None where there is none that can be gone on with."""
    if registered.shadow is None or registered.shadow_version != projection.version or registered.rebuild_cancelled:
        return None
    return sum(each.position for each in checkpoints_of(connection, Generation(projection.name, registered.shadow)))


def _waiting_s(log: Database, codec: EventCodec, partition: int, at: Checkpoint) -> float:
    """How long ago the first event that is not projected yet was recorded."""
    for event in batch_after(log, partition, at.position, FIRST_WAITING).events:
        try:
            recorded_at_us = codec.decode(event.topic, event.state).receipt.recorded_at_us
        except UnreadableEvent:
            return 0.0  # it will be parked at once
        return round(max((now_us() - recorded_at_us) / SECOND_US, 0.0), 3)
    return 0.0


def _written(numbers: Sequence[int]) -> str:
    return ",".join(str(Position(partition, number)) for partition, number in enumerate(numbers))
