"""Months of operation, short; `python -m tests.faults months` lives 10,000 days."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from tests.simulation.fragile import FragileDatabase
from tests.simulation.months import DAYS_A_LIFE, Life, months

LIVES, DAYS = (10, DAYS_A_LIFE) if os.environ.get("CI") else (1, 40)
"""1,000 days in CI. In 40 there are restarts, rebuilds, steps of the clock and a rotation of the secret, too."""


@pytest.mark.parametrize("seed", range(1, LIVES + 1))
def test_nothing_is_lost_repeated_or_left_behind_in_months_of_bad_weather(seed: int) -> None:
    figures = months(DAYS, seed)

    assert figures.fine, figures.told()


def test_a_seed_gives_the_same_life_again() -> None:
    first, second = Life("again", 10), Life("again", 10)
    first.live()
    second.live()

    assert (first.digest, first.counts) == (second.digest, second.counts)


def test_a_store_that_lies_about_a_commit_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = FragileDatabase.writing

    @contextmanager
    def lying(self: FragileDatabase) -> Iterator[Connection]:
        try:
            with honest(self) as connection:
                yield connection
        except OperationalError as error:
            if not error.connection_invalidated:
                raise

    monkeypatch.setattr(FragileDatabase, "writing", lying)
    life = Life("a liar", 10)
    life.live()

    assert any("LOST" in each for each in life.wrong)
