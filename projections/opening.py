"""Opening the read models of a ledger: what is missing is made, and what was made from another history is made again.

Another history is a restored backup's, or a foreign file's: rows that the log cannot explain are worth nothing.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import delete

from ledger.ledger import Ledger
from ledger.positions import Position
from ledger.store.database import Database
from projections.checkpoints import Checkpoint, Generation, checkpoints_of
from projections.generations import drop, drop_all_but_those_kept, table_names
from projections.log_batches import Bounds, batch_after
from projections.projection import Projection
from projections.register import change, open_register, register_entry
from projections.tables import checkpoints, parked_events, read_models

ONE_EVENT = Bounds(1, 1)

logger = logging.getLogger(__name__)


class Mismatch(NamedTuple):
    """Why rows are of another log than this one, and whether that is because this one ends before them."""

    why: str
    lacks_events: bool = False


def open_for(ledger: Ledger, rows: Database, projections: Sequence[Projection]) -> str | None:
    """Makes what is missing, and begins again where the log is another than the one that the rows are of.

    What the log lacks, where it ends before what the rows had come to; None otherwise.
    """
    _create(ledger, rows, projections)
    others = [(each, found) for each in projections if (found := _mismatch(ledger, rows, each)) is not None]
    lacking = next((found.why for _, found in others if found.lacks_events), None)
    if lacking is not None:
        logger.error("acknowledged events are missing: %s. The read models are made again from what is there", lacking)
    elif others:
        logger.warning("the read models are made again, because they are of another log: %s", others[0][1].why)
    if others:
        for projection, _ in others:
            _forget(rows, projection)
        _create(ledger, rows, projections)
    for projection in projections:
        _forget_what_ran_ahead_of_another(ledger, rows, projection)
    return lacking


def _create(ledger: Ledger, rows: Database, projections: Sequence[Projection]) -> None:
    with rows.writing() as connection:
        open_register(connection, projections, ledger.identity.ledger_id, ledger.partitions)


def _forget(rows: Database, projection: Projection) -> None:
    with rows.writing() as connection:
        for name in table_names(connection, projection, ()):
            drop(connection, name)
        for table in (checkpoints, parked_events):
            connection.execute(delete(table).where(table.c.projection == projection.name))
        connection.execute(delete(read_models).where(read_models.c.name == projection.name))


def _mismatch(ledger: Ledger, rows: Database, projection: Projection) -> Mismatch | None:
    with rows.reading() as connection:
        registered = register_entry(connection, projection.name)
        at = checkpoints_of(connection, registered.live_generation)
    if registered.ledger_id != ledger.identity.ledger_id or len(at) != ledger.partitions:
        return Mismatch("that of another ledger")
    return _first_mismatch(ledger, enumerate(at))


def _forget_what_ran_ahead_of_another(ledger: Ledger, rows: Database, projection: Projection) -> None:
    """What a rebuild or a rollback that was cut off had built from another log, further than the live rows had come.

    What is no further than these is of the same log as they, whose hash is of all events before it.
    """
    with rows.reading() as connection:
        registered = register_entry(connection, projection.name)
        live = checkpoints_of(connection, registered.live_generation)
        built = {
            name: checkpoints_of(connection, Generation(projection.name, number))
            for name, number in (("shadow", registered.shadow), ("previous", registered.previous))
            if number is not None
        }
    for name, at in built.items():
        mismatch = _mismatch_ahead(ledger, live, at)
        if mismatch is not None:
            told = "what a rebuild of %s that was cut off had built is dropped, because it is of another log: %s"
            logger.warning(told, projection.name, mismatch.why)
            with rows.writing() as connection:
                change(connection, projection.name, rebuilder=None, **{name: None, f"{name}_version": None})
            drop_all_but_those_kept(rows, projection)


def _mismatch_ahead(ledger: Ledger, live: Sequence[Checkpoint], at: Sequence[Checkpoint]) -> Mismatch | None:
    if len(at) != len(live):
        return Mismatch("that of another ledger")
    found = enumerate(zip(at, live, strict=True))
    return _first_mismatch(
        ledger, ((partition, each) for partition, (each, ours) in found if each.position > ours.position)
    )


def _first_mismatch(ledger: Ledger, at: Iterable[tuple[int, Checkpoint]]) -> Mismatch | None:
    found = (_mismatch_at(ledger, partition, each) for partition, each in at)
    return next((each for each in found if each is not None), None)


def _mismatch_at(ledger: Ledger, partition: int, at: Checkpoint) -> Mismatch | None:
    if at.position == 0:
        return None
    reached = Position(partition, at.position)
    events = batch_after(ledger.database, partition, at.position - 1, ONE_EVENT).events
    if not events:
        end = Position(partition, ledger.heads()[partition].position)
        return Mismatch(
            f"the read models had come to {reached}, and the log ends at {end};"
            " was a backup put in its place, or its -wal file deleted? (docs/RUNBOOK.md)",
            lacks_events=True,
        )
    is_same = (events[0][0], events[0][5]) == (at.position, at.hash)
    return None if is_same else Mismatch(f"the event at {reached} is not the one that the rows were made from")
