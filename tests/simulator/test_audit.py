"""The audit finds what a ledger lost, kept twice or made up, and says so when it may not look."""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from api.simulator import Plan, Summary, simulate
from api.simulator.audit import DIFFERENCES_MAX, Verdict
from tests.simulator.receiver import LOST, SECRET, Receiver, receiving

PLAN = Plan(url="http://filled-in.example", secret=SECRET, messages=20, seed=5, speed_up=math.inf)

Fact = dict[str, object]
Mishap = Callable[[list[Fact]], Iterable[Fact]]


def audited(plan: Plan = PLAN, prepare: Callable[[Receiver], None] = lambda _: None) -> Summary:
    async def scene() -> Summary:
        async with receiving() as receiver:
            prepare(receiver)
            return await simulate(replace(plan, url=receiver.url))

    return asyncio.run(scene())


def audited_after(mishap: Mishap, plan: Plan = PLAN) -> Summary:
    def prepare(receiver: Receiver) -> None:
        receiver.mishap = mishap

    return audited(plan, prepare)


def is_delivery_of_one_message(chosen: set[object], fact: Fact) -> bool:
    """Whether it is the confirmation of delivery of the first message that was asked about."""
    if fact["eventType"] == "message.delivery" and not chosen:
        chosen.add(fact["messageId"])
    return fact["eventType"] == "message.delivery" and fact["messageId"] in chosen


def whats(summary: Summary) -> list[tuple[str, str]]:
    return [(difference.event_type, difference.what) for difference in summary.audit.differences]


def test_a_missing_fact_is_found() -> None:
    chosen: set[object] = set()

    summary = audited_after(lambda facts: [fact for fact in facts if not is_delivery_of_one_message(chosen, fact)])
    assert whats(summary) == [("message.delivery", "missing, though acknowledged")]
    assert {difference.message_id for difference in summary.audit.differences} == chosen
    assert (summary.audit.verdict, summary.fine) == (Verdict.NO, False)


@pytest.mark.parametrize("each_attempt, missing_and_held", [(503, (1, 0)), (LOST, (0, 1))])
def test_a_fact_that_was_refused_to_the_end_is_counted_by_whether_it_is_held_all_the_same(
    each_attempt: int, missing_and_held: tuple[int, int]
) -> None:
    plan = replace(PLAN, messages=1, inbound=1.0)

    summary = audited(plan, lambda receiver: receiver.script.extend([each_attempt] * 5))

    audit = summary.audit
    assert (audit.given_up_missing, audit.given_up_held) == missing_and_held
    assert (whats(summary), audit.verdict, summary.fine) == ([], Verdict.NOT_ASKED, False)


def test_a_doubled_fact_is_found() -> None:
    chosen: set[object] = set()

    summary = audited_after(lambda facts: facts + [fact for fact in facts if is_delivery_of_one_message(chosen, fact)])
    assert whats(summary) == [("message.delivery", "held 2 times")]
    assert not summary.fine


def test_a_changed_fact_is_found_on_both_sides() -> None:
    chosen: set[object] = set()

    summary = audited_after(
        lambda facts: [fact | {"sequence": 99} if is_delivery_of_one_message(chosen, fact) else fact for fact in facts]
    )
    assert whats(summary) == [
        ("message.delivery", "missing, though acknowledged"),
        ("message.delivery", "held, though no such fact exists"),
    ]


def test_a_fact_that_was_dropped_and_is_there_is_found() -> None:
    async def scene() -> Summary:
        async with receiving() as receiver:
            await simulate(replace(PLAN, url=receiver.url))
            return await simulate(replace(PLAN, url=receiver.url, drop=0.05))

    summary = asyncio.run(scene())
    assert summary.audit.difference_count == summary.dropped
    assert {what for _, what in whats(summary)} == {"held, though never delivered"}


def test_only_the_first_differences_are_kept_and_all_are_counted() -> None:
    summary = audited_after(lambda _: [], replace(PLAN, messages=30))

    assert len(summary.audit.differences) == DIFFERENCES_MAX
    assert summary.audit.difference_count == summary.recorded


def test_request_acceptances_of_somebody_else_do_not_count() -> None:
    acceptance: Fact = {"idempotencyKey": "other", "request": {}, "result": {}}

    assert audited_after(lambda facts: [acceptance, *facts]).fine


def test_a_request_acceptance_that_was_handed_over_must_be_there() -> None:
    plan = replace(PLAN, sends=True, messages=1, inbound=0.0)

    summary = audited_after(lambda facts: [fact for fact in facts if "eventType" in fact], plan)
    assert whats(summary) == [("request.accepted", "missing, though acknowledged")]


@pytest.mark.parametrize("api_key", [None, "prefix_wrong"])
def test_without_the_right_key_it_says_that_it_could_not_check(api_key: str | None) -> None:
    def prepare(receiver: Receiver) -> None:
        receiver.key = "prefix_right"

    summary = audited(replace(PLAN, api_key=api_key), prepare)
    assert summary.audit.verdict is Verdict.NOT_ALLOWED
    assert summary.audit.reason == "reading histories needs an API key with the scope read (answered 401)"
    assert summary.fine


def test_without_an_audit_nothing_is_asked() -> None:
    summary = audited(replace(PLAN, audit=False))

    assert (summary.audit.verdict, summary.audit.messages, summary.fine) == (Verdict.NOT_ASKED, 0, True)


def test_an_answer_of_another_shape_is_no_answer() -> None:
    summary = audited_after(lambda _: [{"eventType": 7}])

    assert summary.audit.verdict is Verdict.NOT_ANSWERED
    assert "is not of the documented shape" in (summary.audit.reason or "")
    assert not summary.fine


def test_ids_are_percent_encoded() -> None:
    seen: list[str] = []

    def prepare(receiver: Receiver) -> None:
        receiver.paths = seen

    assert audited(replace(PLAN, messages=50), prepare).fine
    assert any("%2F%252F%20%C3%BC%F0%9F%99%82%3F%23%26%2B/history" in path for path in seen)
