"""Counts stop at a bound, and agree with the lists while they are below it, on both engines."""

from ledger.provider import Direction, Status
from ledger.store.driver import fetch, placeholder_of
from projections.message_ranges import MessageFilters, ranges_of, statement_of
from projections.message_status import MESSAGE_STATUS, MESSAGES, decode_message
from projections.queries_counts import FailureGroup, Failures, narrowest
from projections.register import live
from projections.stuck import STUCK_AFTER_S, stuck_filters
from tests.projections.scene import START_US, Scene, inbound, outbound

SECOND_US = 1_000_000


def test_a_count_agrees_with_the_list_and_stops_at_its_bound(any_scene: Scene) -> None:
    any_scene.deliver(*(outbound("sent", f"msg_{number}", 1, externalReference="order") for number in range(5)))
    any_scene.deliver(*(inbound(f"in_{number}", "conv") for number in range(3)))
    any_scene.read_models.catch_up()

    def counted(at_most: int = 100, **filters: object) -> int:
        return any_scene.read_models.count_messages(MessageFilters(**filters), at_most=at_most)  # type: ignore[arg-type]

    assert (counted(), counted(at_most=8), counted(at_most=7), counted(at_most=1)) == (8, 8, 7, 1)
    assert counted(status=Status.SENT) == 5
    assert counted(direction=Direction.OUTBOUND, at_most=4) == 4
    assert counted(external_reference="order", status=Status.SENT) == 5
    assert counted(status=Status.SENT, updated_before_us=START_US + 3 * SECOND_US) == 2
    assert counted(status=Status.RECEIVED, updated_after_us=START_US + 8 * SECOND_US) == 1


def test_a_list_is_read_by_the_filter_that_names_few_messages(any_scene: Scene) -> None:
    any_scene.deliver(
        *(outbound("queued", f"msg_{number}", 1, externalReference="campaign") for number in range(6)),
        *(outbound("sent", f"msg_{number}", 2) for number in range(2)),
        outbound("sent", "other", 2, externalReference="order"),
    )
    any_scene.read_models.catch_up()
    rows = any_scene.read_models.stores.rows

    def chosen(few: int, **filters: object) -> str | None:
        with rows.reading() as connection:
            generation = live(connection, MESSAGE_STATUS).generation
            return narrowest(connection, generation, MessageFilters(**filters), few=few)  # type: ignore[arg-type]

    both = {"external_reference": "campaign", "status": Status.SENT}
    assert chosen(3, **both) == "external_reference"  # of six with it two are sent
    assert chosen(2, **both) is None
    assert chosen(9, external_reference="campaign") is None
    assert chosen(4, external_reference="campaign", number_id="num_1") == "number_id"
    assert chosen(1, external_reference="campaign", failure_code="x") == "external_reference"  # none with it has failed
    assert chosen(1, external_reference="campaign", status=Status.FAILED, failure_code="x") == "external_reference"


def test_a_reference_of_the_provider_s_that_very_many_have_is_not_sorted(any_scene: Scene) -> None:
    any_scene.deliver(*(outbound("sent", f"msg_{number}", 1, providerMessageRef="none") for number in range(6)))
    any_scene.read_models.catch_up()
    filters = MessageFilters(provider_message_ref="none")
    with any_scene.read_models.stores.rows.reading() as connection:
        generation = live(connection, MESSAGE_STATUS).generation
        chosen = {few: narrowest(connection, generation, filters, few=few) for few in (6, 7)}
        table, place = MESSAGES.of(generation), placeholder_of(connection)
        lists = {
            driving: [
                row[0]
                for conditions in ranges_of(filters, driving)
                for row in fetch(connection, *with_limit(statement_of(table, conditions, filters, None, place), 4))
            ]
            for driving in chosen.values()
        }

    assert chosen == {6: "status", 7: "provider_message_ref"}
    assert lists["status"] == lists["provider_message_ref"] == sorted(lists["status"], reverse=True)
    assert len(lists["status"]) == 4


def with_limit(statement: tuple[str, tuple[object, ...]], limit: int) -> tuple[str, tuple[object, ...]]:
    text, values = statement
    return text, (*values, limit)


def test_whichever_filter_drives_the_list_is_the_same(any_scene: Scene) -> None:
    for number in range(12):
        some = {"externalReference": f"order_{number % 2}", "providerMessageRef": f"SM{number % 3}"}
        any_scene.deliver(outbound(("sent", "failed")[number % 2], f"msg_{number}", 1, errorCode="30003", **some))
    any_scene.read_models.catch_up()
    filters = MessageFilters(status=Status.SENT, external_reference="order_0", provider_message_ref="SM0")
    listed = [each.message.message_id for each in any_scene.read_models.messages(filters).items]

    assert listed == ["msg_6", "msg_0"]
    with any_scene.read_models.stores.rows.reading() as connection:
        table, place = MESSAGES.of(live(connection, MESSAGE_STATUS).generation), placeholder_of(connection)
        for driving in filters.each_alone:
            found = []
            for conditions in ranges_of(filters, driving):
                statement, values = statement_of(table, conditions, filters, None, place)
                found += fetch(connection, statement, (*values, 50))
            assert [decode_message(row[3]).message_id for row in found] == listed


def test_a_failure_code_is_that_of_a_failed_message_or_of_none(scene: Scene) -> None:
    scene.deliver(outbound("failed", "msg_1", 1, errorCode="30003"))
    scene.read_models.catch_up()

    def found(**filters: object) -> int:
        return len(scene.read_models.messages(MessageFilters(failure_code="30003", **filters)).items)  # type: ignore[arg-type]

    assert (found(), found(status=Status.FAILED), found(direction=Direction.OUTBOUND)) == (1, 1, 1)
    assert (found(status=Status.SENT), found(direction=Direction.INBOUND)) == (0, 0)


def test_failures_are_counted_by_code_the_most_frequent_first(any_scene: Scene) -> None:
    for number, code in enumerate(["30003", "30005", None, "30005"]):
        any_scene.deliver(outbound("failed", f"msg_{number}", 1, **({"errorCode": code} if code else {})))
    any_scene.read_models.catch_up()
    first = any_scene.read_models.current_status("msg_0").message.updated_at_us

    def failures(after_us: int = 0, look_at_most: int = 100) -> Failures:
        return any_scene.read_models.failures_by_code(updated_after_us=after_us, look_at_most=look_at_most)

    assert failures() == Failures(
        [
            FailureGroup("30005", 2, first + 3 * SECOND_US),
            FailureGroup(None, 1, first + 2 * SECOND_US),
            FailureGroup("30003", 1, first),
        ],
        looked_at=4,
    )
    assert failures(look_at_most=1) == Failures([FailureGroup("30005", 1, first + 3 * SECOND_US)], looked_at=1)
    assert failures(after_us=first + 3 * SECOND_US).looked_at == 1
    assert failures(after_us=first + 4 * SECOND_US) == Failures([], looked_at=0)


def test_a_message_is_stuck_after_the_time_of_its_status(scene: Scene) -> None:
    scene.deliver(outbound("sent", "msg_1", 1), outbound("delivery", "msg_2", 1))
    scene.read_models.catch_up()
    updated_us = scene.read_models.current_status("msg_1").message.updated_at_us
    due_us = updated_us + STUCK_AFTER_S[Status.SENT] * SECOND_US

    def stuck(now_us: int) -> int:
        return scene.read_models.count_messages(stuck_filters(Status.SENT, now_us), at_most=10)

    assert (stuck(due_us), stuck(due_us + 1)) == (0, 1)
