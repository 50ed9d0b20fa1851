"""Events that could not be projected: parked with their place and the error, so that they never stop the rest.

Once an event of a message is parked, later events of the same message are parked with it: the row stays what it was
before the first of them, rather than become something that no fold of the log gives. `retry` folds the message again
from its first event, and either all of its parked events are healed or none.
"""

import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from projections.checkpoints import Generation
from projections.log_batches import Event
from projections.rows import select_by_key
from projections.tables import checkpoints, parked_events

AFTER_A_PARKED_EVENT = "an earlier event of this message is parked"
ERROR_CHARACTERS_MAX = 200
OUR_PACKAGES = ("ledger.", "projections.")


class ParkedEvent(NamedTuple):
    """An event that waits for `retry`."""

    partition: int
    position: int
    topic: str
    error: str
    parked_at_us: int


def parked_streams(
    connection: Connection, generation: Generation, partition: int, streams: Iterable[bytes]
) -> set[bytes]:
    """Those of the streams that have a parked event."""
    found = select_by_key(
        connection,
        "parked_events",
        ("stream_id", "projection", "generation"),
        "stream_id",
        partition,
        sorted(set(streams)),
    )
    return {bytes(stream) for stream, *of in found if tuple(of) == generation}


def park(
    connection: Connection, generation: Generation, partition: int, events: list[tuple[Event, str]], now_us: int
) -> None:
    """Parks events, each with what is wrong with it, within the transaction that moves the checkpoint past them."""
    if not events:
        return
    rows = [
        {
            "projection": generation.projection,
            "generation": generation.number,
            "partition": partition,
            "position": event.position,
            "stream_id": event.stream_id,
            "topic": event.topic,
            "error": error,
            "parked_at_us": now_us,
        }
        for event, error in events
    ]
    connection.execute(insert(parked_events), rows)
    _count(connection, generation, partition, len(rows))


def unpark(connection: Connection, generation: Generation, partition: int, stream: bytes) -> int:
    """Takes the parked events of a stream off the list; how many they were."""
    this = (*_of(generation), parked_events.c.partition == partition, parked_events.c.stream_id == stream)
    healed = connection.execute(delete(parked_events).where(*this)).rowcount
    _count(connection, generation, partition, -healed)
    return healed


def some_parked_streams(
    connection: Connection, generation: Generation, after: tuple[int, int], limit: int
) -> list[tuple[int, bytes, int]]:
    """(partition, stream, first position) of streams with parked events, by the place of their first one."""
    found = connection.execute(
        select(parked_events.c.partition, parked_events.c.stream_id, parked_events.c.position)
        .where(*_of(generation), parked_events.c.error != AFTER_A_PARKED_EVENT)
        .where(
            (parked_events.c.partition > after[0])
            | ((parked_events.c.partition == after[0]) & (parked_events.c.position > after[1]))
        )
        .order_by(parked_events.c.partition, parked_events.c.position)
        .limit(limit)
    )
    return [(row.partition, bytes(row.stream_id), row.position) for row in found]


def list_parked(connection: Connection, generation: Generation, limit: int) -> list[ParkedEvent]:
    """The first parked events of a generation."""
    found = connection.execute(
        select(
            parked_events.c.partition,
            parked_events.c.position,
            parked_events.c.topic,
            parked_events.c.error,
            parked_events.c.parked_at_us,
        )
        .where(*_of(generation))
        .order_by(parked_events.c.partition, parked_events.c.position)
        .limit(limit)
    )
    return [ParkedEvent(*row) for row in found]


def told(error: Exception) -> str:
    """What went wrong, without values: an error's text may quote a body."""
    words = str(error) if type(error).__module__ == "ledger.errors" else ""
    original = getattr(error, "orig", None)  # what the driver raised, of an error of SQLAlchemy
    name = type(error).__name__ if original is None else f"{type(error).__name__} of {type(original).__name__}"
    return f"{name}: {words}"[:ERROR_CHARACTERS_MAX].rstrip(": ")


def told_with_place(error: Exception) -> str:
    """`told`, and the last place in our own code that the error came through: for whoever must mend that."""
    places = [
        f" (at {'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{line})"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__", "").startswith(OUR_PACKAGES)
    ]
    return told(error) + "".join(places[-1:])


def _count(connection: Connection, generation: Generation, partition: int, more: int) -> None:
    connection.execute(
        update(checkpoints)
        .where(
            checkpoints.c.projection == generation.projection,
            checkpoints.c.generation == generation.number,
            checkpoints.c.partition == partition,
        )
        .values(parked=checkpoints.c.parked + more)
    )


def _of(generation: Generation) -> tuple[ColumnElement[bool], ...]:
    return (parked_events.c.projection == generation.projection, parked_events.c.generation == generation.number)
