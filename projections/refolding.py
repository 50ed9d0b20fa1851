"""Folding one message again from its first event, in one transaction: what its row was and what it is are of one state of the log."""

import logging
from itertools import product
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import Connection

from ledger.store.driver import Row
from ledger.store.reads import events_of_stream
from projections.checkpoints import Generation, lock
from projections.lease import Stores
from projections.log_batches import Batch, Event, reading_log
from projections.parked import told_with_place, unpark
from projections.projecting import KNOWN_FAULTS, is_poison
from projections.projection import Projection, Sources
from projections.recent import RECENT_BYTES_MAX, Recent
from projections.register import live
from projections.rows import select_by_key

STREAM_PAGE = 500

logger = logging.getLogger(__name__)


class Refolded(NamedTuple):
    """What the message is in, before and after it was folded again; and how many parked events were taken off the list.

    That is its row, if there is one, and the rows that it is summed up in. One of these may have changed by another message, too,
    which another runner projected meanwhile.
    """

    before: list[Row]
    after: list[Row]
    healed: int


def refold(stores: Stores, projection: Projection, partition: int, stream: bytes) -> Refolded:
    """Folds a message again up to the live checkpoint, which nobody moves meanwhile. Any error leaves everything as it was."""
    with stores.rows.writing() as connection:
        generation = live(connection, projection.name).generation
        at = lock(connection, generation, partition)
        before = _rows(connection, stores, projection, generation, partition, stream)
        _fold_again(connection, stores, projection, generation, partition, stream, at.position)
        if not before and len(projection.tables) > 1:
            # A row that was lost may still be summed up somewhere. Now it is known where: once more, it is taken out of that first.
            _fold_again(connection, stores, projection, generation, partition, stream, at.position)
        after = _rows(connection, stores, projection, generation, partition, stream)
        return Refolded(before, after, unpark(connection, generation, partition, stream))


def _fold_again(
    connection: Connection,
    stores: Stores,
    projection: Projection,
    generation: Generation,
    partition: int,
    stream: bytes,
    up_to: int,
) -> None:
    projection.forget(connection, generation, partition, stream)
    sources = Sources(connection, generation, stores.log, stores.codec, Recent(RECENT_BYTES_MAX))
    after_version = 0
    while page := _page(stores, partition, stream, after_version, up_to):
        changed = projection.changes(sources, Batch(partition, page[0][0] - 1, page))
        projection.write(connection, generation, changed)
        after_version = page[-1][2]


def healed_events(stores: Stores, projection: Projection, partition: int, stream: bytes) -> int:
    """Folds a message with parked events again; how many of them are healed: all or, where one still cannot be projected, none."""
    try:
        return refold(stores, projection, partition, stream).healed
    except Exception as error:
        if not is_poison(error):
            raise
        if not isinstance(error, KNOWN_FAULTS):
            told_now = "a message with parked events could not be folded again into %s: %s"
            logger.error(told_now, projection.name, told_with_place(error))  # noqa: TRY400 - a traceback quotes values
        return 0


def _rows(
    connection: Connection,
    stores: Stores,
    projection: Projection,
    generation: Generation,
    partition: int,
    stream: bytes,
) -> list[Row]:
    """The message's row, and those that it is summed up in, table by table."""
    first, *others = projection.tables
    found = list(select_by_key(connection, first.of(generation), first.columns, first.columns[1], partition, [stream]))
    own = dict(zip(first.columns, found[0], strict=True)) if found else {}
    for kind, each in product(others if own else (), range(stores.partitions)):
        key = kind.columns[1]
        rows = select_by_key(connection, kind.of(generation), kind.columns, key, each, [own[key]])
        found += sorted(rows, key=itemgetter(slice(kind.keys)))
    return found


def _page(stores: Stores, partition: int, stream: bytes, after_version: int, up_to: int) -> list[Event]:
    with reading_log(stores.log) as connection:
        rows = events_of_stream(connection, partition, stream, after_version=after_version, limit=STREAM_PAGE)
    return [
        Event(row.position, bytes(row.stream_id), row.version, row.topic, bytes(row.state), bytes(row.hash))
        for row in rows
        if row.position <= up_to
    ]
