"""Months of a ledger's life from a seed, and what must hold: at every step, every week, and once the weather is fair again.

A life has 100 days with 6 messages a day (about 18 deliveries), three windows of bad weather a day, and now and then a
restart, a rebuild, a rotation of the secret and a step of the server's clock; its last three days are fair.
"""

import hashlib
from dataclasses import dataclass, field
from functools import partial
from random import Random

from api.simulator.facts import Fact
from api.simulator.lifecycles import traffic
from ledger.ledger import Ledger
from ledger.positions import Cursor
from ledger.signatures import Secret
from ledger.verification import verify
from tests.faults.checks import stored_bodies
from tests.faults.figures import Figures
from tests.faults.places import folder_in_memory, sqlite_url
from tests.faults.read_models import read_model_violations
from tests.simulation.agenda import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Agenda
from tests.simulation.provider import Provider, value_of
from tests.simulation.server import Server
from tests.simulation.weather import Sky, weather

DAYS_A_LIFE = 100
FAIR_DAYS_AT_THE_END = 3
MESSAGES_A_DAY = 6
SHARE_INBOUND = 0.2
SHARE_IN_BAD_WEATHER = 0.5
START_US = 1_800_000_000_000_000
CHECKED_EVERY_US = 7 * DAY_US
RESTART_EVERY_US = 2 * DAY_US
REBUILD_EVERY_US = 9 * DAY_US
ROTATE_EVERY_US = 30 * DAY_US
CLOCK_STEPS_EVERY_US = 11 * DAY_US
SECRETS_OVERLAP_US = 4 * HOUR_US
FEED_EVERY_US = DAY_US
FEED_PAGE = 500


def months(trials: int, seed: int) -> Figures:
    """So many simulated days, a life of 100 days after the other."""
    figures = Figures("months")
    for begun in range(0, trials, DAYS_A_LIFE):
        life = Life(f"{seed}/{begun // DAYS_A_LIFE}", min(DAYS_A_LIFE, trials - begun))
        life.live()
        figures.trials += life.days
        figures.hits += life.hits
        figures.counts.update(life.counts)
        figures.violated(*(f"seed {life.seed}: {each}" for each in life.wrong))
    return figures


@dataclass
class Life:
    """One ledger from its first day to its last; the same seed gives the same life, to the last event and step (`digest`)."""

    seed: str
    days: int
    wrong: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    hits: int = 0
    digest: str = ""

    def live(self) -> None:
        """Lives it."""
        with folder_in_memory() as folder:
            dice = Random(self.seed)
            agenda = Agenda(START_US)
            self._end_us = START_US + self.days * DAY_US
            self._fair_us = self._end_us - FAIR_DAYS_AT_THE_END * DAY_US
            self._weather = weather(dice, START_US, self._fair_us)
            first = Secret("s0", b"secret 0")
            self._rotated_us = 0
            self._agenda, self._dice = agenda, dice
            self._server = Server(sqlite_url(folder), agenda, self._weather, dice, [first])
            self._provider = Provider(agenda, self._server, dice, first, self._was_bad)
            self._reader = Reader(Cursor.start(self._server.ledger.partitions))
            self._facts = self._plan_facts()
            self._plan_operations()
            agenda.run()
            self._after_all()
            self._server.close()
            self._count()

    def _plan_facts(self) -> list[Fact]:
        """The simulator's facts, spread over all days but the last; many of them, in any order, into bad weather."""
        made = traffic(self.days * MESSAGES_A_DAY, seed=self._dice.getrandbits(32), inbound=SHARE_INBOUND, start_us=0)
        facts = list(made.facts)
        last_us = max(fact.at_us for fact in facts)
        span_us = self._end_us - START_US - DAY_US
        for fact in facts:
            moment_us = fact.at_us * span_us // last_us
            if self._weather.starts and self._dice.random() < SHARE_IN_BAD_WEATHER:
                moment_us = self._in_bad_weather() - START_US
            self._agenda.after(moment_us, partial(self._provider.begin, fact))
        return facts

    def _in_bad_weather(self) -> int:
        window = self._dice.randrange(len(self._weather.starts))
        return self._dice.randint(self._weather.starts[window] - MINUTE_US, self._weather.ends[window])

    def _plan_operations(self) -> None:
        for every_us, action in (
            (RESTART_EVERY_US, self._server.restart),
            (REBUILD_EVERY_US, self._server.rebuild),
            (ROTATE_EVERY_US, self._rotate),
            (CLOCK_STEPS_EVERY_US, self._step_clock),
        ):
            moment_us = 0
            while (moment_us := moment_us + round(self._dice.expovariate(1 / every_us))) < self._fair_us - START_US:
                self._agenda.after(moment_us, action)
        for every_us, check in ((FEED_EVERY_US, self._read_feed), (CHECKED_EVERY_US, self._check)):
            for moment_us in range(every_us, self._end_us - START_US, every_us):
                self._agenda.after(moment_us, check)

    def _rotate(self) -> None:
        """A new secret: the server knows it first, then the provider signs with it, then the old one goes."""
        if self._agenda.now_us < self._rotated_us + HOUR_US + SECRETS_OVERLAP_US:
            return  # nobody begins another rotation before the last one is over
        self._rotated_us = self._agenda.now_us
        old = self._provider.secret
        new = Secret(f"s{self._agenda.now_us}", f"secret {self._dice.random()}".encode())
        self._server.accept([new, old])

        def sign() -> None:
            self._provider.secret = new

        self._agenda.after(HOUR_US, sign)
        self._agenda.after(HOUR_US + SECRETS_OVERLAP_US, lambda: self._server.accept([self._provider.secret]))

    def _step_clock(self) -> None:
        """The server's clock is off by up to a day, or right again."""
        self._server.clock_off_us = self._dice.choice([0, self._dice.randint(-DAY_US, DAY_US)])

    def _was_bad(self, began_us: int) -> bool:
        """Whether something was wrong at some time between the beginning of an attempt and now.

        A commit that began to stall in bad weather may stall on for a while in fair weather, and whoever comes then waits.
        """
        moments = [*range(began_us, self._agenda.now_us, SECOND_US), self._agenda.now_us]
        return (
            self._server.restarted_us >= began_us
            or self._server.stalls_until_us >= began_us
            or any(self._weather.at(moment) is not Sky.FAIR for moment in moments)
        )

    def _read_feed(self) -> None:
        if self._server.sky is not Sky.BROKEN:
            self.wrong += self._reader.read(self._server.ledger)

    def _check(self) -> None:
        """What must hold at any time."""
        if self._server.sky is Sky.BROKEN:
            return
        stored = {place: value_of(body) for place, body in stored_bodies(self._server.ledger)}
        self._expect(len(set(stored.values())) == len(stored), "a fact is stored twice")
        for value, place in self._provider.books.acknowledged.items():
            found = stored.get(place.split(" ")[0])
            self._expect(found == value, f"LOST: {value} was acknowledged at {place}, found {found}")
        self.wrong += [f"VERIFY: {finding}" for finding in verify(self._server.ledger).findings]
        self.wrong += self._provider.books.wrong
        self._provider.books.wrong.clear()

    def _after_all(self) -> None:
        """What must hold once the weather is fair: nothing is missing that was not refused five times in bad weather."""
        self._read_feed()
        self._check()
        ledger, books = self._server.ledger, self._provider.books
        stored = {value_of(body) for _, body in stored_bodies(ledger)}
        facts = {value_of(fact.body) for fact in self._facts}
        self._expect(stored <= facts, "something is stored that never happened")
        missing = facts - stored
        self._expect(
            missing <= books.given_up, f"{len(missing - books.given_up)} facts are missing that were not given up"
        )
        self._expect(
            self._reader.seen == sum(head.position for head in ledger.heads()), "the feed did not show everything"
        )
        lag = sum(each.lag_events + each.parked for each in self._server.models.projections())
        self._expect(lag == 0, f"the read models lag by {lag}")
        self.wrong += read_model_violations(ledger, rebuilding=True)
        self.counts["facts given up in long outages"] = len(missing)
        self.counts["facts stored"] = len(stored)
        log = sorted(stored_bodies(ledger))
        self.digest = hashlib.sha256(repr((log, self._agenda.steps)).encode()).hexdigest()

    def _count(self) -> None:
        server, books = self._server, self._provider.books
        self.hits = server.hits
        self.counts |= {
            "steps": self._agenda.steps,
            "attempts": books.attempts,
            "refused or unanswered": books.refused,
            "commits with unknown outcome stored": server.unknown,
            "restarts": server.restarts,
            "rebuilds": server.rebuilds,
        }

    def _expect(self, holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
        if not holds:
            self.wrong.append(f"day {(self._agenda.now_us - START_US) / DAY_US:.2f}: {otherwise}")


@dataclass
class Reader:
    """A reader of the feed that comes again and again: it must see every event once and in order."""

    cursor: Cursor
    seen: int = 0

    def read(self, ledger: Ledger) -> list[str]:
        """Reads on; what is wrong."""
        wrong: list[str] = []
        while True:
            before = self.cursor
            entries, self.cursor = ledger.feed(before, FEED_PAGE)
            if not entries:
                return wrong
            self.seen += len(entries)
            expected = list(before.numbers)
            for entry in entries:
                expected[entry.position.partition] += 1
                if entry.position.number != expected[entry.position.partition]:
                    wrong.append(f"FEED: expected {expected}, read {entry.position}")
