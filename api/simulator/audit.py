"""Afterwards: whether the ledger holds every acknowledged fact exactly once, and nothing that was never delivered.

What was given up without an acknowledgement may be there or not: that is counted, and no difference.

Asks the ledger from outside, message by message (`GET /messages/{messageId}/history`), and compares JSON values.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

import msgspec

from api.simulator.exchange import Answer, Server, stopped_within
from api.simulator.facts import Fact
from api.simulator.plan import Plan
from api.simulator.tally import Tally
from ledger.json_values import canonical
from ledger.provider import Kind

DIFFERENCES_MAX = 20
OK, NOT_FOUND, SERVER_ERRORS_FROM = 200, 404, 500
NOT_ALLOWED = (401, 403)

Claim = tuple[str, bytes]
"""A fact as the audit compares it: its kind and the canonical JSON of its body."""


class Verdict(StrEnum):
    """Whether the ledger holds every acknowledged fact exactly once; three of these say why nobody knows."""

    YES = "yes"
    NO = "no"
    NOT_ASKED = "notAsked"
    NOT_ALLOWED = "notAllowed"
    NOT_ANSWERED = "notAnswered"


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which the history of a message is not what was delivered. `body` is canonical JSON."""

    message_id: str
    what: str
    event_type: str
    body: str


@dataclass(frozen=True, slots=True)
class Findings:
    """`messages`: how many histories were read. `differences`: the first few of `difference_count`.

    `given_up_missing` and `given_up_held`: facts that were never acknowledged, by whether they are there all the same.
    """

    verdict: Verdict
    reason: str | None = None
    messages: int = 0
    difference_count: int = 0
    differences: tuple[Difference, ...] = ()
    given_up_missing: int = 0
    given_up_held: int = 0


NOTHING_ASKED = Findings(Verdict.NOT_ASKED, "no audit was asked for")


class _Event(msgspec.Struct, rename="camel"):
    event_type: str
    body: object


class _History(msgspec.Struct):
    events: list[_Event]


_HISTORY = msgspec.json.Decoder(_History)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What the ledger must hold (acknowledged), may hold (attempted, never acknowledged) and must not (dropped)."""

    tally: Tally
    dropped: frozenset[Fact]

    def differences(self, facts: Iterable[Fact], found: Mapping[Claim, int]) -> Iterator[tuple[str, Claim]]:
        """Each claim about one message that is missing, held twice, or held although it was never delivered."""
        expected = {_claim(fact.kind, msgspec.json.decode(fact.body)): fact for fact in facts}
        for claim, fact in expected.items():
            times = found.get(claim, 0)
            if times > 1:
                yield f"held {times} times", claim
            elif times == 0 and fact in self.tally.acknowledged:
                yield "missing, though acknowledged", claim
            elif times and fact in self.dropped:
                yield "held, though never delivered", claim
        for claim in found.keys() - expected.keys():
            yield "held, though no such fact exists", claim

    def given_up(self, facts: Iterable[Fact], found: Mapping[Claim, int]) -> Counter[bool]:
        """How many facts were given up and never acknowledged, by whether they are there."""
        unacknowledged = (fact for fact in facts if fact in self.tally.given_up and fact not in self.tally.acknowledged)
        return Counter(_claim(fact.kind, msgspec.json.decode(fact.body)) in found for fact in unacknowledged)


class Audit:
    """Reads the histories with as many connections as the deliveries had; ends early when it is refused or stopped."""

    def __init__(
        self, plan: Plan, server: Server, delivered: Delivered, stop: asyncio.Event, waits_s: Sequence[float]
    ) -> None:
        """`waits_s` are those between attempts to read a history, the last of which is given up."""
        self._plan = plan
        self._waits_s = waits_s
        self._server = server
        self._delivered = delivered
        self._stop = stop
        self._obstacle: tuple[Verdict, str] | None = None
        self._differences: list[Difference] = []
        self._difference_count = 0
        self._given_up = Counter[bool]()
        self.checked = 0

    async def findings(self, facts_of: Mapping[str, Sequence[Fact]]) -> Findings:
        """What was found for these messages."""
        remaining = iter(facts_of.items())
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._plan.connections):
                tasks.create_task(self._work(remaining))
        nothing = (Verdict.NOT_ASKED, "the server acknowledged nothing")
        clean = self._obstacle or ((Verdict.YES, None) if self._delivered.tally.acknowledged else nothing)
        verdict, reason = (Verdict.NO, None) if self._difference_count else clean
        return Findings(
            verdict,
            reason,
            self.checked,
            self._difference_count,
            tuple(self._differences),
            given_up_missing=self._given_up[False],
            given_up_held=self._given_up[True],
        )

    async def _work(self, remaining: Iterator[tuple[str, Sequence[Fact]]]) -> None:
        for message_id, facts in remaining:
            found = await self._history(message_id)
            if found is None or self._obstacle is not None:
                return
            self.checked += 1
            self._given_up += self._delivered.given_up(facts, found)
            for what, (event_type, body) in self._delivered.differences(facts, found):
                self._difference_count += 1
                if len(self._differences) < DIFFERENCES_MAX:
                    self._differences.append(Difference(message_id, what, event_type, body.decode("ascii")))

    async def _history(self, message_id: str) -> Counter[Claim] | None:
        """How often the ledger holds each claim about the message, or None where that could not be learnt."""
        answer = await self._asked(f"/messages/{quote(message_id, safe='')}/history")
        if answer is None:
            return None
        if answer.status == NOT_FOUND:
            return Counter()
        try:
            events = _HISTORY.decode(answer.body).events
        except msgspec.DecodeError as error:
            self._obstacle = (
                Verdict.NOT_ANSWERED,
                f"the history of {message_id!r} is not of the documented shape: {error}",
            )
            return None
        if any(event.body is None for event in events):
            self._obstacle = (
                Verdict.NOT_ALLOWED,
                "the API key has the scope masked, and comparing needs the scope read",
            )
            return None
        return Counter(_claim(event.event_type, event.body) for event in events if self._counts(event.event_type))

    def _counts(self, event_type: str) -> bool:
        """Request acceptances are this run's business only if this run handed them over."""
        return self._plan.sends or event_type != Kind.REQUEST_ACCEPTED

    async def _asked(self, path: str) -> Answer | None:
        url = self._server.url(path)
        answer = Answer(None)
        for wait_s in (0.0, *self._waits_s):
            if await stopped_within(self._stop, wait_s):
                self._obstacle = (Verdict.NOT_ASKED, "the audit was stopped")
                return None
            answer = await self._server.get_with_key(url)
            if answer.status is not None and answer.status < SERVER_ERRORS_FROM:
                break
        if answer.status in (OK, NOT_FOUND):
            return answer
        self._obstacle = _obstacle(answer.status)
        return None


def facts_by_message(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    """The facts of each message; messages in the order in which they first occur."""
    found: dict[str, list[Fact]] = {}
    for fact in facts:
        found.setdefault(fact.message_id, []).append(fact)
    return found


def _claim(event_type: str, body: object) -> Claim:
    return str(event_type), canonical(body)


def _obstacle(status: int | None) -> tuple[Verdict, str]:
    if status in NOT_ALLOWED:
        return Verdict.NOT_ALLOWED, f"reading histories needs an API key with the scope read (answered {status})"
    answered = "no answer" if status is None else f"answered {status}"
    return Verdict.NOT_ANSWERED, f"the ledger did not give a message's history ({answered})"
