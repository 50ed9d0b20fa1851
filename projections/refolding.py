"""Folding one message again from its first event, in one transaction: what its row was and what it is are of one state of the log."""

import logging
from typing import NamedTuple

from ledger.store.driver import Row
from ledger.store.reads import events_of_stream
from projections.checkpoints import Generation, lock
from projections.lease import Stores
from projections.log_batches import Batch, Event, reading_log
from projections.parked import told_with_place, unpark
from projections.projecting import KNOWN_FAULTS, is_poison
from projections.projection import Projection, Sources
from projections.recent import RECENT_BYTES_MAX, Recent
from projections.rows import select_by_key

STREAM_PAGE = 500

log = logging.getLogger(__name__)


class Refolded(NamedTuple):
    """The message's row before and after it was folded again, and how many parked events were taken off the list."""

    before: Row | None
    after: Row | None
    healed: int


def refold(stores: Stores, projection: Projection, generation: Generation, partition: int, stream: bytes) -> Refolded:
    """Folds a message again up to the checkpoint, which nobody moves meanwhile. Any error leaves everything as it was."""
    kind, recent = projection.tables[0], Recent(RECENT_BYTES_MAX)
    with stores.rows.writing() as connection:

        def row() -> Row | None:
            table = kind.of(generation)
            return next(select_by_key(connection, table, kind.columns, "stream_id", partition, [stream]), None)

        at = lock(connection, generation, partition)
        before, after_version = row(), 0
        projection.forget(connection, generation, partition, stream)
        sources = Sources(connection, generation, stores.log, stores.codec, recent)
        while page := _page(stores, partition, stream, after_version, at.position):
            changes = projection.changes(sources, Batch(partition, page[0][0] - 1, page))
            projection.write(connection, generation, changes)
            after_version = page[-1][2]
        return Refolded(before, row(), unpark(connection, generation, partition, stream))


def healed_events(stores: Stores, projection: Projection, generation: Generation, partition: int, stream: bytes) -> int:
    """Folds a message with parked events again; how many of them are healed: all or, where one still cannot be projected, none."""
    try:
        return refold(stores, projection, generation, partition, stream).healed
    except Exception as error:
        if not is_poison(error):
            raise
        if not isinstance(error, KNOWN_FAULTS):
            told_now = "a message with parked events could not be folded again into %s: %s"
            log.error(told_now, generation.projection, told_with_place(error))  # noqa: TRY400 - a traceback quotes values
        return 0


def _page(stores: Stores, partition: int, stream: bytes, after_version: int, up_to: int) -> list[Event]:
    with reading_log(stores.log) as connection:
        rows = events_of_stream(connection, partition, stream, after_version=after_version, limit=STREAM_PAGE)
    return [
        Event(row.position, bytes(row.stream_id), row.version, row.topic, bytes(row.state), bytes(row.hash))
        for row in rows
        if row.position <= up_to
    ]
