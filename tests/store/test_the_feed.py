"""Promise 5: a reader of the feed sees every event once, in order, and never skips one that commits late."""

import tracemalloc
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from random import Random
from typing import NoReturn
from uuid import uuid4

import pytest
from eventsourcing.persistence import StoredEvent

from ledger.errors import MalformedQuestion, UnreadableEvent
from ledger.events import stream_id
from ledger.ledger import Ledger
from ledger.log_entries import Entry, UnreadableEntry, readable
from ledger.positions import Cursor
from ledger.provider import Effect
from ledger.store.log import append, lock_heads
from ledger.store.recorder import LogRecorder
from ledger.verification import verify
from tests.builders import (
    accepted,
    body,
    commit_each,
    delivered,
    event,
    fact,
    facts,
    queued,
    sent,
    stored_facts,
    unknown,
)

A_WHILE_S = 0.2
WRITERS = 4
TRANSACTIONS = 25


class ChangedItsMind(Exception):
    """A writer rolls back."""


def change_mind() -> NoReturn:
    raise ChangedItsMind


@pytest.fixture
def sessions(store_url: str) -> Iterator[list[Ledger]]:
    """The same ledger opened several times, as several servers would."""
    with ExitStack() as stack:
        yield [stack.enter_context(Ledger.open(store_url)) for _ in range(WRITERS + 1)]


def positions(ledger: Ledger) -> list[str]:
    return [position for position, _, _ in stored_facts(ledger)]


@pytest.mark.parametrize("commits", [True, False])
def test_a_later_session_never_overtakes_one_that_has_not_committed(sessions: list[Ledger], *, commits: bool) -> None:
    # Where positions are given out without a lock until commit, a tailing reader sees 1, 3 and only then 2: it lost 2.
    slow, fast, reader = sessions[:3]
    reader.commit([fact(queued(1))])

    with ThreadPoolExecutor() as threads:
        overtaking: Future[object]
        try:
            with slow.database.writing() as connection:
                append(connection, lock_heads(connection, [0]), [fact(sent(2))])
                overtaking = threads.submit(fast.commit, [fact(delivered(3))])
                with pytest.raises(TimeoutError):
                    overtaking.result(A_WHILE_S)
                assert positions(reader) == ["0-1"]
                if not commits:
                    change_mind()
        except ChangedItsMind:
            pass
        overtaking.result()

    stored = [key for _, _, key in stored_facts(reader)]
    expected = facts([queued(1), sent(2), delivered(3)] if commits else [queued(1), delivered(3)])
    assert stored == [each.fact_key for each in expected]
    assert positions(reader) == [f"0-{number}" for number in range(1, len(expected) + 1)]


def write_with_delays_and_rollbacks(ledger: Ledger, seed: int) -> int:
    """Transactions of some facts each; every fourth is rolled back when its events are written already."""
    chance = Random(seed)
    committed = 0
    for transaction in range(TRANSACTIONS):
        size = chance.randint(1, 5)
        items = facts(queued(1, f"msg_{seed}_{transaction}_{number}") for number in range(size))
        try:
            with ledger.database.writing() as connection:
                append(connection, lock_heads(connection, [0]), items)
                ledger.feed(
                    Cursor((chance.randint(0, ledger.heads()[0].position),)), 20
                )  # takes a while, with the head locked
                if chance.random() < 0.25:
                    change_mind()
        except ChangedItsMind:
            continue
        committed += size
    return committed


def test_a_tailing_reader_sees_each_event_once_and_in_order_while_many_write(sessions: list[Ledger]) -> None:
    *writers, reader = sessions
    seen: list[int] = []
    cursor = Cursor.start(1)
    with ThreadPoolExecutor() as threads:
        writing = [threads.submit(write_with_delays_and_rollbacks, each, seed) for seed, each in enumerate(writers)]
        done = False
        while True:
            entries, cursor = reader.feed(cursor, 7)
            seen += [entry.position.number for entry in entries]
            if done and not entries:
                break
            done = done or all(each.done() for each in writing)
        committed = sum(each.result() for each in writing)

    assert seen == list(range(1, committed + 1))
    assert verify(reader).findings == ()


def test_the_same_fact_from_many_sessions_at_once_is_stored_once(sessions: list[Ledger]) -> None:
    with ThreadPoolExecutor() as threads:
        outcomes = list(
            threads.map(lambda each: commit_each(each, facts([queued(1), sent(2), delivered(3)])), sessions)
        )

    assert sum(outcome.is_new for answer in outcomes for outcome in answer) == 3
    places = [[(outcome.position, outcome.version) for outcome in answer] for answer in outcomes]
    assert places == [places[0]] * len(sessions)


def test_pages_of_any_size_join_without_a_seam(store_url: str) -> None:
    with Ledger.open(store_url, partitions=3) as ledger:
        commit_each(ledger, facts([queued(1, f"msg_{number}") for number in range(30)], partitions=3))
        whole, end = ledger.feed(Cursor.start(3), 1000)
        whole.sort(key=lambda entry: entry.position)
        for limit in (1, 2, 7, 29, 30, 31):
            found, cursor = ledger.feed(Cursor.start(3), limit)
            while len(found) < 30:
                more, cursor = ledger.feed(Cursor.parse(str(cursor), 3), limit)
                assert 0 < len(more) <= limit
                found += more
            # Order is promised within a partition only.
            assert [each for p in range(3) for each in found if each.position.partition == p] == whole
            assert cursor == end
        assert ledger.feed(end, 10) == ([], end)


def test_the_feed_tells_the_effect_that_the_history_tells(store_url: str) -> None:
    story = [accepted(), queued(1), delivered(3), sent(2), delivered(2), unknown()]
    with Ledger.open(store_url) as ledger:
        ledger.commit(facts(story))
        effects = []
        cursor = Cursor.start(1)
        for _ in story:
            page, cursor = ledger.feed(cursor, 1)
            effects += [entry.effect for entry in readable(page)]

        assert effects == [entry.effect for entry in readable(ledger.history("msg_1"))]
        assert effects == [
            Effect.NOTED,
            Effect.APPLIED,
            Effect.APPLIED,
            Effect.SUPERSEDED,
            Effect.CONFLICTING,
            Effect.NOTED,
        ]


def test_a_page_of_long_bodies_ends_before_it_fills_the_memory_and_the_next_goes_on(store_url: str) -> None:
    long = [event(body("message.sent", "msg_1", sequence=each, text="x" * 250_000)) for each in range(1, 61)]
    with Ledger.open(store_url) as ledger:
        for each in facts(long):
            ledger.commit([each])
        first, cursor = ledger.feed(Cursor.start(1), 1_000)
        second, _ = ledger.feed(cursor, 1_000)
        of_message = ledger.history("msg_1")
        rest = ledger.history("msg_1", after_version=of_message[-1].version)

    assert [entry.position.number for entry in [*first, *second]] == list(range(1, 61))
    assert [entry.version for entry in [*of_message, *rest]] == list(range(1, 61))
    assert max(len(first), len(of_message)) < 60


def test_pages_of_several_partitions_are_bounded_together_and_skip_none(store_url: str) -> None:
    long = [event(body("message.sent", f"msg_{each}", sequence=1, text="x" * 250_000)) for each in range(60)]
    with Ledger.open(store_url, partitions=3) as ledger:
        for each in facts(long, partitions=3):
            ledger.commit([each])
        cursor, pages = Cursor.start(3), list[list[str]]()
        while not pages or pages[-1]:
            entries, cursor = ledger.feed(cursor, 1_000)
            pages.append([entry.event.message_id for entry in readable(entries)])

    assert sorted(each for page in pages for each in page) == sorted(f"msg_{each}" for each in range(60))
    assert max(map(len, pages)) < 60


def test_what_came_before_a_page_is_folded_without_holding_it(store_url: str) -> None:
    """Of 200 long events of one message a reader who has come to the last is shown that one; all before it decide its effect."""
    long = [event(body("message.sent", "msg_1", sequence=each, text="x" * 100_000)) for each in range(1, 201)]
    with Ledger.open(store_url) as ledger:
        ledger.commit(facts(long))
        ledger.feed(Cursor((199,)), 1)  # what is loaded once is loaded by now
        tracemalloc.start()
        try:
            page, _ = ledger.feed(Cursor((199,)), 50)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    (last,) = readable(page)
    assert (last.version, last.effect) == (200, Effect.APPLIED)
    assert peak_bytes < 12_000_000  # of 20 MB


def test_an_event_that_cannot_be_read_has_its_place_in_the_feed_and_stops_nobody(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    stream = stream_id("msg_1")
    with Ledger.open(store_url) as ledger:
        ledger.commit([fact(queued(1))])
        LogRecorder(ledger.database, 0, 1).insert_events(
            [StoredEvent(uuid4(), 1, "message.of-the-future", b"\1"), StoredEvent(stream, 2, "message.sent", b"\2")]
        )
        ledger.commit([fact(delivered(3))])

        whole, end = ledger.feed(Cursor.start(1), 50)
        one_by_one, cursor = list[Entry](), Cursor.start(1)
        while cursor != end:
            page, cursor = ledger.feed(cursor, 1)
            one_by_one += page

        assert one_by_one == whole
        assert ledger.history("msg_1") == list(ledger.whole_history("msg_1")) == [whole[0], *whole[2:]]
        assert ledger.entry("msg_1", 3) == whole[3]
        assert [(each.position.number, each.version) for each in whole] == [(1, 1), (2, 1), (3, 2), (4, 3)]
        assert [each.topic for each in whole if isinstance(each, UnreadableEntry)] == [
            "message.of-the-future",
            "message.sent",
        ]
        assert [each.message_id for each in whole if isinstance(each, UnreadableEntry)] == [None, "msg_1"]
        with pytest.raises(UnreadableEvent, match=r"the event at 0-3 cannot be read: .* stored in version 2"):
            ledger.entry("msg_1", 2)
        with pytest.raises(UnreadableEvent):
            ledger.message("msg_1")

    assert [each.message.partition(", and")[0] for each in caplog.records if each.levelname == "ERROR"] == [
        "the event at 0-2 cannot be read",
        "the event at 0-3 cannot be read",
    ]


@pytest.mark.parametrize(
    "numbers, told", [((1, 2), "after 0-1, and the log ends at 0-0"), ((0, 10**18), "ends at 1-2")]
)
def test_a_cursor_that_the_log_has_not_reached_is_refused(store_url: str, numbers: tuple[int, int], told: str) -> None:
    """After a restore a reader would else miss, in silence, what is recorded up to where it was."""
    with Ledger.open(store_url, partitions=2) as ledger:
        ledger.commit(facts([queued(1, "a"), queued(1, "c")], partitions=2))

        assert ledger.feed(Cursor((0, 2)), 50) == ([], Cursor((0, 2)))
        with pytest.raises(MalformedQuestion, match=f"beyond the end of the log: it stands .*{told}"):
            ledger.feed(Cursor(numbers), 50)
