"""The provider over real HTTP: it signs, tries again, gives up, and survives a server that dies in the middle."""

import asyncio
import math
import time
from collections import Counter
from dataclasses import replace

import pytest
import uvloop

from api.simulator import Plan, Progress, Summary, simulate
from api.simulator.audit import Verdict
from api.simulator.exchange import stopped_within
from api.simulator.lifecycles import traffic
from api.simulator.plan import RETRY_AFTER_S
from ledger.json_values import canonical, parse_object
from tests.simulator.receiver import LOST, RESET, SECRET, Receiver, receiving

ATTEMPTS = 1 + len(RETRY_AFTER_S)
PLAN = Plan(url="http://filled-in.example", secret=SECRET, messages=30, seed=4, speed_up=math.inf)
FACTS = traffic(PLAN.messages, seed=PLAN.seed, inbound=PLAN.inbound, start_us=PLAN.start_us).facts
ALL_HELD = Counter(canonical(parse_object(fact.body)) for fact in FACTS)


def run(plan: Plan = PLAN, *script: int) -> tuple[Summary, Receiver]:
    """The summary of a run against a receiver that follows the script, and that receiver."""

    async def scene() -> tuple[Summary, Receiver]:
        async with receiving() as receiver:
            receiver.script = list(script)
            return await simulate(replace(plan, url=receiver.url)), receiver

    return asyncio.run(scene())


def test_every_fact_is_signed_delivered_and_recorded_once() -> None:
    summary, receiver = run()

    assert receiver.held() == ALL_HELD
    assert (summary.sent, summary.attempts, summary.recorded) == (len(FACTS), len(FACTS), len(FACTS))
    assert summary.statuses == {"202": len(FACTS)}
    assert (summary.audit.verdict, summary.audit.messages) == (Verdict.YES, PLAN.messages)
    assert summary.fine


def test_nothing_is_told_before_it_is_due() -> None:
    async def waited_s() -> float:
        began_s = time.perf_counter()
        assert not await stopped_within(asyncio.Event(), 0.0014)
        return time.perf_counter() - began_s

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert min(runner.run(waited_s()) for _ in range(20)) >= 0.0014


def test_a_secret_without_its_id_signs_the_same() -> None:
    summary, _ = run(replace(PLAN, secret="s3cret"))

    assert summary.fine


def test_the_same_run_again_is_all_duplicates() -> None:
    async def scene() -> Summary:
        async with receiving() as receiver:
            plan = replace(PLAN, url=receiver.url, shuffle=True)
            await simulate(plan)
            return await simulate(plan)

    summary = asyncio.run(scene())
    assert (summary.recorded, summary.duplicate, summary.fine) == (0, len(FACTS), True)


def test_what_is_not_answered_2xx_is_tried_again() -> None:
    summary, receiver = run(PLAN, 503, 500, 404, 301, 401)

    assert receiver.held() == ALL_HELD
    assert summary.attempts == len(FACTS) + 5
    assert summary.statuses == {"202": len(FACTS), "301": 1, "401": 1, "404": 1, "500": 1, "503": 1}
    assert (summary.retried > 0, summary.refused, summary.fine) == (True, 0, True)


def test_a_reset_connection_is_a_failed_attempt() -> None:
    summary, receiver = run(PLAN, RESET, RESET)

    assert receiver.held() == ALL_HELD
    assert summary.statuses == {"202": len(FACTS), "noAnswer": 2}
    assert summary.fine


def test_a_lost_answer_is_followed_by_the_same_webhook_a_duplicate() -> None:
    summary, receiver = run(PLAN, LOST, LOST, LOST)

    assert receiver.held() == ALL_HELD
    assert (summary.recorded, summary.duplicate, summary.fine) == (len(FACTS) - 3, 3, True)


def test_after_five_attempts_the_provider_gives_up() -> None:
    summary, receiver = run(replace(PLAN, messages=1, inbound=1.0), *[503] * ATTEMPTS)

    assert not receiver.facts
    assert (summary.attempts, summary.retried, summary.refused) == (ATTEMPTS, 1, 1)
    assert not summary.fine


def test_a_wrong_secret_is_refused_to_the_end() -> None:
    summary, receiver = run(replace(PLAN, secret="main:other"))

    assert not receiver.facts
    assert summary.statuses == {"401": len(FACTS) * ATTEMPTS}
    assert (summary.refused, summary.fine) == (len(FACTS), False)


def test_without_a_server_everything_is_refused_and_nothing_can_be_checked() -> None:
    summary = asyncio.run(simulate(replace(PLAN, url="http://127.0.0.1:1")))

    assert summary.statuses == {"noAnswer": len(FACTS) * ATTEMPTS}
    assert (summary.audit.verdict, summary.fine) == (Verdict.NOT_ANSWERED, False)


def test_the_waits_keep_the_provider_s_proportions() -> None:
    assert replace(PLAN, speed_up=60).waits_s == (1, 5, 15, 60)


def test_the_run_survives_a_server_that_is_killed_and_restarted_in_the_middle() -> None:
    async def scene() -> tuple[Summary, Receiver]:
        async with receiving() as receiver:
            killed = asyncio.Event()

            def kill_in_the_middle() -> None:
                if len(receiver.paths) == len(FACTS) // 2:
                    receiver.kill()
                    killed.set()

            receiver.on_webhook = kill_in_the_middle
            running = asyncio.create_task(simulate(replace(PLAN, url=receiver.url, speed_up=2_000)))
            await killed.wait()
            await receiver.start()
            return await running, receiver

    summary, receiver = asyncio.run(scene())
    assert receiver.held() == ALL_HELD
    assert (summary.statuses["noAnswer"] > 0, summary.fine) == (True, True)


def test_copies_count_as_duplicates_and_dropped_facts_never_arrive() -> None:
    summary, receiver = run(replace(PLAN, shuffle=True, duplicates=0.5, drop=0.2))

    dropped = round(0.2 * len(FACTS))
    assert summary.dropped == dropped
    assert receiver.held().total() == len(FACTS) - dropped
    assert summary.recorded == len(FACTS) - dropped
    assert summary.duplicate == summary.sent - summary.recorded > 0
    assert summary.fine


def test_some_copies_carry_the_timestamp_of_the_first_delivery() -> None:
    _, receiver = run(replace(PLAN, duplicates=1.0))

    assert any(len(set(timestamps)) < len(timestamps) for timestamps in receiver.timestamps.values())


def test_deliveries_begin_at_the_rate_that_was_asked_for() -> None:
    began_s = time.perf_counter()
    summary, _ = run(replace(PLAN, rate=len(FACTS) / 0.3))

    assert time.perf_counter() - began_s >= 0.29
    assert summary.fine


def test_requests_are_handed_over_and_audited_with_the_key() -> None:
    async def scene() -> tuple[Summary, Receiver]:
        async with receiving() as receiver:
            receiver.key = "prefix_key"
            plan = replace(PLAN, url=receiver.url, sends=True, api_key=receiver.key)
            return await simulate(plan), receiver

    summary, receiver = asyncio.run(scene())
    assert (summary.sends_recorded, summary.sends_refused) == (len(receiver.sends), 0)
    assert receiver.sends
    assert (summary.audit.verdict, summary.fine) == (Verdict.YES, True)


@pytest.mark.parametrize("stop_after", [1, 20])
def test_a_stop_ends_the_run_with_what_happened_so_far(stop_after: int) -> None:
    async def scene() -> Summary:
        async with receiving() as receiver:
            stop = asyncio.Event()
            receiver.on_webhook = lambda: stop.set() if len(receiver.paths) >= stop_after else None
            return await simulate(replace(PLAN, url=receiver.url), stop=stop)

    summary = asyncio.run(scene())
    assert stop_after <= summary.sent < len(FACTS)
    assert summary.recorded == summary.sent
    assert summary.interrupted
    assert (summary.audit.verdict, summary.fine) == (Verdict.YES, True)


def test_a_stop_cuts_waiting_retries_short() -> None:
    async def scene() -> Summary:
        async with receiving() as receiver:
            stop = asyncio.Event()
            receiver.script = [503] * len(FACTS)
            receiver.on_webhook = lambda: stop.set() if len(receiver.paths) >= len(FACTS) else None
            return await simulate(replace(PLAN, url=receiver.url, speed_up=1), stop=stop)

    summary = asyncio.run(scene())
    assert (summary.unfinished, summary.refused, summary.interrupted) == (len(FACTS), 0, True)
    assert summary.fine


def test_progress_goes_from_nothing_to_everything_in_both_phases() -> None:
    async def scene() -> list[Progress]:
        seen: list[Progress] = []
        async with receiving() as receiver:
            await simulate(replace(PLAN, url=receiver.url), on_progress=seen.append)
        return seen

    seen = asyncio.run(scene())
    assert Progress("delivering", 0, len(FACTS)) in seen
    assert Progress("delivering", len(FACTS), len(FACTS)) in seen
    assert seen[-1] == Progress("auditing", PLAN.messages, PLAN.messages)
