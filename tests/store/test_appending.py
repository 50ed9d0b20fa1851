"""Promises 2 and 4: what a commit stores and answers, for one fact, for many at once, and for what nobody can read."""

import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import msgspec
import pytest
from sqlalchemy import event as events

from ledger.errors import NotFound
from ledger.facts import Fact, Item, Placed, Quarantined, Registered, Send, UnreadableDelivery, home_of
from ledger.ledger import Ledger
from ledger.log_entries import readable
from ledger.message import fold
from ledger.positions import Position
from ledger.reception import Reception
from ledger.sends import parse_send, send_of
from ledger.store.commit import Readable, replay
from ledger.store.database import Database
from ledger.store.registers import QuarantinedDelivery, quarantined
from ledger.verification import verify
from tests.builders import (
    NOW_US,
    acceptances,
    accepted,
    body,
    delivered,
    event,
    fact,
    facts,
    inbound,
    kept_unread,
    placed,
    queued,
    send_body,
    sent,
    stored_facts,
    unknown,
)


@pytest.fixture
def ledger(store_url: str) -> Iterator[Ledger]:
    with Ledger.open(store_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_ledger(shared_store_url: str) -> Iterator[Ledger]:
    with Ledger.open(shared_store_url) as opened:
        yield opened


def unreadable(raw: bytes) -> UnreadableDelivery:
    delivery = Reception(None, 1).receive([], raw, now_us=NOW_US)
    assert isinstance(delivery, UnreadableDelivery)
    return delivery


def test_a_new_fact_is_placed_and_the_same_again_is_found_there(ledger: Ledger) -> None:
    assert ledger.commit([fact(queued())]) == [Placed(Position(0, 1), 1, is_new=True)]
    assert ledger.commit([fact(queued())]) == [Placed(Position(0, 1), 1, is_new=False)]


def test_a_retry_in_other_white_space_and_at_another_time_is_the_same_fact(ledger: Ledger) -> None:
    ledger.commit([fact(event(b'{"eventType":"e","messageId":"m"}', received_at_us=1))])
    again = fact(event(b'{ "messageId" : "m", "eventType" : "e" }', received_at_us=2))

    assert ledger.commit([again]) == [Placed(Position(0, 1), 1, is_new=False)]
    assert ledger.entry("m", 1).event.receipt.received_at_us == 1


def test_another_body_at_the_same_sequence_is_another_fact(ledger: Ledger) -> None:
    outcomes = ledger.commit(facts([sent(2), sent(2, providerMessageRef="SM9"), delivered(2)]))

    assert outcomes == [Placed(Position(0, number), number, is_new=True) for number in (1, 2, 3)]


def test_copies_within_one_commit_are_found_too(ledger: Ledger) -> None:
    outcomes = ledger.commit(facts([queued(), queued(), sent(), queued()]))

    assert outcomes == [
        Placed(Position(0, 1), 1, is_new=True),
        Placed(Position(0, 1), 1, is_new=False),
        Placed(Position(0, 2), 2, is_new=True),
        Placed(Position(0, 1), 1, is_new=False),
    ]


def test_versions_count_the_events_of_each_message_and_positions_those_of_the_partition(ledger: Ledger) -> None:
    ledger.commit(facts([queued(1, "a"), queued(1, "b"), sent(2, "a")]))
    ledger.commit(facts([sent(2, "b"), delivered(3, "a")]))

    assert [(place, version) for place, version, _ in stored_facts(ledger)] == [
        ("0-1", 1),
        ("0-2", 1),
        ("0-3", 2),
        ("0-4", 2),
        ("0-5", 3),
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 600])
def test_a_commit_of_any_size_places_each_fact_in_its_order(ledger: Ledger, size: int) -> None:
    items = facts(queued(1, f"msg_{number}") for number in range(size))

    assert ledger.commit(items) == [Placed(Position(0, number), 1, is_new=True) for number in range(1, size + 1)]
    assert ledger.commit(items) == [Placed(Position(0, number), 1, is_new=False) for number in range(1, size + 1)]
    assert verify(ledger).events == size


def test_bodies_are_stored_verbatim(ledger: Ledger) -> None:
    raw = '\r\n { "messageId" : "msg_\\u0000\\ud800x", "eventType":"e", "n": 1.10, "😀": "\\u0041" }\t'.encode()
    readable = raw.replace(b"\\u0000\\ud800", b"")
    ledger.commit([fact(event(readable))])

    assert ledger.entry("msg_x", 1).event.receipt.body == readable


@pytest.mark.parametrize(
    "message_id",
    ["a/b", "%00", "../x", "' OR 1=1 --", "a\nb", "\u202eabc", "😀" * 512, "x" * 512, "%s", "?", ":id", "{0}"],
)
def test_an_id_of_any_characters_names_its_own_message(shared_ledger: Ledger, message_id: str) -> None:
    ledger = shared_ledger
    ledger.commit(facts([queued(1, message_id), queued(1, "another")]))

    assert [entry.event for entry in readable(ledger.history(message_id))] == [queued(1, message_id)]
    assert ledger.message(message_id).message_id == message_id


def test_the_history_is_in_the_order_of_recording_and_pages_by_version(ledger: Ledger) -> None:
    story = [accepted(), queued(1), delivered(3), sent(2), unknown()]
    ledger.commit(facts(story))
    history = readable(ledger.history("msg_1"))

    assert [entry.event for entry in history] == story
    assert [entry.version for entry in history] == [1, 2, 3, 4, 5]
    assert ledger.history("msg_1", after_version=2, limit=2) == history[2:4]
    assert ledger.history_page("msg_1", limit=5) == (history, False)
    assert [ledger.history_page("msg_1", after_version=after, limit=1) for after in (3, 4, 5)] == [
        (history[3:4], True),
        (history[4:], False),
        ([], False),
    ]
    assert ledger.entry("msg_1", 4) == history[3]
    assert ledger.message("msg_1") == fold(story)


def test_what_the_ledger_does_not_hold_is_not_found(ledger: Ledger) -> None:
    ledger.commit([fact(queued())])
    for question in (
        lambda: ledger.history("msg_2"),
        lambda: ledger.message("msg_2"),
        lambda: ledger.entry("msg_1", 2),
        lambda: ledger.entry("msg_1", 0),
        lambda: ledger.entry("msg_1", -1),
        lambda: ledger.send("idem"),
        lambda: ledger.quarantined_delivery("00"),
        lambda: ledger.quarantined_delivery("no hex"),
    ):
        with pytest.raises(NotFound):
            question()


def test_an_unreadable_delivery_is_kept_once_with_how_often_it_came(ledger: Ledger) -> None:
    kept = unreadable(b"not \x00 JSON")
    quarantine_id = kept.quarantine_id.hex()

    assert ledger.commit([kept]) == [Quarantined(quarantine_id, kept.reason, is_new=True)]
    assert ledger.commit([kept, kept]) == [Quarantined(quarantine_id, kept.reason, is_new=False)] * 2
    held = QuarantinedDelivery(quarantine_id, kept.reason, 3, kept.receipt, None)
    assert ledger.quarantined_delivery(quarantine_id) == held
    assert ledger.quarantined_delivery(quarantine_id).receipt.body == b"not \x00 JSON"


def test_facts_and_unreadable_deliveries_of_one_commit_are_answered_in_their_order(ledger: Ledger) -> None:
    kept = unreadable(b"?")

    assert ledger.commit([fact(queued()), kept, fact(sent())]) == [
        Placed(Position(0, 1), 1, is_new=True),
        Quarantined(kept.quarantine_id.hex(), kept.reason, is_new=True),
        Placed(Position(0, 2), 2, is_new=True),
    ]


def test_a_page_of_the_quarantine_is_read_in_its_order_and_not_sorted(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger, ledger.database.reading() as connection:
        asked: list[str] = []
        events.listen(connection, "before_cursor_execute", lambda *told: asked.append(told[2]))
        quarantined(connection, after=(-1, ""), limit=5)
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[0]}", (0, b"", 5, 0)).all()

    assert [row[-1] for row in plan] == [
        "SEARCH quarantine USING INDEX quarantine_by_time ((received_at_us,quarantine_id)>(?,?))"
    ]


def test_the_quarantine_pages_once_through_what_came_in_one_microsecond_whatever_the_planner_takes(
    ledger: Ledger,
) -> None:
    deliveries = [kept_unread(b"%d" % number) for number in range(40)]
    ledger.commit(deliveries)
    with ledger.database.writing() as connection:
        connection.exec_driver_sql("DROP INDEX quarantine_by_time")

    found, after = list[str](), (-1, "")
    while page := ledger.quarantined(after=after, limit=3):
        found += [each.quarantine_id for each in page]
        after = (NOW_US, found[-1])

    assert found == sorted(each.quarantine_id.hex() for each in deliveries)


def test_of_two_replays_at_once_each_counts_what_it_replayed_itself(
    ledger: Ledger, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.commit([kept_unread(body("message.queued", f"msg_{number}", sequence=1)) for number in range(5)])
    others = list[tuple[int, int]]()

    def replay_after_another(database: Database, deliveries: Sequence[Readable], replayed_at_us: int) -> int:
        monkeypatch.undo()
        with Ledger.open_existing(store_url) as another:
            others.append(another.replay_quarantine())
        return replay(database, deliveries, replayed_at_us)

    monkeypatch.setattr("ledger.ledger.replay", replay_after_another)

    assert (ledger.replay_quarantine(), others) == ((0, 0), [(5, 0)])
    assert sum(head.position for head in ledger.heads()) == 5


def test_replay_records_what_can_be_read_by_now_and_can_be_repeated(ledger: Ledger) -> None:
    ledger.commit([kept_unread(body("message.queued", sequence=1)), unreadable(b"?")])

    assert ledger.replay_quarantine(now_us=NOW_US + 7) == (1, 1)
    assert ledger.replay_quarantine(now_us=NOW_US + 8) == (0, 1)
    assert {each.replayed_at_us for each in ledger.quarantined(limit=5)} == {NOW_US + 7, None}
    (entry,) = readable(ledger.history("msg_1"))
    receipt = entry.event.receipt
    assert (receipt.received_at_us, receipt.recorded_at_us) == (NOW_US, NOW_US + 7)
    assert receipt == msgspec.structs.replace(queued(1).receipt, replayed_at_us=NOW_US + 7)
    assert verify(ledger, deep=True).findings == ()


def test_what_is_recorded_already_is_not_recorded_again_by_a_replay(ledger: Ledger) -> None:
    ledger.commit([kept_unread(queued(1).receipt.body), fact(queued(1))])

    assert ledger.replay_quarantine(now_us=NOW_US + 7) == (1, 0)
    assert ledger.commit([fact(queued(1))]) == [Placed(Position(0, 1), 1, is_new=False)]
    assert [entry.event for entry in readable(ledger.history("msg_1"))] == [queued(1)]


def test_a_send_is_registered_once_and_other_content_is_told(ledger: Ledger) -> None:
    raw, other = send_body(["msg_1"]), send_body(["msg_2"])
    first = send_of(parse_send(raw), raw, partitions=1, now_us=NOW_US)
    spaced = send_of(parse_send(raw + b" "), raw + b" ", partitions=1, now_us=NOW_US + 1)
    conflict = send_of(parse_send(other), other, partitions=1, now_us=NOW_US)

    assert ledger.commit([first]) == [Registered(is_new=True, is_same=True)]
    assert ledger.commit([spaced]) == [Registered(is_new=False, is_same=True)]
    assert ledger.commit([conflict]) == [Registered(is_new=False, is_same=False)]


def test_a_send_tells_where_each_of_its_messages_stands(store_url: str) -> None:
    raw = send_body(["msg_1", "msg_2", "msg_3"])
    with Ledger.open(store_url, partitions=4) as ledger:
        send = send_of(parse_send(raw), raw, partitions=4, now_us=NOW_US)
        ledger.commit([send])
        recorded: list[Fact] = acceptances(raw, partitions=4)[:2]
        places = [placed(outcome).position for each in recorded for outcome in ledger.commit([each])]

        found = ledger.send("idem_1")
        assert found.recorded_at_us == NOW_US
        assert found.accepted == parse_send(raw)
        assert found.positions == [*places, None]


def test_what_was_made_for_another_number_of_partitions_is_refused_with_all_of_its_commit(store_url: str) -> None:
    raws = [send_body(["msg_1"], f"idem_{number}") for number in range(20)]
    made_for_one: list[Item] = [
        *facts([queued(1, f"msg_{number}") for number in range(20)]),
        *(Reception(None, 1).receive([], b"?%d" % number, now_us=NOW_US) for number in range(20)),
        *(send_of(parse_send(raw), raw, partitions=1, now_us=NOW_US) for raw in raws),
    ]
    with Ledger.open(store_url, partitions=4) as ledger:
        strays = [each for each in made_for_one if home_of(each, 4) != 0]
        at_home = facts([queued(1, f"msg_{number}") for number in range(20)], partitions=4)
        for stray in strays:
            with pytest.raises(ValueError, match=r"make it with Reception\(…, partitions=4\)"):
                ledger.commit([*at_home, stray])

        assert {type(each) for each in strays} == {Fact, UnreadableDelivery, Send}
        assert stored_facts(ledger) == []
        assert ledger.quarantined(limit=1) == []
        assert verify(ledger).findings == ()


def test_a_commit_takes_whatever_comes_for_whichever_partition(store_url: str) -> None:
    raws = [send_body(["msg_1"], f"idem_{number}") for number in range(9)]
    reception = Reception(None, 4)
    with Ledger.open(store_url, partitions=4) as ledger:
        webhooks = facts([sent(1 + number // 12, f"msg_{number % 12}") for number in range(36)], partitions=4)
        mixed: list[Item] = [
            *webhooks,
            *(reception.receive([], b"?%d" % number, now_us=NOW_US) for number in range(9)),
            *(send_of(parse_send(raw), raw, partitions=4, now_us=NOW_US) for raw in raws),
        ]
        Random(4).shuffle(mixed)
        assert {each.partition for each in mixed[:20]} == {0, 1, 2, 3}

        outcomes = [outcome for start in (0, 20) for outcome in ledger.commit(mixed[start : start + 20])]
        outcomes += ledger.commit(mixed[40:])
        again = ledger.commit(mixed)

        assert all(outcome.is_new for outcome in outcomes)
        assert not any(outcome.is_new for outcome in again)
        heads = [head.position for head in ledger.heads()]
        for partition in range(4):
            places = [placed(to).position for each, to in zip(mixed, outcomes, strict=True) if isinstance(each, Fact)]
            here = [place for place in places if place.partition == partition]
            assert here == [Position(partition, number) for number in range(1, heads[partition] + 1)]
        for each, to, second in zip(mixed, outcomes, again, strict=True):
            if isinstance(each, Fact):
                assert second == Placed(placed(to).position, placed(to).version, is_new=False)
                assert ledger.entry(each.message_id, placed(to).version).position == placed(to).position
        assert sum(heads) == len(webhooks)
        assert len(ledger.quarantined(limit=20)) == 9
        assert verify(ledger, deep=True).findings == ()


def test_a_message_of_many_long_events_is_folded_without_holding_them(store_url: str) -> None:
    long = [event(body("message.sent", "msg_1", sequence=each, text="x" * 100_000)) for each in range(1, 301)]
    with Ledger.open(store_url) as ledger:
        ledger.commit(facts(long[:1]))
        ledger.message("msg_1")  # what is loaded once is loaded by now
        ledger.commit(facts(long))
        tracemalloc.start()
        try:
            message = ledger.message("msg_1")
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert message == fold(long)
    assert peak_bytes < 20_000_000  # of 30 MB, and once more as the library's objects


def test_partitions_have_positions_and_chains_of_their_own(store_url: str) -> None:
    with Ledger.open(store_url, partitions=4) as ledger:
        for number in range(20):
            for each in facts([queued(1, f"msg_{number}"), inbound(f"in_{number}")], partitions=4):
                ledger.commit([each])
        numbers: dict[int, list[int]] = {}
        for place, version, _ in stored_facts(ledger):
            position = Position.parse(place)
            numbers.setdefault(position.partition, []).append(position.number)
            assert version == 1

        assert numbers == {p: list(range(1, head.position + 1)) for p, head in enumerate(ledger.heads())}
        assert sum(map(len, numbers.values())) == 40
        assert verify(ledger, deep=True).findings == ()
