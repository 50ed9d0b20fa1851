"""Failures that come by the thousand are a few lines, and their end is one."""

import logging

import pytest

from ledger import outage
from ledger.outage import TELL_EVERY_S, Outage

logger = logging.getLogger("tests.outage")


class Clock:
    """A clock that is set by hand."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(outage, "time", clock)
    return clock


def test_failures_are_a_line_at_once_and_one_in_ten_seconds_with_how_many(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Outage(logger, "it works again")
    for _ in range(1_000):
        failing.failed("OSError", "it failed: %s", "the disk is full")
    clock.now_s += TELL_EVERY_S
    for _ in range(1_000):
        failing.failed("OSError", "it failed: %s", "the disk is full")

    assert caplog.messages == [
        "it failed: the disk is full",
        "it failed: the disk is full (and 999 times more since the last such line)",
    ]


def test_its_end_is_told_once_and_only_after_a_failure_that_was(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    failing = Outage(logger, "it works again")
    failing.worked()
    for _ in range(500):  # a disk that is full lets every second commit through
        failing.failed("OSError", "it failed")
        failing.worked()
        failing.worked()
    assert caplog.messages == ["it failed", "it works again"]

    clock.now_s += TELL_EVERY_S
    failing.failed("OSError", "it failed")
    failing.worked()

    assert caplog.messages[2:] == ["it failed (and 499 times more since the last such line)", "it works again"]


def test_a_failure_of_another_kind_is_told_in_between_and_an_unexpected_one_with_its_traceback(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Outage(logger, "it works again")
    failing.failed("StoreUnavailable", "it failed: %s", "locked")
    try:
        dict[str, str]()["missing"]
    except KeyError:
        failing.failed("KeyError", "it failed unexpectedly", unexpected=True)
    failing.failed("StoreUnavailable", "it failed: %s", "locked")

    assert caplog.messages == ["it failed: locked", "it failed unexpectedly"]
    assert [record.exc_info is not None and bool(record.exc_info) for record in caplog.records] == [False, True]
