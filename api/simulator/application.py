"""The user's own application: hands each send over with `POST /sends`, while the provider already delivers webhooks."""

import asyncio
from collections.abc import Iterator, Sequence

from api.simulator.exchange import Answer, Server, stopped_within
from api.simulator.facts import Send
from api.simulator.plan import Plan
from api.simulator.tally import Tally

SENDS_PATH = "/sends"
SENDS_AT_ONCE = 4
SERVER_ERRORS_FROM = 500


async def hand_over(sends: Sequence[Send], plan: Plan, server: Server, tally: Tally, stop: asyncio.Event) -> None:
    """Hands over every send once; tries again, with the provider's waits, only where the server may yet take it."""
    remaining = iter(sends)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(SENDS_AT_ONCE):
            tasks.create_task(_work(remaining, plan, server, tally, stop))


async def _work(remaining: Iterator[Send], plan: Plan, server: Server, tally: Tally, stop: asyncio.Event) -> None:
    url = server.url(SENDS_PATH)
    for send in remaining:
        for wait_s in (0.0, *plan.waits_s):
            if await stopped_within(stop, wait_s):
                return
            tally.attempted.update(send.acceptances)
            answer = await server.post_with_key(url, send.body)
            if not _may_succeed_later(answer):
                break
        else:
            _refused(send, tally)
            continue
        _count(send, answer, tally)


def _may_succeed_later(answer: Answer) -> bool:
    return answer.status is None or answer.status >= SERVER_ERRORS_FROM


def _count(send: Send, answer: Answer, tally: Tally) -> None:
    if answer.acknowledged:
        tally.sends_recorded += 1
        tally.acknowledged.update(send.acceptances)
    else:
        _refused(send, tally)


def _refused(send: Send, tally: Tally) -> None:
    tally.sends_refused += 1
    tally.given_up.update(send.acceptances)
