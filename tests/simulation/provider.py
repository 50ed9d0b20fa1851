"""Red Cloud on the virtual clock: signs, delivers, delivers some facts twice, and tries again after 1, 5, 15 and 60 minutes.

Its facts are those of `ledger simulate`, spread over months.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from api.simulator.deliveries import respelled
from api.simulator.facts import Fact
from api.simulator.plan import RETRY_AFTER_S
from api.simulator.signing import signed_headers
from ledger.facts import Outcome, Placed
from ledger.signatures import Secret
from tests.simulation.agenda import DAY_US, HOUR_US, SECOND_US, Agenda
from tests.simulation.server import Server

GIVES_UP_WAITING_US = 30 * SECOND_US
SHARE_TWICE = 0.1
SHARE_SIGNED_ANEW = 0.5
TWICE_WITHIN_US = (SECOND_US, HOUR_US, 10 * DAY_US)


@dataclass(eq=False)
class Delivery:
    """One delivery of a fact on its way."""

    fact: Fact
    body: bytes
    timestamp: str
    secret: Secret
    signs_anew: bool
    is_copy: bool = False
    attempts: int = 0


@dataclass
class Books:
    """What the provider knows of each fact, by its JSON value: where it was acknowledged; and what must never be."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)
    attempts: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)

    def answered(self, value: str, outcome: Placed) -> None:
        """Notes an acknowledgement."""
        place = f"{outcome.position} version {outcome.version}"
        if self.acknowledged.setdefault(value, place) != place:
            self.wrong.append(f"{value} was acknowledged at {self.acknowledged[value]} and at {place}")
        if outcome.is_new and value in self.recorded:
            self.wrong.append(f"{value} was answered `recorded` twice")
        if outcome.is_new:
            self.recorded.add(value)


class Provider:
    """Delivers facts at their times."""

    def __init__(
        self, agenda: Agenda, server: Server, dice: Random, secret: Secret, was_bad: Callable[[int], bool]
    ) -> None:
        self._agenda = agenda
        self._server = server
        self._dice = dice
        self._was_bad = was_bad
        self.secret = secret
        self.books = Books()

    def begin(self, fact: Fact) -> None:
        """A fact happened: it is delivered, perhaps twice."""
        self._begin(fact, fact.body, is_copy=False)
        if self._dice.random() < SHARE_TWICE:
            wait_us = self._dice.randint(0, self._dice.choice(TWICE_WITHIN_US))
            copy = respelled(fact.body, self._dice) if self._dice.random() < SHARE_SIGNED_ANEW else fact.body
            self._agenda.after(wait_us, lambda: self._begin(fact, copy, is_copy=True))

    def _begin(self, fact: Fact, body: bytes, *, is_copy: bool) -> None:
        signs_anew = self._dice.random() < SHARE_SIGNED_ANEW
        self._attempt(Delivery(fact, body, self._now(), self.secret, signs_anew, is_copy=is_copy))

    def _attempt(self, delivery: Delivery) -> None:
        delivery.attempts += 1
        self.books.attempts += 1
        attempt = _Attempt(self, delivery, self._agenda.now_us)
        timestamp, secret = (self._now(), self.secret) if delivery.signs_anew else (delivery.timestamp, delivery.secret)
        headers = [(name.lower(), value) for name, value in signed_headers(secret.key, timestamp, delivery.body)]
        self._agenda.after(GIVES_UP_WAITING_US, attempt.wait_no_longer)
        self._server.deliver(headers, delivery.body, attempt.answered)

    def failed(self, delivery: Delivery, began_us: int) -> None:
        """An attempt was refused, or not answered in time."""
        self.books.refused += 1
        if not self._was_bad(began_us):
            self.books.wrong.append(f"{value_of(delivery.body)} was refused in fair weather at {began_us}")
        if delivery.attempts <= len(RETRY_AFTER_S):
            self._agenda.after(RETRY_AFTER_S[delivery.attempts - 1] * SECOND_US, lambda: self._attempt(delivery))
        elif not delivery.is_copy:
            self.books.given_up.add(value_of(delivery.body))

    def succeeded(self, delivery: Delivery, outcome: Placed) -> None:
        """A 2xx."""
        self.books.answered(value_of(delivery.body), outcome)

    def _now(self) -> str:
        return str(self._agenda.now_us // SECOND_US)


@dataclass(eq=False)
class _Attempt:
    """One attempt: it ends with an answer or with the provider's patience, whichever is first."""

    provider: Provider
    delivery: Delivery
    began_us: int
    over: bool = False

    def answered(self, outcome: Outcome | None) -> None:
        """An answer, or the connection's end."""
        if self.over:
            return
        self.over = True
        if isinstance(outcome, Placed):
            self.provider.succeeded(self.delivery, outcome)
        else:
            self.provider.failed(self.delivery, self.began_us)

    def wait_no_longer(self) -> None:
        """No answer came in time."""
        if not self.over:
            self.over = True
            self.provider.failed(self.delivery, self.began_us)


def value_of(body: bytes) -> str:
    """A body's JSON value, spelled in one way: an independent word for "the same fact"."""
    return json.dumps(json.loads(body), sort_keys=True)
