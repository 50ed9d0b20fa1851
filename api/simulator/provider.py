"""The provider itself: signs and delivers over real HTTP, and tries again whatever was not answered 2xx.

Source: Red Cloud's contract, "Delivery and retries": after failed attempts it waits
1, 5, 15 and 60 minutes, then gives up.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence

from api.simulator.deliveries import Delivery
from api.simulator.exchange import Answer, Server, stopped_within
from api.simulator.facts import Fact
from api.simulator.plan import Plan
from api.simulator.signing import signed_headers
from api.simulator.tally import NO_ANSWER, Tally
from ledger.clock import now_us

WEBHOOK_PATH = "/webhooks/red-cloud"
RETRIES_WAITING_MAX = 10_000
"""While so many deliveries wait for another attempt, no new ones begin."""


class Provider:
    """Delivers a schedule, at most `connections` attempts at once, and keeps the tally; ends early on `stop`."""

    def __init__(self, plan: Plan, server: Server, tally: Tally, stop: asyncio.Event) -> None:
        self._plan = plan
        self._key = plan.key
        self._server = server
        self._url = server.url(WEBHOOK_PATH)
        self._tally = tally
        self._stop = stop
        self._connections = asyncio.Semaphore(plan.connections)
        self._retries_waiting = asyncio.Semaphore(RETRIES_WAITING_MAX)
        self._timestamps: dict[Fact, str] = {}

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Returns when every delivery was acknowledged or given up, or soon after the run was stopped."""
        begins = self._begins(deliveries)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._plan.connections):
                tasks.create_task(self._work(begins, tasks))

    def _begins(self, deliveries: Sequence[Delivery]) -> Iterator[tuple[Delivery, float | None]]:
        """Each delivery with the moment when it is due, in seconds; None: whenever a connection is free."""
        began_s, began_us = time.perf_counter(), now_us()
        for number, delivery in enumerate(deliveries):
            if delivery.due_us is not None:
                yield delivery, began_s + (delivery.due_us - began_us) / 1_000_000
            else:
                yield delivery, None if self._plan.rate is None else began_s + number / self._plan.rate

    async def _work(self, begins: Iterator[tuple[Delivery, float | None]], tasks: asyncio.TaskGroup) -> None:
        for delivery, due_s in begins:
            if await stopped_within(self._stop, 0 if due_s is None else due_s - time.perf_counter()):
                return
            self._tally.sent += 1
            # What happens before our eyes is a story to read, and no measurement.
            if not await self._attempt(delivery, None if self._plan.live else due_s):
                await self._retries_waiting.acquire()
                tasks.create_task(self._retry(delivery))

    async def _retry(self, delivery: Delivery) -> None:
        try:
            self._tally.retried += 1
            for wait_s in self._plan.waits_s:
                if await stopped_within(self._stop, wait_s) or await self._attempt(delivery, None):
                    return
            self._tally.refused += 1
            self._tally.given_up.add(delivery.fact)
        finally:
            self._retries_waiting.release()

    async def _attempt(self, delivery: Delivery, due_s: float | None) -> bool:
        async with self._connections:
            # What is due counts from then, so that a slow server cannot hide how long deliveries wait for it.
            began_s = time.perf_counter() if due_s is None else due_s
            self._tally.attempts += 1
            self._tally.attempted.add(delivery.fact)
            answer = await self._server.post(self._url, delivery.body, self._signed(delivery))
            self._count(delivery, answer, time.perf_counter() - began_s)
        return answer.acknowledged

    def _signed(self, delivery: Delivery) -> list[tuple[bytes, bytes]]:
        now = str(int(time.time()))
        first = self._timestamps.setdefault(delivery.fact, now)
        return signed_headers(self._key, now if delivery.signs_anew else first, delivery.body)

    def _count(self, delivery: Delivery, answer: Answer, latency_s: float) -> None:
        if answer.status is None:
            self._tally.statuses[NO_ANSWER] += 1
            self._tally.no_answer = answer.reason
            return
        self._tally.statuses[str(answer.status)] += 1
        self._tally.latencies_s.append(latency_s)
        if answer.acknowledged:
            self._tally.outcomes[answer.outcome] += 1
            self._tally.acknowledged.add(delivery.fact)
