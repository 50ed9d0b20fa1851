"""The read model `message-status`, as it looks from outside."""

import time

import pytest

from api.answers import status_answer
from ledger.errors import MalformedQuestion, NotFound
from ledger.message import Fold, Message
from ledger.positions import Position
from ledger.provider import Direction, Status
from ledger.times import write_time
from projections.message_ranges import MessageFilters
from projections.message_status import MESSAGE_STATUS
from tests.builders import body, kept_unread
from tests.projections.scene import START_US, Scene, inbound, members_of, outbound

DAY_US = 86_400 * 1_000_000
YEAR_US = 365 * DAY_US


def status_of(scene: Scene, message_id: str) -> dict[str, object]:
    scene.read_models.catch_up()
    return members_of(status_answer(scene.read_models.current_status(message_id)))


def test_a_delivered_message_shows_both_layers_of_its_state(scene: Scene) -> None:
    scene.send("msg_abc123", key="idem_order_789", reference="order_789")
    scene.deliver(
        outbound("queued", "msg_abc123", 1),
        outbound("sent", "msg_abc123", 2, providerMessageRef="SM9"),
        outbound("delivery", "msg_abc123", 3, externalReference="order_789"),
    )

    assert status_of(scene, "msg_abc123") == {
        "messageId": "msg_abc123",
        "direction": "outbound",
        "status": "delivered",
        "sequence": 3,
        "externalReference": "order_789",
        "providerMessageRef": "SM9",
        "failure": None,
        "failureCode": None,
        "requestAcceptance": {
            "status": "QUEUED",
            "to": "+15551234567",
            "idempotencyKey": "idem_order_789",
            "recordedAt": write_time(START_US + 1_000_000),
        },
        "missingSequences": [],
        "conflictingSequences": [],
        "eventCount": 4,
        "firstRecordedAt": write_time(START_US + 1_000_000),
        "statusChangedAt": write_time(START_US + 4_000_000),
        "updatedAt": write_time(START_US + 4_000_000),
        "position": "0-4",
    }


def test_an_inbound_message_shows_who_wrote_to_whom(scene: Scene) -> None:
    scene.deliver(inbound("in_1", "conv_9"))

    answer = status_of(scene, "in_1")

    assert (answer["status"], answer["direction"], answer["sequence"]) == ("received", "inbound", None)
    assert [answer[name] for name in ("conversationId", "numberId", "from", "to")] == [
        "conv_9",
        "num_1",
        "+15550001111",
        "+15559990000",
    ]


def test_a_late_sent_webhook_never_undoes_delivered_and_holes_are_shown(scene: Scene) -> None:
    scene.deliver(outbound("delivery", "msg_1", 5), outbound("sent", "msg_1", 2), outbound("failed", "msg_1", 5))

    answer = status_of(scene, "msg_1")

    assert (answer["status"], answer["sequence"]) == ("delivered", 5)
    assert (answer["missingSequences"], answer["conflictingSequences"]) == ([3, 4], [5])


@pytest.mark.parametrize(
    "said,code",
    [
        ({"errorCode": "30005", "code": "x"}, "30005"),
        ({"failureCode": 17}, "17"),
        ({"error": {"code": "E1"}, "reason": "no"}, "E1"),
        ({"failure": {"code": 1.5}}, "1.5"),
        ({"errorCode": True, "errorcode": "x", "reason": "blocked"}, "blocked"),
        ({"errorCode": None, "error": "gone"}, "gone"),
        ({"error": {"code": {"deep": 1}}}, None),
        ({"errorCode": "a\u0000b"}, "a␀b"),
        ({"code": 10**30}, str(10**30)),
        ({}, None),
    ],
)
def test_a_failure_shows_its_details_as_sent_and_the_first_likely_code(
    sqlite_scene: Scene, said: dict[str, object], code: str | None
) -> None:
    sqlite_scene.deliver(outbound("failed", "msg_1", 2, externalReference="order_1", providerMessageRef="SM1", **said))

    answer = status_of(sqlite_scene, "msg_1")

    assert answer["failureCode"] == code
    assert set(said) == set(answer["failure"])  # type: ignore[call-overload]


def test_a_failure_that_was_not_the_last_word_is_not_shown(scene: Scene) -> None:
    scene.deliver(outbound("failed", "msg_1", 2, errorCode="1"), outbound("delivery", "msg_1", 3))

    answer = status_of(scene, "msg_1")

    assert (answer["status"], answer["failure"], answer["failureCode"]) == ("delivered", None, None)


def test_what_nothing_is_known_of_is_not_found(scene: Scene) -> None:
    with pytest.raises(NotFound):
        status_of(scene, "msg_nobody")


@pytest.mark.parametrize("message_id", ["a/b%2Fc", "x" * 512, "😀" * 512, "msg\n1", "' OR 1=1 --", "\u202emsg"])
def test_any_id_that_the_edge_lets_in_is_found_again(scene: Scene, message_id: str) -> None:
    scene.deliver(outbound("sent", message_id, 1, externalReference="r" * 5_000, errorCode="e" * 5_000))

    assert status_of(scene, message_id)["messageId"] == message_id
    assert len(scene.read_models.messages(MessageFilters(external_reference="r" * 5_000)).items) == 1
    assert scene.read_models.messages(MessageFilters(external_reference="r" * 4_999)).items == []


def test_masked_shows_no_whole_number(scene: Scene) -> None:
    scene.send("msg_1", to="+15551234567")
    said = {
        "error": {"code": "21610", "message": "+1 (555) 123-4567 has opted out"},
        "to": 15551234567,
        "text": "hi Bob",
    }
    scene.deliver(outbound("failed", "msg_1", 1, **said))
    scene.read_models.catch_up()

    answer = members_of(status_answer(scene.read_models.current_status("msg_1"), masked=True))

    assert answer["failure"] == {
        "error": {"code": "21610", "message": "…4567 has opted out"},
        "to": "…4567",
        "text": None,
    }
    assert "5551234567" not in str(answer)
    assert answer["requestAcceptance"]["to"] == "4567"  # type: ignore[index]


def test_the_status_as_the_ledger_knew_it_at_a_position_or_a_time(scene: Scene) -> None:
    scene.deliver(outbound("queued", "msg_1", 1), outbound("sent", "msg_1", 2), outbound("delivery", "msg_1", 3))

    def known(as_of: Position | int) -> tuple[Status, str]:
        status = scene.read_models.status_as_of("msg_1", as_of)
        return status.message.status, str(status.position)

    assert known(Position(0, 2)) == (Status.SENT, "0-2")
    assert known(Position(0, 3)) == (Status.DELIVERED, "0-3")
    with pytest.raises(MalformedQuestion, match="0-4 is beyond the end of the log, which is 0-3 there"):
        known(Position(0, 4))
    assert known(START_US + 1_000_000) == (Status.ACCEPTED, "0-1")
    assert known(START_US + 2_999_999) == (Status.SENT, "0-2")
    with pytest.raises(NotFound):
        known(START_US)
    with pytest.raises(NotFound):
        known(Position(0, 0))
    with pytest.raises(MalformedQuestion):
        known(Position(1, 1))


def known_as_of(scene: Scene, time_us: int) -> str | None:
    """Up to which position the ledger knew the message then."""
    try:
        return str(scene.read_models.status_as_of("msg_1", time_us).position)
    except NotFound:
        return None


def test_after_a_clock_that_went_back_years_what_was_known_then_is_in_the_order_of_the_log(scene: Scene) -> None:
    scene.deliver(outbound("queued", "msg_1", 1), at_us=START_US)
    scene.deliver(outbound("sent", "msg_1", 2), at_us=START_US - 20 * YEAR_US)
    scene.deliver(outbound("delivery", "msg_1", 3), at_us=START_US + 1_000_000)

    times_us = (START_US - 25 * YEAR_US, START_US - 15 * YEAR_US, START_US - 1, START_US, START_US + 1_000_000)
    assert [known_as_of(scene, each) for each in times_us] == [None, None, None, "0-2", "0-3"]


def test_after_a_clock_that_was_years_ahead_what_was_known_then_is_in_the_order_of_the_log(scene: Scene) -> None:
    ahead_us, now_us = START_US + 50 * YEAR_US, time.time_ns() // 1_000
    scene.deliver(outbound("queued", "msg_1", 1), at_us=ahead_us)
    scene.deliver(outbound("sent", "msg_1", 2), at_us=START_US)
    scene.deliver(outbound("delivery", "msg_1", 3), at_us=START_US + 1_000_000)

    times_us = (START_US - 1, START_US, START_US + 1_000_000, now_us, ahead_us)
    assert [known_as_of(scene, each) for each in times_us] == [None, "0-2", "0-3", "0-3", "0-3"]
    scene.deliver(outbound("delivery", "msg_1", 4), at_us=ahead_us)
    assert [known_as_of(scene, each) for each in (now_us, time.time_ns() // 1_000 + 1_000_000)] == ["0-3", "0-4"]


def test_what_a_very_long_message_was_then_is_put_together_once_and_not_event_by_event(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.deliver(*(outbound("sent", "msg_1", number) for number in range(1, 200)))
    made: list[int] = []
    message = Fold.message

    def counted(fold: Fold) -> Message:
        made.append(fold.event_count)
        return message(fold)

    monkeypatch.setattr(Fold, "message", counted)

    assert scene.read_models.status_as_of("msg_1", Position(0, 150)).message.event_count == 150
    assert made == [150]


def test_what_waited_in_quarantine_was_not_known_before_it_was_replayed(scene: Scene) -> None:
    received_us, replayed_us = START_US + 1_000_000, START_US + 7 * DAY_US
    scene.deliver(outbound("queued", "msg_1", 1), at_us=START_US)
    scene.ledger.commit([kept_unread(body("message.sent", sequence=2), received_at_us=received_us)])
    times_us = (START_US, received_us, replayed_us - 1, replayed_us, replayed_us + DAY_US)
    before = [known_as_of(scene, each) for each in times_us[:3]]

    scene.ledger.replay_quarantine(now_us=replayed_us)
    scene.deliver(outbound("delivery", "msg_1", 3), at_us=replayed_us + DAY_US)

    assert before == ["0-1", "0-1", "0-1"]
    assert [known_as_of(scene, each) for each in times_us] == [*before, "0-2", "0-3"]
    sent = scene.read_models.status_as_of("msg_1", replayed_us).message
    assert (sent.status, sent.updated_at_us) == (Status.SENT, replayed_us)


def test_every_filter_finds_what_it_names_and_nothing_else(any_scene: Scene) -> None:
    scene = any_scene
    scene.send("msg_1", number="num_1", to="+1555", reference="order_1")
    scene.send("msg_2", number="num_2", to="+1777")
    scene.deliver(
        outbound("failed", "msg_2", 1, errorCode="30005"),
        inbound("in_1", **{"from": "+1777", "to": "+1999", "numberId": "num_2"}),
        inbound("in_2", **{"from": "+1888", "to": "+1888"}),
        outbound("sent", "msg_3", 1, providerMessageRef="SM3"),
        {"eventType": "message.read", "messageId": "msg_4"},
    )
    scene.read_models.catch_up()

    def found(**filters: object) -> list[str]:
        page = scene.read_models.messages(MessageFilters(**filters))  # type: ignore[arg-type]
        return [each.message.message_id for each in page.items]

    assert found() == ["msg_4", "msg_3", "in_2", "in_1", "msg_2", "msg_1"]
    assert found(status=Status.FAILED) == ["msg_2"]
    assert found(status=Status.UNKNOWN) == ["msg_4"]
    assert found(direction=Direction.INBOUND) == ["in_2", "in_1"]
    assert found(direction=Direction.OUTBOUND) == ["msg_3", "msg_2", "msg_1"]
    assert found(direction=Direction.OUTBOUND, status=Status.RECEIVED) == []
    assert found(external_reference="order_1") == ["msg_1"]
    assert found(provider_message_ref="SM3") == ["msg_3"]
    assert found(number_id="num_2") == ["in_1", "msg_2"]
    assert found(number_id="num_2", status=Status.FAILED) == ["msg_2"]
    assert found(number_id="num_2", direction=Direction.INBOUND) == ["in_1"]
    assert found(phone="+1777") == ["in_1", "msg_2"]
    assert found(phone="+1777", number_id="num_2", status=Status.RECEIVED) == ["in_1"]
    assert found(phone="+1888") == ["in_2"]
    assert found(failure_code="30005") == ["msg_2"]
    assert found(failure_code="30005", phone="+1777", external_reference="x") == []
    updated_us = START_US + 3_000_000
    assert found(updated_after_us=updated_us, updated_before_us=updated_us + 1) == ["msg_2"]
    assert found(updated_before_us=updated_us) == ["msg_1"]


def test_every_message_of_a_list_appears_once_whatever_the_size_of_its_pages(any_scene: Scene) -> None:
    scene = any_scene
    for number in range(17):
        # Some at the same time: the order is still one.
        scene.deliver(outbound("sent", f"msg_{number}", 1), at_us=START_US + number // 5)
    scene.read_models.catch_up()

    for limit in (1, 2, 5, 16, 17, 18):
        assert sorted(paged(scene, limit)) == sorted(f"msg_{number}" for number in range(17))


def paged(scene: Scene, limit: int, filters: MessageFilters = MessageFilters()) -> list[str]:  # noqa: B008 - a frozen value
    found: list[str] = []
    cursor = None
    while True:
        page = scene.read_models.messages(filters, cursor=cursor, limit=limit)
        found += [each.message.message_id for each in page.items]
        cursor = page.next
        if cursor is None:
            return found


def test_what_is_updated_while_it_is_paged_appears_once_at_most_even_when_the_clock_steps_back(scene: Scene) -> None:
    for number in range(6):
        scene.deliver(outbound("queued", f"msg_{number}", 1))
    scene.read_models.catch_up()
    first = scene.read_models.messages(MessageFilters(), limit=2)
    scene.deliver(outbound("sent", "msg_5", 2), at_us=START_US)  # shown already, and now older than everything
    scene.deliver(outbound("sent", "msg_0", 2), at_us=START_US + 60_000_000)
    scene.deliver(outbound("queued", "msg_new", 1), at_us=START_US + 1)
    scene.read_models.catch_up()

    second = scene.read_models.messages(MessageFilters(), cursor=first.next, limit=50)

    assert [each.message.message_id for each in first.items] == ["msg_5", "msg_4"]
    assert [each.message.message_id for each in second.items] == ["msg_3", "msg_2", "msg_1"]


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "é", "=" * 9, "A" * 20_000, "k6ptZXNzYWdlcy0x", "\0", "gqFhAQ"])
def test_a_cursor_that_is_not_ours_is_refused(sqlite_scene: Scene, cursor: str) -> None:
    with pytest.raises(MalformedQuestion):
        sqlite_scene.read_models.messages(MessageFilters(), cursor=cursor)
    with pytest.raises(MalformedQuestion):
        sqlite_scene.read_models.conversations(cursor=cursor)
    with pytest.raises(MalformedQuestion):
        sqlite_scene.read_models.conversation_messages("conv_1", cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 1_001, 10**9])
def test_a_limit_out_of_bounds_is_refused(sqlite_scene: Scene, limit: int) -> None:
    with pytest.raises(MalformedQuestion):
        sqlite_scene.read_models.messages(MessageFilters(), limit=limit)


def test_rows_are_what_a_plain_fold_of_the_log_says(any_scene: Scene) -> None:
    scene = any_scene
    scene.send("msg_1")
    scene.deliver(outbound("sent", "msg_1", 2), outbound("queued", "msg_1", 1), inbound("msg_1"), inbound("in_1"))
    scene.read_models.catch_up()

    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]


def test_a_status_has_what_the_log_has_however_far_the_read_model_is(any_scene: Scene) -> None:
    scene = any_scene
    scene.deliver(outbound("queued", "msg_1", 1))
    scene.read_models.catch_up()
    scene.deliver(outbound("queued", "msg_2", 1))
    at = scene.deliver(outbound("sent", "msg_1", 2), outbound("sent", "msg_2", 2))

    ahead = [scene.read_models.current_status(f"msg_{number}") for number in (1, 2)]
    with pytest.raises(NotFound, match="nothing is known of message 'msg_3'"):
        scene.read_models.current_status("msg_3")
    scene.read_models.catch_up()

    assert [(each.message.status, each.position) for each in ahead] == [(Status.SENT, each) for each in at]
    assert ahead == [scene.read_models.current_status(f"msg_{number}") for number in (1, 2)]


def test_a_status_is_told_from_the_log_where_the_read_models_are_damaged(scene: Scene) -> None:
    (at,) = scene.deliver(outbound("sent", "msg_1", 2))
    scene.read_models.catch_up()
    with scene.read_models.stores.rows.writing() as connection:
        connection.exec_driver_sql("DROP TABLE message_status_g1")

    assert scene.read_models.current_status("msg_1").position == at


def test_a_row_follows_its_message_whether_the_provider_s_reference_is_new_the_same_or_another(
    any_scene: Scene,
) -> None:
    refs = [None, "SM1", "SM1", "SM2", None, "SM2"]
    found: list[list[str]] = []
    for sequence, ref in enumerate(refs, start=1):
        said = {} if ref is None else {"providerMessageRef": ref}
        any_scene.deliver(outbound("sent", "msg_1", sequence, **said), outbound("sent", "other", sequence))
        any_scene.read_models.catch_up()
        lists = {
            name: any_scene.read_models.messages(MessageFilters(provider_message_ref=name)) for name in ("SM1", "SM2")
        }
        found.append(
            [name for name, page in lists.items() if [each.message.message_id for each in page.items] == ["msg_1"]]
        )

    assert found == [[], ["SM1"], ["SM1"], ["SM2"], ["SM2"], ["SM2"]]
    assert any_scene.live_rows(MESSAGE_STATUS) == [any_scene.folded_rows()]
