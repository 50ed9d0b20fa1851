"""Whether the keys are as we give them: the versions of each stream 1, 2, 3 …, and each fact once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ledger.store import walk
from ledger.store.database import Database
from ledger.verification.findings import FINDINGS_PER_PARTITION_MAX, RESTORE, shown


class WrongKey(NamedTuple):
    """At which position of the partition (None: at no single one), and what is wrong."""

    number: int | None
    told: str


def wrong_keys(database: Database, events: int) -> Mapping[int, Sequence[WrongKey]]:
    """What is wrong with the keys of about so many events, by partition. Raises SQLAlchemyError where they cannot be read."""
    found: defaultdict[int, list[WrongKey]] = defaultdict(list)
    most = FINDINGS_PER_PARTITION_MAX
    for partition, stream, count, lowest, highest in walk.uneven_streams(database, events, most):
        told = (
            f"stream {shown(stream)} in partition {partition} has {count} events with versions from {lowest} to {highest},"
            f" expected 1 to {count} without holes; {RESTORE}"
        )
        found[partition].append(WrongKey(None, told))
    for partition, stream, key, count in walk.repeated_facts(database, events, most):
        first = walk.first_position(database, partition, stream, key)
        told = f"the fact {shown(key)} is stored {count} times, expected once; {RESTORE}"
        found[partition].append(WrongKey(first, told))
    return found
