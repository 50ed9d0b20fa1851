"""Messages with very many events: what is remembered of them changes no answer, has a bound, and spares reading them again."""

import tracemalloc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from random import Random

import pytest

from ledger.events import MessageEvent, stream_key
from ledger.ledger import Ledger
from ledger.log_entries import Entry, LogEntry
from ledger.long_streams import REMEMBERED_BYTES_MAX, LongStream, LongStreams
from ledger.mapper import EventCodec
from ledger.positions import Cursor
from ledger.store.driver import run
from ledger.store.log import LogRow
from tests.builders import (
    accepted,
    append_unreadable,
    body,
    delivered,
    event,
    facts,
    failed,
    inbound,
    queued,
    sent,
    unknown,
)

MESSAGES = ["msg_a", "msg_b", "msg_c"]
LIMITS = [1, 7, 50, 200]


class CountingCodec(EventCodec):
    """How many events were read."""

    decoded = 0

    def decode(self, topic: str, state: bytes) -> MessageEvent:
        self.decoded += 1
        return super().decode(topic, state)


def some(chance: Random, count: int) -> Iterator[MessageEvent]:
    """Different events of a few messages, with few enough sequences to meet each effect."""
    kinds = [queued, sent, delivered, failed]
    for number in range(count):
        message_id = MESSAGES[min(chance.randrange(8), 2)]
        match chance.randrange(20):
            case 0:
                yield unknown(message_id=message_id, sequence=chance.randrange(300), number=number)
            case 1:
                yield inbound(message_id, text=f"number {number}")
            case 2:
                yield accepted(message_id, idempotency_key=f"key_{chance.random()}")
            case _:
                yield chance.choice(kinds)(chance.randrange(300), message_id, number=chance.random())


def of_message(entries: Sequence[Entry], message_id: str) -> list[Entry]:
    """Those of one message."""
    return [
        each
        for each in entries
        if (each.event.message_id if isinstance(each, LogEntry) else each.message_id) == message_id
    ]


@pytest.mark.parametrize("bytes_max", [REMEMBERED_BYTES_MAX, 150_000, 0])
def test_pages_in_any_order_tell_what_a_fold_from_the_beginning_does(store_url: str, bytes_max: int) -> None:
    chance = Random(bytes_max)
    with Ledger.open(store_url) as ledger, ThreadPoolExecutor(4) as readers:
        ledger._reader._long_streams = LongStreams(bytes_max)  # noqa: SLF001 - a setting that nobody needs

        def page(_number: int) -> None:
            begin, limit = chance.randrange(len(whole)), chance.choice(LIMITS)
            assert ledger.feed(Cursor((begin,)), limit)[0] == whole[begin : begin + limit]
            message_id = chance.choice(MESSAGES)
            history = of_message(whole, message_id)
            begin = chance.randrange(len(history))
            entries, has_more = ledger.history_page(message_id, after_version=begin, limit=limit)
            assert entries == history[begin : begin + limit]
            assert has_more == (begin + limit < len(history))

        for _ in range(3):
            ledger.commit(facts(some(chance, 220)))
            last = len(of_message(ledger.feed(Cursor.start(1), 1000)[0], "msg_c"))
            append_unreadable(ledger, "msg_c", last + 1)
            # With the first event of each message on it, a page is a fold from the beginning.
            whole, _ = ledger.feed(Cursor.start(1), 1000)
            list(readers.map(page, range(25)))

        held_bytes = ledger._reader._long_streams.held_bytes  # noqa: SLF001 - as above
    assert held_bytes <= bytes_max
    assert (held_bytes > 0) == (bytes_max > 0)


def test_reading_a_long_message_page_by_page_reads_each_event_about_once(store_url: str) -> None:
    count = 2_000
    with Ledger.open(store_url) as ledger:
        ledger.commit(facts(sent(each) for each in range(count)))
        ledger._reader._codec = codec = CountingCodec()  # noqa: SLF001 - to see what it decodes
        found, cursor = ledger.feed(Cursor.start(1), 100)
        while (page := ledger.feed(cursor, 100))[0]:
            found, cursor = found + page[0], page[1]
        of_the_feed = codec.decoded
        history = [
            each for begin in range(0, count, 100) for each in ledger.history("msg_1", after_version=begin, limit=100)
        ]

        assert ledger.history_page("msg_1", after_version=count) == ([], False)
        assert ledger.history_page("msg_1", after_version=10 * count) == ([], False)

    assert found == history
    assert len(found) == count
    assert of_the_feed <= count + 500
    assert codec.decoded - of_the_feed <= count + 500


def test_what_is_remembered_is_of_no_use_to_a_log_that_went_on_otherwise(store_url: str) -> None:
    """A backup was put in the database's place, which the server goes on with."""
    with Ledger.open(store_url) as ledger:
        ledger.commit(facts(sent(each) for each in range(300)))
        ledger.feed(Cursor((250,)), 10)
        with ledger.database.writing() as connection:
            ((hash_then,),) = run(connection, "SELECT hash FROM events WHERE position = 150").fetchall()
            run(connection, "DELETE FROM events WHERE position > 150")
            place = "?" if ledger.database.is_sqlite else "%s"
            run(connection, f"UPDATE partition_heads SET position = 150, hash = {place}", (bytes(hash_then),))  # noqa: S608 - no value in it
        ledger.commit(facts(delivered(each) for each in range(140, 340)))

        for begin in (149, 200, 260, 320):
            page, _ = ledger.feed(Cursor((begin,)), 20)
            whole = ledger.feed(Cursor.start(1), 1000)[0]
            assert page == whole[begin : begin + 20]
            assert ledger.history("msg_1", after_version=begin, limit=20) == page


def test_a_row_that_was_repaired_is_read(store_url: str) -> None:
    with Ledger.open(store_url) as ledger:
        ledger.commit(facts(sent(each) for each in range(200)))
        with ledger.database.writing() as connection:
            ((state,),) = run(connection, "SELECT state FROM events WHERE position = 100").fetchall()
        place = "?" if ledger.database.is_sqlite else "%s"

        def store(changed: bytes) -> None:
            with ledger.database.writing() as connection:
                run(connection, f"UPDATE events SET state = {place} WHERE position = 100", (changed,))  # noqa: S608 - no value in it

        for changed in (b"\2", bytes(state)):
            store(changed)
            page = [ledger.feed(Cursor((begin,)), 10)[0] for begin in (150, 95)][1]
            assert page == ledger.feed(Cursor.start(1), 1000)[0][95:105]


def test_what_a_long_stream_takes_is_about_what_it_is_taken_to_take() -> None:
    long = LongStream()
    stream = stream_key("msg_1")

    def row(number: int) -> LogRow:
        return LogRow(0, number, stream, number, "", None, b"", sha256(str(number).encode()).digest())

    events = [event(body("message.sent", "msg_1", sequence=each)) for each in range(1_000, 21_000)]
    tracemalloc.start()
    try:
        for number, each in enumerate(events, start=1):
            long.take(row(number), each)
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 0.5 * taken_bytes < long.weigh() < 2 * taken_bytes
    assert taken_bytes < 1.1 * long.weigh()
