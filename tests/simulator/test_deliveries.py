"""How facts get on their way: nothing is lost but what is dropped, and a copy is always the same fact."""

import json
from collections import Counter, defaultdict
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from api.simulator.deliveries import COPIES_MAX, Schedule, respelled, schedule
from api.simulator.facts import dice_of, written
from api.simulator.lifecycles import traffic
from ledger.json_values import canonical

FACTS = traffic(60, seed=3, inbound=0.3, start_us=1_767_225_600_000_000).facts
SHARES = st.floats(0, 1)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Schedule, float, float]:
    duplicates, drop = draw(SHARES), draw(SHARES)
    planned = schedule(FACTS, seed=draw(st.integers()), shuffle=draw(st.booleans()), duplicates=duplicates, drop=drop)
    return planned, duplicates, drop


@given(schedules())
def test_every_fact_that_is_not_dropped_is_delivered_and_no_other(case: tuple[Schedule, float, float]) -> None:
    planned, _, drop = case

    delivered = {delivery.fact for delivery in planned.deliveries}
    assert delivered == set(FACTS) - planned.dropped
    assert len(planned.dropped) == round(drop * len(FACTS))


@given(st.integers(), st.booleans())
def test_live_nothing_is_delivered_before_it_has_happened(seed: int, shuffle: bool) -> None:  # noqa: FBT001 - drawn
    played = schedule(FACTS, seed=seed, shuffle=shuffle, duplicates=0.3, live=True)
    planned = schedule(FACTS, seed=seed, shuffle=shuffle, duplicates=0.3)

    due = [delivery.due_us or 0 for delivery in played.deliveries]
    assert due == sorted(due)
    assert all(delivery.fact.at_us <= moment for delivery, moment in zip(played.deliveries, due, strict=True))
    assert Counter(each.fact for each in played.deliveries) == Counter(each.fact for each in planned.deliveries)


@given(schedules())
def test_the_share_of_duplicates_is_delivered_again(case: tuple[Schedule, float, float]) -> None:
    planned, duplicates, _ = case

    times = Counter(delivery.fact for delivery in planned.deliveries)
    assert sum(count > 1 for count in times.values()) == round(duplicates * len(times))
    assert all(count <= 1 + COPIES_MAX for count in times.values())


@given(schedules())
def test_each_delivery_of_a_fact_has_a_number_of_its_own(case: tuple[Schedule, float, float]) -> None:
    copies = defaultdict(list)
    for delivery in case[0].deliveries:
        copies[delivery.fact].append(delivery.copy)

    assert all(sorted(numbers) == list(range(len(numbers))) for numbers in copies.values())


@given(schedules())
def test_a_copy_says_the_same_as_the_fact(case: tuple[Schedule, float, float]) -> None:
    for delivery in case[0].deliveries:
        assert canonical(json.loads(delivery.body)) == canonical(json.loads(delivery.fact.body))


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), json_values, max_size=5), st.integers())
def test_a_respelled_body_has_the_same_value(members: dict[str, object], seed: int) -> None:
    assert canonical(json.loads(respelled(written(members), dice_of(seed, "test")))) == canonical(members)


@given(st.integers(), SHARES)
def test_the_same_seed_gives_the_same_schedule(seed: int, share: float) -> None:
    first = schedule(FACTS, seed=seed, shuffle=True, duplicates=share, drop=share)

    assert schedule(FACTS, seed=seed, shuffle=True, duplicates=share, drop=share) == first


def test_without_shuffle_first_deliveries_keep_the_order_of_the_facts() -> None:
    planned = schedule(FACTS, seed=1, duplicates=0.5)

    assert [delivery.fact for delivery in planned.deliveries if delivery.copy == 0] == list(FACTS)


def test_with_shuffle_most_move_a_little_and_some_move_far() -> None:
    facts = traffic(1_000, seed=3, inbound=0.2, start_us=0).facts
    place = {fact: number for number, fact in enumerate(facts)}

    planned = schedule(facts, seed=1, shuffle=True)
    moved = [abs(place[delivery.fact] - number) for number, delivery in enumerate(planned.deliveries)]
    assert sum(places > 200 for places in moved) > 20
    assert sum(0 < places <= 100 for places in moved) > len(facts) / 2


def test_with_shuffle_some_message_arrives_out_of_its_order() -> None:
    planned = schedule(FACTS, seed=1, shuffle=True)

    assert any(
        later.fact.message_id == earlier.fact.message_id and later.fact.at_us < earlier.fact.at_us
        for earlier, later in pairwise(sorted(planned.deliveries, key=lambda delivery: delivery.fact.message_id))
    )


def test_some_copies_are_spelled_and_some_are_signed_otherwise() -> None:
    copies = [delivery for delivery in schedule(FACTS, seed=1, duplicates=1.0).deliveries if delivery.copy]

    assert {delivery.body == delivery.fact.body for delivery in copies} == {True, False}
    assert {delivery.signs_anew for delivery in copies} == {True, False}
