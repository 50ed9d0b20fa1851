"""Promise 3: status depends only on the set of facts, never on their order, their repetition or their batching."""

from functools import reduce
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from ledger.events import MessageEvent, OutboundReported
from ledger.message import Message, effect_of, evolve, external_reference, fold, missing_sequences, steps
from ledger.provider import STATUS_OF, Status
from tests.builders import NOW_US, accepted, body, event, inbound, unknown

KINDS = ["message.queued", "message.sent", "message.delivery", "message.failed"]
REFERENCES = [None, "order_1", "order_2"]

sequences = st.integers(0, 8) | st.sampled_from([2**53, 2**62, 2**63 - 1])


class Known(NamedTuple):
    """What is promised to depend on the set of facts alone."""

    status: Status
    sequence: int | None
    failure_body: bytes | None
    external_reference: str | None
    provider_message_ref: str | None
    missing: list[int]
    conflicting: tuple[int, ...]
    has_acceptance: bool
    updated_at_us: int


def known(message: Message) -> Known:
    reference = message.provider_message_ref
    return Known(
        message.status,
        message.sequence,
        message.failure_body,
        external_reference(message),
        reference.text if reference else None,
        missing_sequences(message),
        message.conflicting,
        message.acceptance is not None,
        message.updated_at_us,
    )


@st.composite
def outbound_facts(draw: st.DrawFn) -> MessageEvent:
    said = body(
        draw(st.sampled_from(KINDS)),
        sequence=draw(sequences),
        externalReference=draw(st.sampled_from(REFERENCES)),
        providerMessageRef=draw(st.sampled_from([None, "SM1", "SM2"])),
        errorCode=draw(st.sampled_from([None, "1", "2"])),
    )
    return event(said, received_at_us=NOW_US + draw(st.integers(-3, 3)))


other_facts = st.builds(unknown, sequence=st.none() | sequences)


def sequence_of(event: MessageEvent) -> object:
    return event.sequence if isinstance(event, OutboundReported) else event


def recorded(deliveries: list[MessageEvent]) -> list[MessageEvent]:
    """What the log keeps of deliveries: each fact once, in the order in which it first came."""
    return list({event.receipt.body: event for event in deliveries}.values())


@given(
    facts=st.lists(outbound_facts(), max_size=8, unique_by=sequence_of),
    others=st.lists(other_facts, max_size=3),
    acceptance=st.sampled_from([[], [accepted()]]),
    order=st.data(),
)
def test_without_conflicting_claims_any_order_and_repetition_gives_the_same_message(
    facts: list[MessageEvent], others: list[MessageEvent], acceptance: list[MessageEvent], order: st.DataObject
) -> None:
    everything = [*facts, *others, *acceptance]
    again = order.draw(st.lists(st.sampled_from(everything), max_size=6)) if everything else []
    deliveries = order.draw(st.permutations([*everything, *again]))

    assert known(fold(recorded(deliveries))) == known(fold(recorded(everything)))


@given(facts=st.lists(outbound_facts(), min_size=1, max_size=8), order=st.data())
def test_with_conflicting_claims_the_same_set_is_shown_as_conflicting(
    facts: list[MessageEvent], order: st.DataObject
) -> None:
    one = fold(recorded(facts))
    other = fold(recorded(order.draw(st.permutations(facts))))

    assert (other.conflicting, other.sequence) == (one.conflicting, one.sequence)
    assert missing_sequences(other) == missing_sequences(one)


@given(facts=st.lists(outbound_facts(), min_size=1, max_size=8), order=st.data())
def test_whatever_comes_between_the_first_recorded_at_the_highest_sequence_holds(
    facts: list[MessageEvent], order: st.DataObject
) -> None:
    history = recorded(order.draw(st.permutations(facts)))
    outbound = [event for event in history if isinstance(event, OutboundReported)]
    highest = max(event.sequence for event in outbound)
    first = next(event for event in outbound if event.sequence == highest)

    assert fold(history).status is STATUS_OF[first.KIND]


@given(facts=st.lists(outbound_facts() | other_facts | st.builds(inbound), max_size=8))
def test_folding_one_by_one_is_folding_at_once(facts: list[MessageEvent]) -> None:
    one_by_one = reduce(evolve, facts, Message())

    assert one_by_one == fold(facts)
    assert [step.message for step in steps(facts)][-1:] == ([one_by_one] if facts else [])


@given(facts=st.lists(outbound_facts() | other_facts | st.builds(inbound), max_size=8))
def test_the_effect_of_an_event_is_the_same_whether_asked_of_the_message_or_of_its_history(
    facts: list[MessageEvent],
) -> None:
    history = list(steps(facts))
    before = [Message(), *(step.message for step in history)]

    assert [step.effect for step in history] == [effect_of(*pair) for pair in zip(before, facts, strict=False)]


@given(facts=st.lists(outbound_facts(), min_size=1, max_size=8))
def test_missing_sequences_are_those_that_walking_would_find(facts: list[MessageEvent]) -> None:
    claimed = {event.sequence for event in facts if isinstance(event, OutboundReported) and event.sequence <= 8}
    small = [event for event in facts if sequence_of(event) in claimed]
    walked = [each for each in range(min(claimed, default=0), max(claimed, default=0)) if each not in claimed]

    assert missing_sequences(fold(small)) == walked
