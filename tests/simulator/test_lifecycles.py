"""What the simulator makes: the same for the same seed, mostly ordinary, and every oddity that a ledger must stand."""

import json
import re
from collections import Counter
from itertools import pairwise

import pytest

from api.simulator.courses import COURSES, DELIVERED, courses
from api.simulator.facts import Fact, dice_of
from api.simulator.failures import FAILURE_SHAPES
from api.simulator.inbound import ODD_TEXTS
from api.simulator.lifecycles import Traffic, traffic
from api.simulator.tempo import LIVE
from ledger.json_values import canonical, parse_object
from ledger.provider import Kind
from ledger.webhooks import parse

START_US = 1_767_225_600_000_000
SEEDS = range(20)


def made(messages: int = 50, *, seed: int = 1, inbound: float = 0.2) -> Traffic:
    return traffic(messages, seed=seed, inbound=inbound, start_us=START_US)


def bodies(facts: tuple[Fact, ...]) -> list[dict[str, object]]:
    return [json.loads(fact.body) for fact in facts]


def test_the_same_seed_makes_the_same_bytes() -> None:
    assert made(200, seed=7) == made(200, seed=7)


def test_another_seed_makes_other_messages() -> None:
    first, second = made(200, seed=7), made(200, seed=8)

    assert not {fact.message_id for fact in first.facts} & {fact.message_id for fact in second.facts}


def test_live_some_hundred_messages_are_over_in_seconds() -> None:
    facts = traffic(300, seed=1, inbound=0.2, start_us=START_US, tempo=LIVE).facts

    assert START_US <= facts[0].at_us < facts[-1].at_us < START_US + 15_000_000


@pytest.mark.parametrize("inbound", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("messages", [1, 7, 50, 333])
def test_outbound_and_inbound_messages_are_counted_together(messages: int, inbound: float) -> None:
    kinds = {fact.message_id: fact.kind for fact in made(messages, inbound=inbound).facts}

    assert len(kinds) == messages
    assert sum(kind == Kind.INBOUND for kind in kinds.values()) == round(messages * inbound)


def test_no_two_facts_say_the_same() -> None:
    facts = made(3_000).facts

    assert len({canonical(json.loads(fact.body)) for fact in facts}) == len(facts)


def test_every_fact_is_a_webhook_that_the_ledger_reads() -> None:
    for fact in made(500).facts:
        webhook = parse(fact.body)

        assert (webhook.event_type, webhook.message_id) == (fact.kind, fact.message_id)


def test_facts_come_in_the_order_in_which_they_happen() -> None:
    assert all(earlier.at_us <= later.at_us for earlier, later in pairwise(made(500).facts))


def test_most_messages_are_ordinary() -> None:
    taken = Counter(courses(10_000, dice_of(1, "outbound")))

    ordinary = [DELIVERED, *(course for course in COURSES.values() if course.share > 0.01)]
    assert taken[DELIVERED] > 8_000
    assert sum(taken[course] for course in ordinary) > 9_500


@pytest.mark.parametrize("seed", SEEDS)
def test_fifty_messages_have_every_course_once_at_least(seed: int) -> None:
    assert set(courses(40, dice_of(seed, "outbound"))) >= set(COURSES.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_fifty_messages_fail_in_every_shape(seed: int) -> None:
    failures = [body for body in bodies(made(seed=seed).facts) if body["eventType"] == Kind.FAILED]

    shapes = {frozenset(shape("1", "x")) for shape in FAILURE_SHAPES}
    known = {"eventType", "messageId", "externalReference", "sequence", "occurredAt", "timestamp", "createdAt"}
    assert {frozenset(failure.keys() - known) for failure in failures} == shapes


@pytest.mark.parametrize("seed", SEEDS)
def test_fifty_messages_bring_every_odd_text_and_a_corrected_one(seed: int) -> None:
    inbound = [body for body in bodies(made(seed=seed).facts) if body["eventType"] == Kind.INBOUND]

    texts = [str(body["body"]) for body in inbound]
    assert set(texts) >= set(ODD_TEXTS)
    assert max(Counter(body["messageId"] for body in inbound).values()) == 2


def test_a_claim_made_twice_differs_in_its_reference() -> None:
    repeated = COURSES["repeated"].steps

    last_two = [
        body
        for bodies_of_message in _by_message(made().facts).values()
        if [(body["eventType"], body.get("sequence")) for body in bodies_of_message] == list(repeated)
        for body in bodies_of_message[-2:]
    ]
    assert last_two[0].keys() | {"providerMessageRef"} == last_two[1].keys()
    assert last_two[0].get("providerMessageRef") != last_two[1]["providerMessageRef"]


def test_customers_write_several_messages_to_a_conversation() -> None:
    inbound = [body for body in bodies(made(500).facts) if body["eventType"] == Kind.INBOUND]

    sizes = Counter(body["conversationId"] for body in inbound)
    assert max(sizes.values()) > 3
    assert all(isinstance(body["media"], list) for body in inbound)


def test_every_telephone_number_is_fictional() -> None:
    text = b"\n".join(fact.body for fact in made(500).facts).decode()

    numbers = re.findall(r"\+1\d+", text)
    assert numbers
    assert all(re.fullmatch(r"\+1555[2-9]\d\d01\d\d", number) for number in numbers)


def test_a_time_of_occurrence_is_there_or_not() -> None:
    facts = made(200).facts

    times = Counter(parse(fact.body).occurred_at_us is None for fact in facts)
    assert times[True] > 50
    assert times[False] > 100


def test_every_outbound_message_has_one_accepted_request() -> None:
    made_now = made(500)

    outbound = {fact.message_id for fact in made_now.facts if fact.kind != Kind.INBOUND}
    accepted = Counter(fact.message_id for send in made_now.sends for fact in send.acceptances)
    assert accepted == dict.fromkeys(outbound, 1)


def test_some_sends_have_several_recipients_and_some_have_errors() -> None:
    responses = [json.loads(send.body)["response"] for send in made(500).sends]

    assert any(len(response["results"]) > 1 for response in responses)
    assert any(response["errors"] for response in responses)


def test_an_acceptance_is_what_the_ledger_shows_of_a_send() -> None:
    send = made().sends[0]

    handed_over = parse_object(send.body)
    assert handed_over["idempotencyKey"] == send.idempotency_key
    assert [json.loads(fact.body) for fact in send.acceptances] == [
        {"idempotencyKey": send.idempotency_key, "request": handed_over["request"], "result": result}
        for result in json.loads(send.body)["response"]["results"]
    ]


def _by_message(facts: tuple[Fact, ...]) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    for fact in facts:
        found.setdefault(fact.message_id, []).append(json.loads(fact.body))
    return found
