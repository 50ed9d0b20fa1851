"""Step 9 on a webhook's way, the last before the answer: the append.

An append locks the head rows of its partitions. Under these locks it finds the facts that the log already holds and the next
version of each stream, numbers the new events head+1, head+2 … without holes, chains their hashes, inserts them and moves
the heads. So positions commit in order by construction: a reader of the feed can never be overtaken by a late commit.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from ledger.chain import event_hash
from ledger.facts import Fact, Placed
from ledger.positions import Position
from ledger.store.driver import fetch, placeholder_of, run_each
from ledger.store.statements import Found, find, insert_rows
from ledger.store.tables import events


class LogRow(NamedTuple):
    """One stored event, column by column."""

    partition: int
    position: int
    stream_id: bytes
    version: int
    topic: str
    fact_key: bytes | None
    state: bytes
    hash: bytes


class Head(NamedTuple):
    """The last position and the last hash of a partition."""

    position: int
    hash: bytes


def append(
    connection: Connection, heads: Mapping[int, Head], facts: Sequence[Fact], *, again: bool = False
) -> list[Placed]:
    """Places facts, in their order, behind the locked heads of their partitions; what the log already holds is found.

    `again` says that an earlier try of these very facts may have been committed without our learning of it: a fact that
    is found exactly as we hand it over is then ours, and new.
    """
    versions, positions = find_facts(connection, facts)
    places = _known_facts(connection, facts, positions, again=again) if positions else {}
    ends = dict(heads)
    rows: list[LogRow] = []
    placed: list[Placed] = []
    for fact in facts:
        known = places.get(fact.fact_key)
        if known is None:
            version = versions[fact.stream] = versions.get(fact.stream, 0) + 1
            row = next_row(ends[fact.partition], fact, version)
            ends[fact.partition] = Head(row.position, row.hash)
            rows.append(row)
            known = Placed(Position(fact.partition, row.position), version, is_new=True)
        placed.append(known)
        if known.is_new:  # a copy of it later in this batch is a duplicate
            places[fact.fact_key] = Placed(known.position, known.version, is_new=False)
    if rows:
        insert_events(connection, rows)
    return placed


def lock_heads(connection: Connection, partitions: Collection[int]) -> dict[int, Head]:
    """The heads of some partitions, locked until the transaction ends (on SQLite BEGIN IMMEDIATE has locked everything).

    In the order of the partitions: two that lock some of the same wait for each other, and neither for ever.
    """
    lock = "" if connection.dialect.name == "sqlite" else " FOR UPDATE"
    places = ", ".join([placeholder_of(connection)] * len(partitions))
    statement = (
        f"SELECT partition, position, hash FROM partition_heads WHERE partition IN ({places}) ORDER BY partition{lock}"  # noqa: S608 - no value in it
    )
    rows = fetch(connection, statement, tuple(partitions))
    return {partition: Head(position, last_hash) for partition, position, last_hash in rows}


def lock_head(connection: Connection, partition: int) -> Head:
    """The head of one partition, locked in the same way."""
    return lock_heads(connection, (partition,))[partition]


def latest_versions(connection: Connection, partition: int, streams: Iterable[bytes]) -> dict[bytes, int]:
    """The latest version of each of those streams of a partition that exists."""
    return find(connection, dict.fromkeys(streams, partition)).versions


def find_facts(connection: Connection, facts: Sequence[Fact]) -> Found:
    """What the log holds of some facts, and of their streams."""
    streams = {fact.stream: fact.partition for fact in facts}
    return find(connection, streams, {fact.fact_key: fact.partition for fact in facts})


def next_row(head: Head, fact: Fact, version: int) -> LogRow:
    """The row of a new event right after `head`."""
    position = head.position + 1
    chained = event_hash(
        head.hash, fact.partition, position, fact.stream, version, fact.topic, fact.fact_key, fact.state
    )
    return LogRow(fact.partition, position, fact.stream, version, fact.topic, fact.fact_key, fact.state, chained)


def insert_events(connection: Connection, rows: Sequence[LogRow]) -> None:
    """Writes numbered rows and moves the head of each partition behind its last of them."""
    insert_rows(connection, "events", LogRow._fields, rows)
    place = placeholder_of(connection)
    statement = f"UPDATE partition_heads SET position = {place}, hash = {place} WHERE partition = {place}"  # noqa: S608 - no value in it
    last = {row.partition: row for row in rows}
    run_each(connection, statement, [(row.position, row.hash, partition) for partition, row in last.items()])


def _known_facts(
    connection: Connection, facts: Sequence[Fact], positions: Mapping[bytes, int], *, again: bool
) -> dict[bytes, Placed]:
    # Of copies in one batch it is the first that an earlier try stored.
    offered = {fact.fact_key: fact.state for fact in reversed(facts)}
    known: dict[bytes, Placed] = {}
    for partition in {fact.partition for fact in facts if fact.fact_key in positions}:
        here = [
            positions[fact.fact_key] for fact in facts if fact.partition == partition and fact.fact_key in positions
        ]
        for key, position, version, state in connection.execute(_HELD, {"partition": partition, "positions": here}):
            is_ours = again and bytes(state) == offered[bytes(key)]
            known[bytes(key)] = Placed(Position(partition, position), version, is_new=is_ours)
    return known


_HELD = select(events.c.fact_key, events.c.position, events.c.version, events.c.state).where(
    events.c.partition == bindparam("partition"), events.c.position.in_(bindparam("positions", expanding=True))
)
