"""What an append looks up: a fact is found wherever in its stream it stands, and nothing else is read for it."""

from pathlib import Path
from random import Random

import pytest
from sqlalchemy import event as engine_events

from ledger.events import MessageEvent
from ledger.facts import Placed
from ledger.ledger import Ledger
from ledger.store import reads
from ledger.store.driver import fetch, run
from ledger.store.statements import EACH_ITS_HOME, FIRST_EVENTS, ONE_HOME, events_text, find
from ledger.store.tables import LOOKED_THROUGH
from tests.builders import fact, facts, placed, queued
from tests.engines import PrivatePostgres

LENGTHS = [1, LOOKED_THROUGH - 1, LOOKED_THROUGH, LOOKED_THROUGH + 1, 3 * LOOKED_THROUGH]


def stream_of(length: int) -> list[MessageEvent]:
    return [queued(number, f"msg_{length}") for number in range(length)]


@pytest.mark.parametrize("seed", range(4))
def test_facts_of_streams_of_any_length_are_stored_once_however_they_are_batched(store_url: str, seed: int) -> None:
    """Each delivered three times, shuffled, in batches of which many lie across the end of what is looked through."""
    dice = Random(seed)
    events = [event for length in LENGTHS for event in stream_of(length)] * 3
    dice.shuffle(events)
    first: dict[bytes, Placed] = {}
    with Ledger.open(store_url) as ledger:
        while events:
            some = facts([events.pop() for _ in range(min(dice.randrange(1, 70), len(events)))])
            for each, outcome in zip(some, map(placed, ledger.commit(some)), strict=True):
                known = first.setdefault(each.fact_key, outcome)
                assert outcome == Placed(known.position, known.version, is_new=known is outcome)
        versions = [[entry.version for entry in ledger.whole_history(f"msg_{length}")] for length in LENGTHS]

    assert [len(each) for each in versions] == LENGTHS
    assert all(each == list(range(1, len(each) + 1)) for each in versions)


def test_a_key_that_another_stream_has_is_not_found(store_url: str) -> None:
    one, other = fact(queued(1, "msg_1")), fact(queued(1, "msg_2"))
    with Ledger.open(store_url) as ledger:
        ledger.commit([one])
        with ledger.database.reading() as connection:
            assert find(connection, {other.stream: 0}, {one.fact_key: 0}) == ({}, {})
            assert find(connection, {one.stream: 0, other.stream: 0}, {one.fact_key: 0}) == (
                {one.stream: 1},
                {one.fact_key: (1, 1)},
            )


@pytest.mark.parametrize("length", [1, LOOKED_THROUGH + 1])
def test_a_stream_is_looked_for_in_its_partition_alone(store_url: str, length: int) -> None:
    with Ledger.open(store_url, partitions=3) as ledger:
        written = facts([queued(number) for number in range(length)], partitions=3)
        ledger.commit(written)
        (stream, last, home) = (written[-1].stream, written[-1].fact_key, written[-1].partition)
        with ledger.database.reading() as connection:
            for others in ({}, {b"another": (home + 2) % 3}):
                held = find(connection, {stream: home} | others, {last: home} | others)
                assert held == ({stream: length}, {last: (length, length)})
                elsewhere = (home + 1) % 3
                assert find(connection, {stream: elsewhere} | others, {last: elsewhere} | others) == ({}, {})


def test_keys_of_one_partition_are_asked_for_there_and_nowhere_else(store_url: str) -> None:
    """Its number is a value of its own then, by which a distributed PostgreSQL knows the one machine that it has to ask."""
    with Ledger.open(store_url, partitions=2) as ledger, ledger.database.reading() as connection:
        asked: list[str] = []

        @engine_events.listens_for(connection.engine, "before_cursor_execute")
        def note(_connection: object, _cursor: object, statement: str, *_how: object) -> None:
            asked.append(statement)

        find(connection, {b"one": 1, b"another": 1})
        find(connection, {b"one": 1, b"another": 0})

        assert asked == [
            events_text(FIRST_EVENTS, 2, connection.dialect.name, home) for home in (ONE_HOME, EACH_ITS_HOME)
        ]


@pytest.mark.parametrize("home", [ONE_HOME, EACH_ITS_HOME])
def test_no_planner_without_statistics_reads_a_partition_for_a_batch(store_url: str, home: str) -> None:
    with Ledger.open(store_url) as ledger:
        for begin in range(0, 4_000, 500):
            ledger.commit(facts([queued(1, f"msg_{number}") for number in range(begin, begin + 500)]))
        streams = [fact(queued(1, f"msg_{number}")).stream for number in range(64)]
        with ledger.database.reading() as connection:
            explain = "EXPLAIN QUERY PLAN " if ledger.database.is_sqlite else "EXPLAIN "
            asked = explain + events_text(FIRST_EVENTS, len(streams), connection.dialect.name, home)
            values = [value for stream in streams for value in (stream, 0)] + [0] * (home == ONE_HOME)
            plan = "\n".join(str(row) for row in connection.exec_driver_sql(asked, tuple(values)))

    assert "events_by_stream" in plan
    assert "Seq Scan on events" not in plan
    assert "SCAN events" not in plan


@pytest.mark.parametrize("count", [1, 2, 20, 100])
def test_sqlite_which_has_no_statistics_reads_for_a_page_of_the_feed_the_events_of_its_streams_alone(
    tmp_path: Path, count: int
) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.commit(facts([queued(1, f"msg_{number}") for number in range(400)]))
        streams = [fact(queued(1, f"msg_{number}")).stream for number in range(count)]
        asked: list[tuple[str, object]] = []
        with ledger.database.reading() as connection:

            @engine_events.listens_for(connection, "before_cursor_execute")
            def note(_connection: object, _cursor: object, statement: str, values: object, *_how: object) -> None:
                asked.append((statement, values))

            assert len(list(reads.events_of_streams(connection, 0, streams, before=400))) == count
            statement, values = asked[0]
            plan = "\n".join(map(str, connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)))  # type: ignore[arg-type]

    assert "events_by_stream" in plan
    assert "position<" not in plan


@pytest.mark.parametrize("home, values", [(ONE_HOME, 3), (EACH_ITS_HOME, 2)])
def test_postgresql_keeps_to_the_index_although_the_plan_was_made_while_the_log_was_small(
    postgres: PrivatePostgres, home: str, values: int
) -> None:
    with postgres.fresh_database() as url, Ledger.open(url) as ledger:
        ledger.commit(facts([queued(1, f"msg_{number}") for number in range(10)]))
        with ledger.database.writing() as connection:
            look_up = events_text(FIRST_EVENTS, 1, "postgresql", home)
            for number in range(1, values + 1):
                look_up = look_up.replace("%s", f"${number}", 1)
            run(connection, "ANALYZE events")
            run(connection, "SET LOCAL plan_cache_mode = force_generic_plan")
            run(connection, f"PREPARE look_up (bytea{', smallint' * (values - 1)}) AS {look_up}")
            plan = "\n".join(row[0] for row in fetch(connection, f"EXPLAIN EXECUTE look_up (''{', 0' * (values - 1)})"))

    assert "events_by_stream" in plan
    assert "Seq Scan on events" not in plan
