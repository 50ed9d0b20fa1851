"""The server: the real reception, the real commit and the real read models; only the clock, the queue and the weather are not.

In the real server deliveries that wait together share a commit (`ledger/group_commit.py`, a thread); here the agenda
takes that thread's place. A crash forgets what waits, as the end of a process does.
"""

from collections.abc import Callable, Sequence
from random import Random

from sqlalchemy.exc import SQLAlchemyError

from ledger.errors import LedgerError, SignatureRefused
from ledger.facts import Item, Outcome
from ledger.ledger import Ledger
from ledger.reception import Reception
from ledger.signatures import Secret
from ledger.store.schema import open_or_create
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.message_status import MESSAGE_STATUS
from projections.read_models import ReadModels
from projections.runner import Runner
from tests.simulation.agenda import HOUR_US, SECOND_US, Agenda
from tests.simulation.fragile import FragileDatabase
from tests.simulation.weather import Sky, Weather

COMMIT_US = 5_000
SLOW_US_MAX = 120 * SECOND_US
PROJECT_WITHIN_US = (2 * SECOND_US, 6 * HOUR_US)
TRY_AGAIN_US = 5 * SECOND_US
PARTITIONS = 2

Answer = Callable[[Outcome | None], None]
"""Told the outcome of a delivery: None is a refusal, or no answer at all."""


class Server:
    """A server of one embedded ledger."""

    def __init__(self, url: str, agenda: Agenda, weather: Weather, dice: Random, secrets: Sequence[Secret]) -> None:
        self._url = url
        self._agenda = agenda
        self._weather = weather
        self._dice = dice
        self.clock_off_us = 0
        self._runner: Runner | None = None
        self.restarts = self.rebuilds = self.hits = self.unknown = 0
        self.restarted_us = self.stalls_until_us = 0
        self._life = 0
        self._waiting: list[tuple[Item, Answer]] = []
        self._committing = False
        self._projecting = False
        self._open()
        self.accept(secrets)

    @property
    def sky(self) -> Sky:
        """The weather now."""
        return self._weather.at(self._agenda.now_us)

    def accept(self, secrets: Sequence[Secret]) -> None:
        """Changes the active secrets."""
        self._reception = Reception(tuple(secrets), self.ledger.partitions)

    def deliver(self, headers: Sequence[tuple[bytes, bytes]], body: bytes, answer: Answer) -> None:
        """A delivery comes in; the answer comes after the commit, or never."""
        if self.sky is Sky.AWAY:
            answer(None)
            return
        try:
            item = self._reception.receive(headers, body, now_us=self._agenda.now_us + self.clock_off_us)
        except SignatureRefused:
            answer(None)
            return
        self._waiting.append((item, answer))
        self._commit_soon()

    def restart(self) -> None:
        """The process ends and starts again; what waits is never answered."""
        self.restarts += 1
        self.restarted_us = self._agenda.now_us
        self._life += 1
        waiting, self._waiting, self._committing, self._projecting = self._waiting, [], False, False
        self._close()
        self._open()
        for _, answer in waiting:
            answer(None)

    def rebuild(self) -> None:
        """An operator rebuilds both read models; where the log cannot be read, later."""
        try:
            for name in (MESSAGE_STATUS, INBOUND_CONVERSATIONS):
                self.models.claim_rebuild(name).run()
                self._runner = None  # the real one looks once a second whether another generation is live
                self.rebuilds += 1
        except SQLAlchemyError:
            self._agenda.after(TRY_AGAIN_US * 100, self.rebuild)

    def close(self) -> None:
        """The end."""
        self._close()

    def _open(self) -> None:
        # What opens a ledger is started by hand until it works, so the weather waits for it.
        self._is_open = False
        self._fragile = FragileDatabase(self._url, self._opening_sky, self._dice)
        self.ledger = Ledger(self._fragile, open_or_create(self._fragile, PARTITIONS))
        self.models = ReadModels.open(self.ledger)
        self._runner = None
        self._is_open = True

    def _opening_sky(self) -> Sky:
        return self.sky if self._is_open else Sky.FAIR

    def _close(self) -> None:
        self.hits += self._fragile.hits
        self.unknown += self._fragile.unknown
        self.models.close()
        self.ledger.close()

    def _commit_soon(self) -> None:
        if self._committing:
            return
        self._committing = True
        slow_us = self._dice.randint(0, SLOW_US_MAX) if self.sky is Sky.SLOW else 0
        if slow_us:
            self.stalls_until_us = self._agenda.now_us + COMMIT_US + slow_us
        self._agenda.after(COMMIT_US + slow_us, self._of_this_life(self._commit))

    def _commit(self) -> None:
        """Commits what waits."""
        waiting, self._waiting, self._committing = self._waiting, [], False
        if waiting:
            self._commit_batch(waiting)
        if not self._projecting:
            self._projecting = True
            self._agenda.after(
                self._dice.randint(0, self._dice.choice(PROJECT_WITHIN_US)), self._of_this_life(self._project)
            )

    def _commit_batch(self, batch: Sequence[tuple[Item, Answer]]) -> None:
        outcomes: Sequence[Outcome | None]
        try:
            outcomes = self.ledger.commit([item for item, _ in batch])
        except LedgerError:
            outcomes = [None] * len(batch)
        for (_, answer), outcome in zip(batch, outcomes, strict=True):
            answer(outcome)

    def _project(self) -> None:
        """What the runner's thread does, which remembers what it folded, and forgets it and tries again after any failure."""
        self._projecting = False
        self._runner = self._runner or self.models.new_runner()
        try:
            while self._runner.pass_once():
                pass
        except SQLAlchemyError:
            self._runner = None
            self._projecting = True
            self._agenda.after(TRY_AGAIN_US, self._of_this_life(self._project))

    def _of_this_life(self, action: Callable[[], None]) -> Callable[[], None]:
        """What a process had planned ends with it."""
        life = self._life

        def run() -> None:
            if life == self._life:
                action()

        return run
