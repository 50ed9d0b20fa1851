"""The lifecycle rule: what each event does to its message, and what the message then is."""

import time
from collections.abc import Sequence

import pytest

from ledger.events import MessageEvent, Receipt, event_of
from ledger.message import (
    Fold,
    Message,
    Reference,
    RequestAcceptance,
    external_reference,
    missing_sequences,
    number_id,
    steps,
)
from ledger.provider import Direction, Effect, Status
from ledger.webhooks import parse
from tests.builders import (
    NOW_US,
    Lifecycle,
    accepted,
    body,
    delivered,
    event,
    failed,
    given,
    inbound,
    queued,
    sent,
    unknown,
)

APPLIED, SUPERSEDED, REPEATED = Effect.APPLIED, Effect.SUPERSEDED, Effect.REPEATED
CONFLICTING, NOTED, CREATED = Effect.CONFLICTING, Effect.NOTED, Effect.CREATED


@pytest.mark.parametrize(
    "lifecycle, status",
    [
        (given(), Status.UNKNOWN),
        (given(accepted()), Status.SUBMITTED),
        (given(queued()), Status.ACCEPTED),
        (given(queued(), sent()), Status.SENT),
        (given(queued(), sent(), delivered()), Status.DELIVERED),
        (given(queued(), failed(2)), Status.FAILED),
        (given(inbound()), Status.RECEIVED),
        (given(unknown()), Status.UNKNOWN),
    ],
)
def test_each_kind_has_its_own_status(lifecycle: Lifecycle, status: Status) -> None:
    assert lifecycle.status is status


def test_the_usual_progression_applies_each_event() -> None:
    message = given(accepted()).when(queued(1), sent(2), delivered(3))

    assert message.effects == [NOTED, APPLIED, APPLIED, APPLIED]


def test_a_late_sent_webhook_never_undoes_delivered() -> None:
    message = given(delivered(sequence=3)).when(sent(sequence=2))

    assert message.status is Status.DELIVERED
    assert message.effects == [APPLIED, SUPERSEDED]


def test_a_higher_sequence_applies_whatever_its_kind_is() -> None:
    message = given(delivered(sequence=3)).when(queued(sequence=4))

    assert message.status is Status.ACCEPTED
    assert message.effects == [APPLIED, APPLIED]


def test_another_kind_at_the_same_sequence_conflicts_and_the_first_holds() -> None:
    message = given(queued(1), sent(2)).when(failed(2))

    assert message.status is Status.SENT
    assert message.effects == [APPLIED, APPLIED, CONFLICTING]
    assert message.message.conflicting == (2,)


def test_another_body_of_the_same_kind_at_the_same_sequence_is_a_repetition() -> None:
    message = given(failed(2, errorCode="first")).when(failed(2, errorCode="second"))

    assert message.effects == [APPLIED, REPEATED]
    assert message.message.failure_body == body("message.failed", sequence=2, errorCode="first")


def test_what_conflicts_with_a_superseded_event_conflicts_too() -> None:
    message = given(delivered(3), sent(2)).when(failed(2))

    assert message.effects == [APPLIED, SUPERSEDED, CONFLICTING]


def test_once_a_sequence_conflicts_whatever_comes_at_it_conflicts() -> None:
    message = given(sent(2), failed(2)).when(sent(2, providerMessageRef="SM9"))

    assert message.effects == [APPLIED, CONFLICTING, CONFLICTING]
    assert message.message.conflicting == (2,)


def test_unknown_kinds_change_no_status() -> None:
    message = given(sent(2)).when(unknown(sequence=9), delivered(3))

    assert message.effects == [APPLIED, NOTED, APPLIED]
    assert (message.status, message.message.sequence) == (Status.DELIVERED, 3)


def test_an_unknown_kind_alone_gives_no_direction() -> None:
    message = given().when(unknown()).message

    assert (message.direction, message.status, message.sequence) == (None, Status.UNKNOWN, None)


def test_a_request_acceptance_after_the_webhooks_changes_no_status() -> None:
    message = given(queued(1)).when(accepted())

    assert message.status is Status.ACCEPTED
    assert message.effects == [APPLIED, NOTED]


def test_the_first_request_acceptance_holds() -> None:
    message = given(accepted(idempotency_key="first")).when(accepted(idempotency_key="second")).message

    assert message.acceptance == RequestAcceptance("QUEUED", "+15551234567", "first", NOW_US, "num_abc123", "order_789")


def test_an_inbound_message_is_created_once_and_another_body_conflicts() -> None:
    message = given(inbound(text="Hello")).when(inbound(text="Good bye"))

    assert message.effects == [CREATED, CONFLICTING]
    assert message.status is Status.RECEIVED


@pytest.mark.parametrize("stranger", [queued(), delivered(), accepted()])
def test_outbound_events_on_an_inbound_message_conflict(stranger: MessageEvent) -> None:
    message = given(inbound()).when(stranger)

    assert message.effects == [CREATED, CONFLICTING]
    assert (message.status, message.message.direction) == (Status.RECEIVED, Direction.INBOUND)


def test_of_an_outbound_event_on_an_inbound_message_its_references_and_its_conflict_are_shown() -> None:
    message = given(inbound()).when(sent(7, externalReference="order_1"), sent(5), sent(7, text="again")).message

    assert (external_reference(message), message.conflicting) == ("order_1", (5, 7))


def test_an_event_that_conflicts_costs_as_much_as_any_other_however_many_there_are() -> None:
    many = [sent(number) for number in range(3_000)]

    assert cost_s([inbound(), *many]) < 4 * cost_s(many)


def cost_s(events: Sequence[MessageEvent]) -> float:
    """What folding these takes at best, of three times."""

    def once_s() -> float:
        folded, began_s = Fold(), time.thread_time()
        for each in events:
            folded.add(each)
        return time.thread_time() - began_s

    return min(once_s() for _ in range(3))


@pytest.mark.parametrize("first", [queued(), accepted()])
def test_an_inbound_event_on_an_outbound_message_conflicts(first: MessageEvent) -> None:
    message = given(first).when(inbound())

    assert message.effects[-1] is CONFLICTING
    assert message.message.direction is Direction.OUTBOUND


def test_an_unknown_kind_leaves_the_direction_to_the_next_event() -> None:
    assert given(unknown()).when(inbound()).effects == [NOTED, CREATED]
    assert given(unknown()).when(queued()).effects == [NOTED, APPLIED]


@pytest.mark.parametrize(
    "lifecycle, missing",
    [
        (given(), []),
        (given(queued(1)), []),
        (given(queued(1), delivered(4)), [2, 3]),
        (given(delivered(4), queued(1)), [2, 3]),
        (given(queued(1), unknown(sequence=2), delivered(4)), [3]),
        (given(queued(5), unknown(sequence=2), unknown(sequence=9)), []),
        (given(unknown(sequence=1), unknown(sequence=5)), []),
        (given(queued(0), sent(2**63 - 1)), list(range(1, 101))),
        (given(queued(0), sent(2**62), delivered(2**63 - 1)), list(range(1, 101))),
        (given(queued(0), sent(51), delivered(2**63 - 1)), [*range(1, 51), *range(52, 102)]),
        (given(sent(1), failed(1), delivered(3)), [2]),
    ],
)
def test_missing_sequences_are_the_holes_between_lowest_and_highest_and_never_walked(
    lifecycle: Lifecycle, missing: list[int]
) -> None:
    assert missing_sequences(lifecycle.message) == missing


def test_the_reference_of_the_highest_sequence_that_carries_one_holds_whatever_its_effect() -> None:
    message = given(queued(1, externalReference="first", providerMessageRef="SM1"), delivered(5)).when(
        sent(3, externalReference="third", providerMessageRef="SM3"),
        failed(3, externalReference="conflicting", providerMessageRef="SM_conflicting"),
        sent(2, externalReference="second", providerMessageRef="SM2"),
    )

    assert external_reference(message.message) == "third"
    assert message.message.provider_message_ref == Reference("SM3", 3)


def test_without_a_reference_in_an_event_the_one_of_the_request_holds() -> None:
    assert external_reference(given(accepted(reference="order_1")).when(queued()).message) == "order_1"
    assert external_reference(given(accepted(reference="a")).when(queued(externalReference="b")).message) == "b"
    assert external_reference(given(queued()).message) is None


def test_the_company_s_number_is_that_of_the_request_or_of_the_inbound_message() -> None:
    assert number_id(given(queued(), accepted()).message) == "num_abc123"
    assert number_id(given(inbound(numberId="num_2")).message) == "num_2"
    assert number_id(given(queued()).message) is None


def test_the_failure_is_kept_only_while_the_status_is_failed() -> None:
    message = given(queued(1)).when(failed(2, errorCode="30003"))

    assert message.message.failure_body == body("message.failed", sequence=2, errorCode="30003")
    assert message.when(delivered(3)).message.failure_body is None
    assert given(delivered(3)).when(failed(2)).message.failure_body is None


def test_the_times_are_those_of_receiving_and_a_message_is_never_updated_back_in_time() -> None:
    first = event(body("message.queued", sequence=1), received_at_us=10)
    second = event(body("message.sent", sequence=3), received_at_us=20)
    late = event(body("message.queued", sequence=2), received_at_us=15)
    message = given(first, second, late).message

    assert (message.first_recorded_at_us, message.status_changed_at_us, message.updated_at_us) == (10, 20, 20)
    assert message.event_count == 3


def test_a_status_never_changes_before_its_message_is_recorded_nor_before_an_earlier_change() -> None:
    first = event(body("message.queued", sequence=1), received_at_us=20)
    second = event(body("message.sent", sequence=2), received_at_us=10)
    third = event(body("message.delivery", sequence=3), received_at_us=30)
    fourth = event(body("message.failed", sequence=4), received_at_us=25)

    changed_at_us = [step.message.status_changed_at_us for step in steps([first, second, third, fourth])]

    assert changed_at_us == [20, 20, 30, 30]


def test_an_event_that_was_replayed_counts_from_when_it_was_recorded() -> None:
    raw = body("message.sent", sequence=2)
    replayed = event_of(parse(raw), Receipt(10, raw, replayed_at_us=30))
    alone = given(replayed).message
    after = given(event(body("message.queued", sequence=1), received_at_us=5)).when(replayed).message

    assert (alone.first_recorded_at_us, alone.status_changed_at_us, alone.updated_at_us) == (30, 30, 30)
    assert (after.first_recorded_at_us, after.status_changed_at_us, after.updated_at_us) == (5, 30, 30)


def test_before_its_first_event_nothing_is_known_of_a_message() -> None:
    assert given().message == Message()
