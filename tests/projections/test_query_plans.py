"""Every question is answered from an index, in the order of the index: no scan of a table, no sort, on either engine."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ledger.provider import Direction, Status
from ledger.store.driver import Row, fetch, placeholder_of
from projections.checkpoints import Generation
from projections.inbound_conversations import CONVERSATIONS, conversation_key
from projections.message_ranges import UNSORTED, MessageFilters, merged, ranges_of, statement_of
from projections.message_status import MESSAGES
from projections.page_cursors import AfterConversation, AfterConversationMessage
from projections.queries_conversations import conversation_messages_statement, conversations_statement
from tests.projections.scene import START_US, Scene, inbound, outbound

PAGES = [None, (START_US, 0, 5)]
FILTERS = {
    "none": MessageFilters(),
    "stuck": MessageFilters(status=Status.SENT, updated_before_us=START_US + 600_000_000),
    "status": MessageFilters(status=Status.SENT),
    "updated": MessageFilters(updated_after_us=START_US, updated_before_us=START_US + 9),
    "direction": MessageFilters(direction=Direction.OUTBOUND),
    "reference": MessageFilters(external_reference="order_1"),
    "provider-reference": MessageFilters(provider_message_ref="SM1"),
    "number": MessageFilters(number_id="num_1"),
    "number-status": MessageFilters(
        number_id="num_1", status=Status.RECEIVED, updated_before_us=START_US + 600_000_000
    ),
    "phone": MessageFilters(phone="+15550001111"),
    "phone-status": MessageFilters(phone="+15550001111", status=Status.RECEIVED),
    "failure": MessageFilters(failure_code="30005", status=Status.FAILED),
}


@pytest.fixture(scope="module")
def filled(shared_store_url: str) -> Iterator[Scene]:
    """Enough rows for a planner to have a choice, and statistics as a server would have made them by itself."""
    with Scene(shared_store_url) as scene:
        fill(scene)
        yield scene


def fill(scene: Scene) -> None:
    webhooks = []
    for number in range(400):
        webhooks += [
            outbound("sent", f"msg_{number}", 1, externalReference=f"order_{number}", providerMessageRef=f"SM{number}"),
            inbound(f"in_{number}", f"conv_{number}", **{"from": f"+1555{number}"}),
            outbound("failed", f"failed_{number}", 1, errorCode=str(number)),
        ]
    scene.deliver(*webhooks)
    scene.read_models.catch_up()
    if not scene.read_models.stores.rows.is_sqlite:
        with scene.read_models.stores.rows.writing() as connection:
            connection.exec_driver_sql("ANALYZE")


def plans(scene: Scene, statements: Iterator[tuple[str, Row]]) -> list[str]:
    rows = scene.read_models.stores.rows
    explain = "EXPLAIN QUERY PLAN " if rows.is_sqlite else "EXPLAIN "
    with rows.writing() as connection:
        if not rows.is_sqlite:
            # The tables of a test are small: what matters is what is possible when reading and sorting a lot is dear.
            for way in ("seqscan", "bitmapscan", "sort"):
                connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        return [
            "\n".join(str(row[-1]) for row in fetch(connection, explain + text, values)) for text, values in statements
        ]


def expect_index_and_order(found: list[str], *, is_sorted: bool = False) -> None:
    assert found
    for plan in found:
        assert "Seq Scan" not in plan
        assert ("Sort" in plan or "TEMP B-TREE" in plan) == is_sorted
        for line in plan.splitlines():
            if line.startswith("SCAN"):
                assert "USING INDEX" in line  # the list without any filter walks its index from the newest on


@pytest.mark.parametrize("page", PAGES, ids=["first-page", "next-page"])
def test_lists_of_messages(filled: Scene, page: tuple[int, ...] | None) -> None:
    place = placeholder(filled)
    for name, filters in FILTERS.items():
        statements = [
            statement_of("message_status_g1", conditions, filters, page, place) for conditions in ranges_of(filters)
        ]
        found = plans(filled, ((text, (*values, 50)) for text, values in statements))
        expect_index_and_order(found, is_sorted=name == "provider-reference")
        (at_once,) = plans(filled, iter([merged([(text, (*values, 50)) for text, values in statements])]))
        assert at_once.count("message_status_g1_by_") == len(statements)
        assert "Seq Scan" not in at_once
        assert ("Sort" in at_once or "TEMP B-TREE" in at_once) == (name == "provider-reference")
        # PostgreSQL chooses among them by its statistics.
        expected = {"none": "by_status", "updated": "by_status", "stuck": "by_status", "number": "by_number_id"}
        if filled.read_models.stores.rows.is_sqlite:
            assert all(expected.get(name, "message_status_g1_by") in plan for plan in found), (name, found)


SEVERAL = MessageFilters(
    status=Status.SENT,
    external_reference="order_1",
    provider_message_ref="SM1",
    number_id="num_1",
    phone="+15550001111",
)


@pytest.mark.parametrize("driving", [*SEVERAL.each_alone, "failure_code"])
def test_of_several_filters_any_may_drive(filled: Scene, driving: str) -> None:
    filters = SEVERAL if driving in SEVERAL.each_alone else MessageFilters(failure_code="30005", number_id="num_1")
    statements = [
        statement_of("message_status_g1", conditions, filters, None, placeholder(filled))
        for conditions in ranges_of(filters, driving)
    ]
    found = plans(filled, ((text, (*values, 50)) for text, values in statements))

    expect_index_and_order(found, is_sorted=driving == UNSORTED)
    names = {"phone": ("sender", "recipient")}.get(driving, (driving,))
    assert all(any(f"by_{name}" in plan for name in names) for plan in found), found


@pytest.mark.parametrize(
    "filters", [MessageFilters(external_reference="order_1"), MessageFilters(phone="+15550001111")]
)
def test_the_messages_of_a_status_with_a_reference_or_number_are_one_range(
    filled: Scene, filters: MessageFilters
) -> None:
    """However many have that reference or number, those in another status are not walked through."""
    filters = replace(filters, status=Status.FAILED)
    statements = [
        statement_of("message_status_g1", conditions, filters, None, placeholder(filled))
        for conditions in ranges_of(filters)
    ]
    found = plans(filled, ((text, (*values, 50)) for text, values in statements))

    expect_index_and_order(found)
    for plan in found:
        (within,) = re.findall(r"Index Cond: \((.*)\)|USING INDEX \S+ \((.*)\)", plan)
        assert re.search(r"(external_reference|sender|recipient) ?=.* AND \(?status ?=", "".join(within)), plan


def test_one_status(filled: Scene) -> None:
    place = placeholder(filled)
    statement = f"SELECT state FROM {MESSAGES.of(GENERATION)} WHERE partition = {place} AND stream_id IN ({place})"  # noqa: S608 - a test's own names

    expect_index_and_order(plans(filled, iter([(statement, (0, b"x"))])))


def test_conversations(filled: Scene) -> None:
    place = placeholder(filled)
    after = AfterConversation(START_US, conversation_key("conv_1"))
    choices = itertools.product([None, "num_1"], [None, "+15551"], [None, after])
    statements = [
        conversations_statement(GENERATION, number_id=number, participant=participant, after=each, placeholder=place)
        for number, participant, each in choices
    ]
    expect_index_and_order(plans(filled, ((text, (*values, 50)) for text, values in statements)))
    one = f"SELECT summary FROM {CONVERSATIONS.of(GENERATION)} WHERE partition = {place} AND conversation_key = {place}"  # noqa: S608 - a test's own names
    expect_index_and_order(plans(filled, iter([(one, (0, b"x"))])))


def test_messages_of_a_conversation(filled: Scene) -> None:
    key = conversation_key("conv_1")
    statements = [
        conversation_messages_statement(GENERATION, key, after, placeholder(filled))
        for after in (None, AfterConversationMessage(START_US, 0, 5))
    ]
    expect_index_and_order(plans(filled, ((text, (*values, 50)) for text, values in statements)))


GENERATION = Generation("any", 1)


def placeholder(scene: Scene) -> str:
    with scene.read_models.stores.rows.reading() as connection:
        return placeholder_of(connection)
