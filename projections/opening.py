"""Opening the read models of a ledger: what is missing is made, and what was made from another history is made again.

Another history is a restored backup's, or a foreign file's: rows that the log cannot explain are worth nothing.
"""

from collections.abc import Sequence

from sqlalchemy import delete

from ledger.ledger import Ledger
from ledger.store.database import Database
from projections.checkpoints import Checkpoint, checkpoints_of
from projections.generations import drop, table_names
from projections.log_batches import Bounds, batch_after
from projections.projection import Projection
from projections.register import entry, open_register
from projections.tables import checkpoints, parked_events, read_models

ONE_EVENT = Bounds(1, 1)


def open_for(ledger: Ledger, rows: Database, projections: Sequence[Projection]) -> None:
    """Makes what is missing, and begins again where the log is another than the one that the rows are of."""
    _create(ledger, rows, projections)
    for projection in projections:
        if not _is_of_this_log(ledger, rows, projection):
            _forget(rows, projection)
            _create(ledger, rows, projections)


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


def _is_of_this_log(ledger: Ledger, rows: Database, projection: Projection) -> bool:
    with rows.reading() as connection:
        registered = entry(connection, projection.name)
        at = checkpoints_of(connection, registered.live_generation)
    is_ours = registered.ledger_id == ledger.identity.ledger_id and len(at) == ledger.partitions
    return is_ours and all(_has_event(ledger, partition, each) for partition, each in enumerate(at))


def _has_event(ledger: Ledger, partition: int, at: Checkpoint) -> bool:
    if at.position == 0:
        return True
    events = batch_after(ledger.database, partition, at.position - 1, ONE_EVENT).events
    return bool(events) and events[0][0] == at.position and events[0][5] == at.hash
