"""A ledger against a simple model of it, with crashes: a list of facts, each once, in the order of recording.

A crash here is a real one: a child process, forked for it, opens the SQLite file, commits, and kills itself with signal 9
at the statement, or before or after the COMMIT, that Hypothesis chose. What it acknowledged goes through a pipe. (The
power does not fail: what the system has taken from SQLite reaches the disk in any case. `synchronous` is what other
tests check.)
"""

import json
import os
import shutil
import signal
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import event

from ledger.facts import Fact, Placed
from ledger.ledger import Ledger
from ledger.positions import Position
from ledger.reception import Reception
from ledger.verification import verify
from tests.builders import NOW_US, delivered, fact, failed, placed, queued, sent, stored_facts

BOUNDED = settings(max_examples=12, stateful_step_count=12, deadline=None)
CAMPAIGN = settings(max_examples=2_000, stateful_step_count=60, deadline=None)
STATEMENTS_OF_A_COMMIT_MAX = 9
"""Somewhat more places to die than one commit has: then the child dies of itself after its acknowledgement."""

batches = st.lists(
    st.builds(
        lambda build, sequence, message: fact(build(sequence, f"msg_{message}")),
        st.sampled_from([queued, sent, delivered, failed]),
        st.integers(0, 3),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=6,
)


class LedgerThatCrashes(RuleBasedStateMachine):
    """The rules: deliver, deliver again, reopen, crash somewhere in a commit."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-crash-"))
        self.url = f"sqlite:///{self.folder}/ledger.db"
        self.ledger = Ledger.open(self.url)
        self.model: list[Fact] = []
        self.attempts = 0

    def teardown(self) -> None:
        assert verify(self.ledger, deep=True).findings == ()
        self.ledger.close()
        shutil.rmtree(self.folder)

    @rule(batch=batches)
    def deliver(self, batch: list[Fact]) -> None:
        expected = self.expected(batch)
        self.remember(batch)

        assert self.ledger.commit(batch) == expected

    @precondition(lambda self: self.model)
    @rule(chance=st.data())
    def deliver_again(self, chance: st.DataObject) -> None:
        batch = chance.draw(st.lists(st.sampled_from(self.model), min_size=1, max_size=5))

        assert self.ledger.commit(batch) == [placed_as(self.model, each, is_new=False) for each in batch]

    @rule()
    def deliver_what_nobody_can_read(self) -> None:
        self.ledger.commit([Reception(None, 1).receive([], b"?", now_us=NOW_US)])
        self.attempts += 1

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = Ledger.open(self.url)

    @rule(batch=batches, at=st.integers(1, STATEMENTS_OF_A_COMMIT_MAX))
    def crash(self, batch: list[Fact], at: int) -> None:
        self.ledger.close()  # SQLite's locks do not go through a fork
        acknowledged = commit_in_a_child_that_dies(self.url, batch, at)
        self.ledger = Ledger.open(self.url)

        stored = [key for _, _, key in stored_facts(self.ledger)]
        before = [each.fact_key for each in self.model]
        expected = self.expected(batch)
        self.remember(batch)
        after = [each.fact_key for each in self.model]
        if acknowledged is not None:
            assert (acknowledged, stored) == ([[str(each.position), str(each.version)] for each in expected], after)
        elif stored == before:
            del self.model[len(before) :]  # the outcome was not known; it was: nothing of it
        else:
            assert stored == after  # the outcome was not known; it was: all of it

    @invariant()
    def the_log_is_the_model(self) -> None:
        expected = [placed_as(self.model, each, is_new=False) for each in self.model]
        assert stored_facts(self.ledger) == [
            (str(place.position), place.version, each.fact_key)
            for place, each in zip(expected, self.model, strict=True)
        ]

    @invariant()
    def the_quarantine_is_the_model(self) -> None:
        assert [each.attempts for each in self.ledger.quarantined(limit=9)] == (
            [self.attempts] if self.attempts else []
        )

    def expected(self, batch: list[Fact]) -> list[Placed]:
        model = list(self.model)
        answers: list[Placed] = []
        for each in batch:
            is_new = all(held.fact_key != each.fact_key for held in model)
            model += [each] * is_new
            answers.append(placed_as(model, each, is_new=is_new))
        return answers

    def remember(self, batch: list[Fact]) -> None:
        for each in batch:
            if all(held.fact_key != each.fact_key for held in self.model):
                self.model.append(each)


def placed_as(model: list[Fact], one: Fact, *, is_new: bool) -> Placed:
    """Where the model says that a fact stands."""
    index = next(index for index, held in enumerate(model) if held.fact_key == one.fact_key)
    version = sum(held.stream == one.stream for held in model[: index + 1])
    return Placed(Position(0, index + 1), version, is_new)


def commit_in_a_child_that_dies(url: str, batch: list[Fact], at: int) -> list[list[str]] | None:
    """What a child process acknowledged before it died at that step of its commit: None, or each position and version."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of forks where there are threads; the child uses none of what they hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        commit_and_die(url, batch, at, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    return json.loads(said) if said else None


def commit_and_die(url: str, batch: list[Fact], at: int, pipe: int) -> NoReturn:
    """In the child: commits, and is gone at the given step. Never returns, whatever happens."""
    with suppress(BaseException):
        ledger = Ledger.open(url)
        steps = 0

        def step(*_: object) -> None:
            nonlocal steps
            steps += 1
            if steps == at:
                os.kill(os.getpid(), signal.SIGKILL)

        with ledger.database.writing() as connection:
            engine = connection.engine
        do_commit = engine.dialect.do_commit

        def commit(connection: object) -> None:
            step()
            do_commit(connection)  # type: ignore[arg-type]
            step()

        event.listen(engine, "before_cursor_execute", step)
        engine.dialect.do_commit = commit  # type: ignore[method-assign,assignment]
        outcomes = [placed(outcome) for outcome in ledger.commit(batch)]
        os.write(pipe, json.dumps([[str(each.position), str(each.version)] for each in outcomes]).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(1)


def test_a_ledger_that_crashes_anywhere_is_its_model() -> None:
    run_state_machine_as_test(LedgerThatCrashes, settings=BOUNDED)


@pytest.mark.campaign
def test_a_ledger_that_crashes_anywhere_is_its_model_for_hours() -> None:
    run_state_machine_as_test(LedgerThatCrashes, settings=CAMPAIGN)


def test_a_crash_at_each_step_of_a_commit_stores_all_of_it_or_nothing(tmp_path: Path) -> None:
    batch = [fact(queued(1)), fact(sent(2))]
    met: set[tuple[bool, int]] = set()
    for at in range(1, STATEMENTS_OF_A_COMMIT_MAX + 1):
        url = f"sqlite:///{tmp_path}/{at}.db"
        Ledger.open(url).close()
        acknowledged = commit_in_a_child_that_dies(url, batch, at)
        with Ledger.open(url) as ledger:
            stored = len(stored_facts(ledger))
            met.add((acknowledged is not None, stored))
            assert [placed(outcome).is_new for outcome in ledger.commit(batch)] == [not stored, not stored]
            assert verify(ledger).findings == ()

    # It died before the commit, between the commit and the acknowledgement, and after that; and met nothing else.
    assert met == {(False, 0), (False, 2), (True, 2)}
