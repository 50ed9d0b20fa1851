"""Promises 2 and 3 of the store: any multiset of facts, in any order, batching and split over writers, is one log."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.events import MessageEvent
from ledger.facts import Fact
from ledger.ledger import Ledger
from ledger.log_entries import readable
from ledger.message import fold, missing_sequences
from ledger.positions import Cursor
from ledger.verification import verify
from tests.builders import accepted, delivered, fact, failed, inbound, placed, queued, sent, unknown

WRITERS = 3
PARTITIONS = 2
MESSAGES = 2

# The ledger is opened once for all examples; each example has messages of its own in it.
BOUNDED = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
CAMPAIGN = settings(BOUNDED, max_examples=5_000)

outbound = st.builds(
    lambda build, sequence, detail: (build, {"sequence": sequence, "providerMessageRef": detail}),
    st.sampled_from([queued, sent, delivered, failed]),
    st.integers(0, 4),
    st.sampled_from([None, "SM1", "SM2"]),
)
others = st.sampled_from([(unknown, {}), (unknown, {"sequence": 3}), (inbound, {}), (accepted, {})])
written = st.lists(st.tuples(st.integers(1, MESSAGES), outbound | others), min_size=1, max_size=10)


@pytest.fixture
def writers(store_url: str) -> Iterator[list[Ledger]]:
    with ExitStack() as stack:
        Ledger.open(store_url, partitions=PARTITIONS).close()
        yield [stack.enter_context(Ledger.open(store_url)) for _ in range(WRITERS)]


def deliver(ledger: Ledger, deliveries: list[Fact], batch: int) -> None:
    for start in range(0, len(deliveries), batch):
        ledger.commit(deliveries[start : start + batch])


def log_of(ledger: Ledger, cursor: Cursor) -> dict[str, list[MessageEvent]]:
    """The events after a cursor, by message, in the order of the log; versions must be contiguous."""
    found: dict[str, list[MessageEvent]] = {}
    while True:
        entries, cursor = ledger.feed(cursor, 100)
        if not entries:
            return found
        for entry in readable(entries):
            of_message = found.setdefault(entry.event.message_id, [])
            of_message.append(entry.event)
            assert entry.version == len(of_message)


def end_of(ledger: Ledger) -> Cursor:
    return Cursor(tuple(head.position for head in ledger.heads()))


examples = count()


def check_one_log(
    writers: list[Ledger], story: list[tuple[int, tuple[object, dict[str, object]]]], chance: st.DataObject
) -> None:
    example = next(examples)
    events = [build(message_id=f"msg_{example}_{number}", **said) for number, (build, said) in story]  # type: ignore[operator]
    facts = [fact(each, partitions=PARTITIONS) for each in events]
    distinct = {each.fact_key for each in facts}
    before = end_of(writers[0])

    orders = [chance.draw(st.permutations(facts)) for _ in writers]
    sizes = [chance.draw(st.integers(1, len(facts))) for _ in writers]
    batches = [chance.draw(st.integers(1, 5)) for _ in writers]
    # The first brings everything, so that nothing is missing; the others any part of it, at the same time.
    sizes[0] = len(facts)
    with ThreadPoolExecutor() as threads:
        list(threads.map(deliver, writers, [order[:size] for order, size in zip(orders, sizes, strict=True)], batches))

    log = log_of(writers[0], before)
    stored = [fact(event, partitions=PARTITIONS).fact_key for events_of in log.values() for event in events_of]
    assert sorted(stored) == sorted(distinct)
    for message_id, history in log.items():
        assert writers[0].message(message_id) == fold(history)
        assert [entry.event for entry in readable(writers[0].history(message_id))] == history
        in_order = fold(
            each
            for each in dict(zip((f.fact_key for f in facts), events, strict=True)).values()
            if each.message_id == message_id
        )
        if len({in_order.direction, fold(history).direction}) == 1 and not in_order.conflicting:
            assert missing_sequences(fold(history)) == missing_sequences(in_order)
            assert (fold(history).status, fold(history).sequence) == (in_order.status, in_order.sequence)


@given(story=written, chance=st.data())
@BOUNDED
def test_any_facts_in_any_order_batching_and_split_are_one_log(
    writers: list[Ledger], story: list[tuple[int, tuple[object, dict[str, object]]]], chance: st.DataObject
) -> None:
    check_one_log(writers, story, chance)


def test_the_chain_of_a_log_that_many_wrote_verifies(writers: list[Ledger]) -> None:
    items = [fact(queued(number % 3, f"msg_{number // 3}"), partitions=PARTITIONS) for number in range(60)]
    with ThreadPoolExecutor() as threads:
        list(threads.map(deliver, writers, [items, items[::-1], items[20:40]], [7, 5, 3]))

    verification = verify(writers[0], deep=True)
    assert (verification.events, verification.findings) == (60, ())


@pytest.mark.campaign
@given(story=written, chance=st.data())
@CAMPAIGN
def test_many_more_facts_in_any_order_batching_and_split_are_one_log(
    writers: list[Ledger], story: list[tuple[int, tuple[object, dict[str, object]]]], chance: st.DataObject
) -> None:
    check_one_log(writers, story, chance)


def test_a_commit_answers_with_where_the_feed_shows_it(writers: list[Ledger]) -> None:
    items = [fact(sent(number), partitions=PARTITIONS) for number in range(5)]
    answers = [placed(outcome) for outcome in writers[0].commit(items)]
    entries, _ = writers[1].feed(Cursor.start(PARTITIONS), 100)

    assert [(entry.position, entry.version) for entry in entries] == [(each.position, each.version) for each in answers]
