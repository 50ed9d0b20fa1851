"""Step 9 on a webhook's way, the last before the answer: the append.

An append locks the head row of its partition. Under that lock it finds the facts that the log already holds and the next
version of each stream, numbers the new events head+1, head+2 … without holes, chains their hashes, inserts them and moves
the head. So positions commit in order by construction: a reader of the feed can never be overtaken by a late commit.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from ledger.chain import event_hash
from ledger.facts import Fact, Placed
from ledger.positions import Position
from ledger.store.driver import fetch, placeholder_of, run
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
    connection: Connection, partition: int, head: Head, facts: Sequence[Fact], *, again: bool = False
) -> list[Placed]:
    """Places facts of one partition, in their order, behind its locked head; what the log already holds is found.

    `again` says that an earlier try of these very facts may have been committed without our learning of it: a fact that
    is found exactly as we hand it over is then ours, and new.
    """
    versions, positions = find_facts(connection, partition, facts)
    places = _known_facts(connection, partition, facts, positions, again=again) if positions else {}
    rows: list[LogRow] = []
    placed: list[Placed] = []
    for fact in facts:
        known = places.get(fact.fact_key)
        if known is None:
            version = versions[fact.stream] = versions.get(fact.stream, 0) + 1
            row = next_row(head, fact, version)
            head = Head(row.position, row.hash)
            rows.append(row)
            known = Placed(Position(partition, row.position), version, is_new=True)
        placed.append(known)
        if known.is_new:  # a copy of it later in this batch is a duplicate
            places[fact.fact_key] = Placed(known.position, known.version, is_new=False)
    if rows:
        insert_events(connection, rows, head)
    return placed


def lock_head(connection: Connection, partition: int) -> Head:
    """The head of a partition, locked until the transaction ends (on SQLite BEGIN IMMEDIATE has locked everything)."""
    lock = "" if connection.dialect.name == "sqlite" else " FOR UPDATE"
    place = placeholder_of(connection)
    statement = f"SELECT position, hash FROM partition_heads WHERE partition = {place}{lock}"  # noqa: S608 - no value in it
    ((position, last_hash),) = fetch(connection, statement, (partition,))
    return Head(position, last_hash)


def latest_versions(connection: Connection, partition: int, streams: Iterable[bytes]) -> dict[bytes, int]:
    """The latest version of each of those streams that exists."""
    return find(connection, partition, set(streams)).versions


def find_facts(connection: Connection, partition: int, facts: Iterable[Fact]) -> Found:
    """What the log holds of some facts of one partition, and of their streams."""
    keys = {fact.fact_key: fact.stream for fact in facts}
    return find(connection, partition, set(keys.values()), keys)


def next_row(head: Head, fact: Fact, version: int) -> LogRow:
    """The row of a new event right after `head`."""
    position = head.position + 1
    chained = event_hash(
        head.hash, fact.partition, position, fact.stream, version, fact.topic, fact.fact_key, fact.state
    )
    return LogRow(fact.partition, position, fact.stream, version, fact.topic, fact.fact_key, fact.state, chained)


def insert_events(connection: Connection, rows: Sequence[LogRow], head: Head) -> None:
    """Writes numbered rows and moves the head of their partition behind the last of them."""
    insert_rows(connection, "events", LogRow._fields, rows)
    place = placeholder_of(connection)
    statement = f"UPDATE partition_heads SET position = {place}, hash = {place} WHERE partition = {place}"  # noqa: S608 - no value in it
    run(connection, statement, (*head, rows[0].partition))


def _known_facts(
    connection: Connection, partition: int, facts: Sequence[Fact], positions: dict[bytes, int], *, again: bool
) -> dict[bytes, Placed]:
    # Of copies in one batch it is the first that an earlier try stored.
    offered = {fact.fact_key: fact.state for fact in reversed(facts)}
    held = connection.execute(_HELD, {"partition": partition, "positions": list(positions.values())})
    return {
        bytes(key): Placed(Position(partition, position), version, is_new=again and bytes(state) == offered[bytes(key)])
        for key, position, version, state in held
    }


_HELD = select(events.c.fact_key, events.c.position, events.c.version, events.c.state).where(
    events.c.partition == bindparam("partition"), events.c.position.in_(bindparam("positions", expanding=True))
)
