"""How far a generation is in each partition, moved in the transaction that writes its rows.

A writer computes rows outside any lock, from rows as they were at a revision. `advance` is the first statement of its
transaction: it moves the checkpoint only if the revision is still the same. So of several runners one writes and the
others find out before they wrote anything; each event is applied exactly once, and nobody waits behind a computation.

A revision is a random number and not a count: a crash of PostgreSQL takes back the last commits, and what is written
after it must not look like what was lost to a writer that still remembers it.
"""

import secrets
from collections.abc import Iterable
from typing import Any, NamedTuple

from eventsourcing.persistence import IntegrityError, Tracking, TrackingRecorder
from sqlalchemy import Connection, insert, select, update

from ledger.store.database import Database
from ledger.store.driver import fetch, placeholder_of, run
from ledger.store.recorder import translated_errors
from projections.tables import checkpoints, metadata

REVISION_BITS = 63


class Generation(NamedTuple):
    """One building of a projection's tables."""

    projection: str
    number: int


class Checkpoint(NamedTuple):
    """How far a generation is in a partition; `parked` counts the events that could not be projected."""

    position: int
    revision: int
    parked: int
    hash: bytes


class OvertakenByAnother(Exception):
    """Another runner moved the checkpoint since it was read; nothing was written."""


def checkpoint(connection: Connection, generation: Generation, partition: int) -> Checkpoint:
    """How far a generation is in a partition."""
    place = placeholder_of(connection)
    statement = f"SELECT position, revision, parked, hash FROM checkpoints WHERE projection = {place} AND generation = {place} AND partition = {place}"  # noqa: S608, E501 - no value in it
    (found,) = fetch(connection, statement, (*generation, partition))
    return Checkpoint(*found)


def checkpoints_of(connection: Connection, generation: Generation) -> list[Checkpoint]:
    """How far a generation is in every partition, in the order of the partitions."""
    place = placeholder_of(connection)
    statement = f"SELECT position, revision, parked, hash FROM checkpoints WHERE projection = {place} AND generation = {place} ORDER BY partition"  # noqa: S608, E501 - no value in it
    return [Checkpoint(*row) for row in fetch(connection, statement, (*generation,))]


def new_revision() -> int:
    """The name of a state of the rows that nobody gave before."""
    return secrets.randbits(REVISION_BITS)


def advance(
    connection: Connection, generation: Generation, partition: int, expected: Checkpoint, after: Checkpoint
) -> None:
    """Moves a checkpoint that is still as expected, and locks it until the transaction ends; else OvertakenByAnother."""
    place = placeholder_of(connection)
    statement = (
        f"UPDATE checkpoints SET position = {place}, hash = {place}, revision = {place} WHERE projection = {place} "  # noqa: S608 - no value in it
        f"AND generation = {place} AND partition = {place} AND revision = {place} AND position = {place}"
    )
    changed = (after.position, after.hash, after.revision)
    moved = run(connection, statement, (*changed, *generation, partition, expected.revision, expected.position))
    if moved.rowcount != 1:
        raise OvertakenByAnother(f"{generation.projection} was moved on from {partition}-{expected.position}")


def lock(connection: Connection, generation: Generation, partition: int) -> Checkpoint:
    """Takes the checkpoint for a change of rows that does not move it; whoever computed before must compute again."""
    this = (
        (checkpoints.c.projection == generation.projection)
        & (checkpoints.c.generation == generation.number)
        & (checkpoints.c.partition == partition)
    )
    connection.execute(update(checkpoints).where(this).values(revision=new_revision()))
    return checkpoint(connection, generation, partition)


def begin(connection: Connection, generation: Generation, partitions: int) -> None:
    """The checkpoints of a new generation: before the first event everywhere."""
    connection.execute(
        insert(checkpoints),
        [
            {
                "projection": generation.projection,
                "generation": generation.number,
                "partition": partition,
                "position": 0,
                "hash": b"",
                "revision": 0,
                "parked": 0,
            }
            for partition in range(partitions)
        ],
    )


class CheckpointRecorder(TrackingRecorder):
    """The same table behind the eventsourcing library's interface, for projections written with the library.

    Upstream names are the library's own; a name is a projection of generation 0, and has no rows of ours.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        with translated_errors(), database.writing() as connection:
            metadata.create_all(connection)

    def insert_tracking(self, tracking: Tracking) -> None:
        """Notes that a notification is processed; IntegrityError where it, or a later one, was noted before."""
        with translated_errors(), self._database.writing() as connection:
            insert_tracking(connection, tracking)

    def max_tracking_id(self, application_name: str) -> int | None:
        """The last notification that is noted as processed."""
        statement = select(checkpoints.c.position).where(*_upstream(application_name))
        with translated_errors(), self._database.reading() as connection:
            return connection.execute(statement).scalar_one_or_none()

    def has_tracking_id(self, application_name: str, notification_id: int | None) -> bool:
        """Whether a notification, and so every one before it, is noted as processed."""
        last = self.max_tracking_id(application_name)
        return notification_id is None or (last is not None and last >= notification_id)


def insert_tracking(connection: Connection, tracking: Tracking) -> None:
    """Notes, within the caller's transaction, that a notification is processed; IntegrityError unless it is the latest."""
    place = placeholder_of(connection)
    # One guarded statement is atomic on both engines; a select before an update is not.
    statement = (
        f"INSERT INTO checkpoints (projection, generation, partition, position, hash, revision, parked) "  # noqa: S608 - no value in it
        f"VALUES ({place}, 0, 0, {place}, {place}, {place}, 0) ON CONFLICT (projection, generation, partition) "
        f"DO UPDATE SET position = excluded.position, revision = excluded.revision "
        f"WHERE checkpoints.position < excluded.position RETURNING position"
    )
    values = (tracking.application_name, tracking.notification_id, b"", new_revision())
    if not fetch(connection, statement, values):
        raise IntegrityError(f"{tracking.application_name} is already at {tracking.notification_id} or after it")


def _upstream(name: str) -> Iterable[Any]:
    return (checkpoints.c.projection == name, checkpoints.c.generation == 0, checkpoints.c.partition == 0)
