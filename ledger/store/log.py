"""Step 9 on a webhook's way, the last before the answer: the append.

An append locks the head rows of its partitions. Under these locks it finds the facts that the log already holds and the next
version of each stream, numbers the new events head+1, head+2 … without holes, chains their hashes, inserts them and moves
the heads. So positions commit in order by construction: a reader of the feed can never be overtaken by a late commit.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from sqlalchemy import Connection

from ledger.chain import event_hash
from ledger.facts import Fact, Placed
from ledger.positions import Position
from ledger.store.driver import fetch, placeholder_of, run_each
from ledger.store.statements import Found, find, insert_rows


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
    versions, found = find_facts(connection, facts)
    ours = _stored_as_they_are(connection, facts, found) if again else frozenset()
    places = dict[bytes, Placed]()
    for fact in facts:
        if fact.fact_key in found:
            position, version = found[fact.fact_key]
            places[fact.fact_key] = Placed(Position(fact.partition, position), version, is_new=fact.fact_key in ours)
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
    """The row of a fact right after `head`."""
    return row_after(head, fact.partition, fact.stream, version, fact.topic, fact.fact_key, fact.state)


def row_after(
    head: Head, partition: int, stream: bytes, version: int, topic: str, fact_key: bytes | None, state: bytes
) -> LogRow:
    """The row of an event right after `head`, chained to it."""
    position = head.position + 1
    chained = event_hash(head.hash, partition, position, stream, version, topic, fact_key, state)
    return LogRow(partition, position, stream, version, topic, fact_key, state, chained)


def insert_events(connection: Connection, rows: Sequence[LogRow]) -> None:
    """Writes numbered rows and moves the head of each partition behind its last of them."""
    insert_rows(connection, "events", LogRow._fields, rows)
    place = placeholder_of(connection)
    statement = f"UPDATE partition_heads SET position = {place}, hash = {place} WHERE partition = {place}"  # noqa: S608 - no value in it
    last = {row.partition: row for row in rows}
    run_each(connection, statement, [(row.position, row.hash, partition) for partition, row in last.items()])


def _stored_as_they_are(
    connection: Connection, facts: Sequence[Fact], places: Mapping[bytes, tuple[int, int]]
) -> AbstractSet[bytes]:
    """The keys of those facts that the log holds byte for byte; of copies among them it is the first that counts."""
    first = {fact.fact_key: fact for fact in reversed(facts)}
    return {
        key
        for key, (position, _) in places.items()
        if bytes(fetch(connection, _state_text(connection), (first[key].partition, position))[0][0]) == first[key].state
    }


def _state_text(connection: Connection) -> str:
    place = placeholder_of(connection)
    return f"SELECT state FROM events WHERE partition = {place} AND position = {place}"  # noqa: S608 - no value in it
