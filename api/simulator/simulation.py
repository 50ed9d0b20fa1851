"""The one entry to the simulator: a plan in, a summary out.

In order: make the facts, put them on a schedule, deliver it over HTTP with the provider's retries, audit the ledger.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from api.simulator.application import hand_over
from api.simulator.audit import NOTHING_ASKED, Audit, Delivered, Findings, facts_by_message
from api.simulator.deliveries import Schedule, schedule
from api.simulator.exchange import Server
from api.simulator.facts import Fact
from api.simulator.lifecycles import Traffic, traffic
from api.simulator.plan import Plan
from api.simulator.provider import Provider
from api.simulator.summary import Summary, summarise
from api.simulator.tally import Tally
from api.simulator.tempo import LIVE, NATURAL

PROGRESS_EVERY_S = 0.1
PHASES = DELIVERING, AUDITING = "delivering", "auditing"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a phase is: deliveries that were acknowledged or given up, or messages that were audited."""

    phase: str
    done: int
    total: int


OnProgress = Callable[[Progress], None]


async def simulate(plan: Plan, *, on_progress: OnProgress | None = None, stop: asyncio.Event | None = None) -> Summary:
    """Plays the provider as planned against a running server, then audits what its ledger holds.

    `on_progress` is called ten times a second. Setting `stop` ends the run early, with the summary of what happened so
    far; stopped during the deliveries, it still audits them.
    """
    # Beside the event loop: a million messages take seconds to make, and a demonstration's server runs in this process.
    made, planned = await asyncio.to_thread(_prepared, plan)
    async with Server(plan) as server:
        run = _Run(plan, made, planned, server, asyncio.Event() if stop is None else stop, on_progress)
        seconds = await run.deliver()
        interrupted = run.stop.is_set()
        findings = await run.audit() if plan.audit else NOTHING_ASKED
    return summarise(
        plan,
        run.tally,
        findings,
        facts=len(made.facts),
        dropped=len(planned.dropped),
        seconds=seconds,
        interrupted=interrupted,
    )


def _prepared(plan: Plan) -> tuple[Traffic, Schedule]:
    tempo = LIVE if plan.live else NATURAL
    made = traffic(plan.messages, seed=plan.seed, inbound=plan.inbound, start_us=plan.start_us, tempo=tempo)
    planned = schedule(
        made.facts, seed=plan.seed, shuffle=plan.shuffle, duplicates=plan.duplicates, drop=plan.drop, live=plan.live
    )
    return made, planned


@dataclass(frozen=True, slots=True)
class _Run:
    """What the phases of one simulation share."""

    plan: Plan
    made: Traffic
    planned: Schedule
    server: Server
    stop: asyncio.Event
    on_progress: OnProgress | None
    tally: Tally = field(default_factory=Tally)

    async def deliver(self) -> float:
        """The provider and, if planned, the user's own application at work; returns the seconds that they took."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        async with _reported(self.on_progress, self._delivered), asyncio.TaskGroup() as actors:
            provider = Provider(self.plan, self.server, self.tally, self.stop)
            actors.create_task(provider.deliver(self.planned.deliveries))
            if self.plan.sends:
                actors.create_task(hand_over(self.made.sends, self.plan, self.server, self.tally, self.stop))
        return loop.time() - began_s

    async def audit(self) -> Findings:
        """What the ledger holds of all messages; after a stop, of those that a delivery has reached."""
        facts_of = facts_by_message(self._audited_facts())
        stop, waits_s = self.stop, self.plan.waits_s
        if stop.is_set():
            # That stop was for the deliveries; the audit of what they left behind runs to its end, but waits for no server.
            stop, waits_s = asyncio.Event(), ()
            reached = {fact.message_id for fact in self.tally.attempted}
            facts_of = {message_id: facts for message_id, facts in facts_of.items() if message_id in reached}
        audit = Audit(self.plan, self.server, Delivered(self.tally, self.planned.dropped), stop, waits_s)
        async with _reported(self.on_progress, lambda: Progress(AUDITING, audit.checked, len(facts_of))):
            return await audit.findings(facts_of)

    def _delivered(self) -> Progress:
        return Progress(DELIVERING, self.tally.finished, len(self.planned.deliveries))

    def _audited_facts(self) -> list[Fact]:
        acceptances = [fact for send in self.made.sends for fact in send.acceptances] if self.plan.sends else []
        return [*self.made.facts, *acceptances]


@asynccontextmanager
async def _reported(on_progress: OnProgress | None, progress: Callable[[], Progress]) -> AsyncIterator[None]:
    """Reports now, ten times a second, and once more at the end."""
    if on_progress is None:
        yield
        return
    reporting = asyncio.create_task(_report(on_progress, progress))
    try:
        yield
    finally:
        reporting.cancel()
        with suppress(asyncio.CancelledError):
            await reporting
        on_progress(progress())


async def _report(on_progress: OnProgress, progress: Callable[[], Progress]) -> None:
    """Ends when it is cancelled."""
    while True:
        on_progress(progress())
        await asyncio.sleep(PROGRESS_EVERY_S)
