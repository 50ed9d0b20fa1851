"""Whether the keys of a partition are as we give them: the versions of each stream 1, 2, 3 …, and each fact once."""

from typing import NamedTuple

from ledger.store import walk
from ledger.store.database import Database
from ledger.verification.findings import FINDINGS_PER_PARTITION_MAX, RESTORE, shown


class WrongKey(NamedTuple):
    """At which position of the partition (None: at no single one), and what is wrong."""

    number: int | None
    told: str


def wrong_keys(database: Database, partition: int, events: int) -> list[WrongKey]:
    """What is wrong with the keys of a partition of about so many events. Raises SQLAlchemyError where they cannot be read."""
    streams = walk.uneven_streams(database, partition, events, FINDINGS_PER_PARTITION_MAX)
    facts = walk.repeated_facts(database, partition, events, FINDINGS_PER_PARTITION_MAX)
    return [
        *(
            WrongKey(
                None,
                f"stream {shown(stream)} in partition {partition} has {count} events with versions from {lowest} to {highest},"
                f" expected 1 to {count} without holes; {RESTORE}",
            )
            for stream, count, lowest, highest in streams
        ),
        *(
            WrongKey(first, f"the fact {shown(key)} is stored {count} times, expected once; {RESTORE}")
            for key, count, first in facts
        ),
    ]
