"""The read model `inbound-conversations`: the same whatever the order of arrival."""

import json
from collections.abc import Iterator
from itertools import count, permutations
from threading import Thread

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import event

from api.answers import conversation_answer, conversation_message_answer
from ledger.errors import NotFound, UnreadableBody
from ledger.events import stream_key
from ledger.facts import partition_of
from ledger.json_values import parse_object
from ledger.times import write_time
from projections import inbound_conversations
from projections.inbound_conversations import INBOUND_CONVERSATIONS, ConversationEntry
from projections.queries_conversations import said_in
from tests.engines import PrivatePostgres
from tests.projections.scene import START_US, Scene, inbound, members_of, outbound


def shown(scene: Scene, conversation_id: str = "conv_1") -> list[str]:
    scene.read_models.catch_up()
    page = scene.read_models.conversation_messages(conversation_id)
    return [each.message_id for each in page.items]


def test_a_conversation_and_its_messages_look_as_the_contract_says(scene: Scene) -> None:
    scene.deliver(inbound("in_1", media=[{"url": "https://x/1"}], occurredAt="2025-11-23T16:00:00Z"))
    scene.read_models.catch_up()

    assert members_of(conversation_answer(scene.read_models.conversation("conv_1"))) == {
        "conversationId": "conv_1",
        "numberId": "num_1",
        "participants": ["+15550001111", "+15559990000"],
        "messageCount": 1,
        "firstMessageAt": "2025-11-23T16:00:00.000000Z",
        "lastMessageAt": "2025-11-23T16:00:00.000000Z",
        "position": "0-1",
    }
    (message,) = scene.read_models.conversation_messages("conv_1").items
    assert members_of(conversation_message_answer(message)) == {
        "messageId": "in_1",
        "from": "+15550001111",
        "to": "+15559990000",
        "body": "hello",
        "media": [{"url": "https://x/1"}],
        "occurredAt": "2025-11-23T16:00:00.000000Z",
        "receivedAt": write_time(START_US + 1_000_000),
        "position": "0-1",
    }
    masked = members_of(conversation_message_answer(message, masked=True))
    assert [masked[name] for name in ("from", "to", "body", "media")] == ["1111", "0000", None, None]


def test_messages_are_in_the_order_of_their_occurrence_then_of_their_receipt_then_of_their_position(
    scene: Scene,
) -> None:
    at = START_US + 3_600_000_000
    scene.deliver(inbound("third"), inbound("fourth"), at_us=at)
    scene.deliver(inbound("second", occurredAt=write_time(at - 1)), at_us=at + 5)
    scene.deliver(inbound("first", occurredAt=write_time(at - 2)), at_us=at - 10)

    assert shown(scene) == ["first", "second", "third", "fourth"]


def test_only_what_creates_a_message_is_shown(any_scene: Scene) -> None:
    scene = any_scene
    scene.deliver(
        inbound("in_1", body="first"),
        inbound("in_1", body="another body under the same id"),
        outbound("queued", "msg_1", 1),
        inbound("msg_1", body="an inbound event on an outbound message"),
        {"eventType": "message.read", "messageId": "in_2"},
        inbound("in_2", body="after an unknown kind, which has no direction"),
        inbound("in_3", None),
    )
    scene.send("msg_2")
    scene.deliver(inbound("msg_2"))

    assert shown(scene) == ["in_1", "in_2"]
    assert scene.read_models.conversation("conv_1").message_count == 2


def test_a_conversation_is_the_same_whatever_the_order_of_arrival(sqlite_scene: Scene) -> None:
    answers = set()
    for number, order in enumerate(permutations(range(4))):
        for each in order:
            said = {"from": f"+1555{each}", "numberId": f"num_{each}", "occurredAt": write_time(START_US + each)}
            sqlite_scene.deliver(inbound(f"in_{number}_{each}", f"conv_{number}", **said))
        sqlite_scene.read_models.catch_up()
        known = sqlite_scene.read_models.conversation(f"conv_{number}")
        answers.add(known[1:6])
        assert shown(sqlite_scene, f"conv_{number}") == [f"in_{number}_{each}" for each in range(4)]

    participants = ("+15550", "+15551", "+15552", "+15553", "+15559990000")
    assert answers == {("num_0", participants, 4, START_US, START_US + 3)}


def test_conversations_are_listed_by_their_latest_message_and_found_by_number_and_participant(any_scene: Scene) -> None:
    scene = any_scene
    for number in range(7):
        said = {"from": f"+1555{number % 3}", "numberId": f"num_{number % 2}"}
        scene.deliver(inbound(f"in_{number}", f"conv_{number}", **said))
    scene.deliver(inbound("in_again", "conv_2", **{"from": "+15552", "numberId": "num_0"}))
    scene.read_models.catch_up()

    def listed(limit: int, **filters: str) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            page = scene.read_models.conversations(cursor=cursor, limit=limit, **filters)
            found += [each.conversation_id for each in page.items]
            cursor = page.next
            if cursor is None:
                return found

    for limit in (1, 2, 50):
        assert listed(limit) == ["conv_2", "conv_6", "conv_5", "conv_4", "conv_3", "conv_1", "conv_0"]
        assert listed(limit, number_id="num_1") == ["conv_5", "conv_3", "conv_1"]
        assert listed(limit, participant="+15552") == ["conv_2", "conv_5"]
        assert listed(limit, participant="+15552", number_id="num_0") == ["conv_2"]
        assert len(listed(limit, participant="+15559990000")) == 7


@pytest.mark.parametrize("body", [None, 5, [1, {"a": "\ud800"}], {"text": "x\0y"}, "\ud83d", True, 1.5])
def test_a_body_may_be_any_json_value(sqlite_scene: Scene, body: object) -> None:
    sqlite_scene.deliver(inbound("in_1", body=body, media={"any": ["thing", None]}))
    sqlite_scene.read_models.catch_up()

    (message,) = sqlite_scene.read_models.conversation_messages("conv_1").items

    answer = members_of(conversation_message_answer(message))
    assert type(answer["body"]) is type(body)
    str(answer).encode()


def test_an_unknown_conversation_is_not_found(scene: Scene) -> None:
    with pytest.raises(NotFound):
        scene.read_models.conversation("conv_none")
    with pytest.raises(NotFound):
        scene.read_models.conversation_messages("conv_none")


@pytest.fixture
def in_two_partitions(postgres: PrivatePostgres) -> Iterator[Scene]:
    """Only there do two runners write at once."""
    with postgres.fresh_database() as url, Scene(url, partitions=2) as opened:
        yield opened


def in_partition(number: int, name: str) -> str:
    """The id of a message in a partition of two."""
    ids = (f"{name}_{each}" for each in count())
    return next(each for each in ids if partition_of(stream_key(each), 2) == number)


def test_a_message_that_arrives_while_another_is_folded_again_stays_in_their_conversation(
    in_two_partitions: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = in_two_partitions
    again, left, new = in_partition(0, "again"), in_partition(0, "left"), in_partition(1, "new")
    scene.deliver(inbound(again), inbound(left))
    scene.read_models.catch_up()
    runner = Thread(target=scene.read_models.catch_up)
    decode = inbound_conversations.decode_entry

    def decode_and_let_one_arrive(encoded: bytes) -> ConversationEntry:
        """Called once it was read what is left."""
        if left.encode() in encoded and runner.ident is None:
            scene.deliver(inbound(new))
            runner.start()
            while runner.is_alive() and not waits_for_a_lock(scene):
                runner.join(0.01)
        return decode(encoded)

    monkeypatch.setattr(inbound_conversations, "decode_entry", decode_and_let_one_arrive)
    scene.read_models.rebuild_message(INBOUND_CONVERSATIONS, again)
    runner.join()

    assert scene.read_models.conversation("conv_1").message_count == 3


def waits_for_a_lock(scene: Scene) -> bool:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with scene.read_models.stores.rows.reading() as connection:
        return connection.exec_driver_sql(waiting).first() is not None


def test_what_is_left_of_a_conversation_is_summed_up_a_few_bodies_at_a_time(in_two_partitions: Scene) -> None:
    scene, reads = in_two_partitions, list[bool]()
    scene.deliver(*(inbound(f"in_{number}") for number in range(3)))
    scene.read_models.catch_up()

    with scene.read_models.stores.rows.writing() as connection:

        @event.listens_for(connection.engine, "before_cursor_execute")
        def look(_connection: object, cursor: object, statement: str, *_: object) -> None:
            if statement.startswith("SELECT") and "entry" in statement:
                reads.append(isinstance(cursor, psycopg.ServerCursor))

    scene.read_models.rebuild_message(INBOUND_CONVERSATIONS, "in_1")

    assert reads == [False, True, False]  # the row before, what is left, the row after


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(said=st.dictionaries(st.sampled_from(["body", "media", "other"]), values), is_ascii=st.booleans())
@example(said={"body": "half of \ud83d a pair", "media": 1e308}, is_ascii=True)
@example(said={"body": "\0", "media": [10**40, -0.0, {"a": None}]}, is_ascii=False)
def test_what_a_body_says_is_what_was_parsed_when_it_was_received(said: dict[str, object], *, is_ascii: bool) -> None:
    raw = json.dumps(said, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    try:
        parsed = parse_object(raw)
    except UnreadableBody:
        return
    found = said_in(raw)

    assert repr((found.body, found.media)) == repr((parsed.get("body"), parsed.get("media")))
