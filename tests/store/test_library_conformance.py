"""The eventsourcing library's own conformance suites, on our recorder, on every engine.

They are unittest classes, and `store_url` is a fixture of ours; so each of their tests is run by one of ours.
"""

import unittest
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.persistence import AggregateRecorder, ApplicationRecorder, EventStore, ProgrammingError, StoredEvent
from eventsourcing.tests import persistence as library

from ledger.events import stream_id
from ledger.ledger import Ledger
from ledger.mapper import MessageMapper, StreamEvent
from ledger.store.recorder import LogRecorder
from ledger.verification import verify
from tests.builders import fact, queued

MAKES_NO_CLAIM = {"test_performance", "test_concurrent_throughput"}
"""These print speeds and check nothing; ours are in `tests/benchmarks/`."""


class FromZero(LogRecorder):
    """The library's suite begins some streams at version 0."""

    first_versions = (0, 1)


class StreamsOnly(AggregateRecorder):
    """The recorder as one of streams alone, which answers an insert with nothing: so the library's suite has it."""

    def __init__(self, recorder: LogRecorder) -> None:
        self._recorder = recorder

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: object) -> None:
        self._recorder.insert_events(stored_events, **kwargs)

    def select_events(self, *args: Any, **kwargs: Any) -> Sequence[StoredEvent]:  # noqa: ANN401 - as the library has it
        return self._recorder.select_events(*args, **kwargs)


class RecorderFromTheTest:
    """What the suites ask for; the ledger is set by the test."""

    __test__ = False  # Not for pytest itself, which cannot give it a ledger.
    ledger: Ledger

    def create_recorder(self) -> ApplicationRecorder:
        return FromZero(self.ledger.database, 0, 1)


class AggregateRecorderSuite(RecorderFromTheTest, library.AggregateRecorderTestCase):
    """Streams: versions, conflicts, selecting by version."""

    def create_recorder(self) -> AggregateRecorder:  # type: ignore[override]
        return StreamsOnly(FromZero(self.ledger.database, 0, 1))


class ApplicationRecorderSuite(RecorderFromTheTest, library.ApplicationRecorderTestCase[ApplicationRecorder]):
    """Notifications: contiguous ids, selecting, concurrent writers and readers."""


class NonInterleavingSuite(RecorderFromTheTest, library.NonInterleavingNotificationIDsBaseCase):
    """The ids of two concurrent inserts of a thousand events each do not interleave."""


def cases_of(*suites: type[unittest.TestCase]) -> list[object]:
    return [
        pytest.param(suite, name, id=f"{suite.__name__}-{name}")
        for suite in suites
        for name in unittest.defaultTestLoader.getTestCaseNames(suite)
        if name not in MAKES_NO_CLAIM
    ]


@pytest.mark.parametrize(
    "suite, name", cases_of(AggregateRecorderSuite, ApplicationRecorderSuite, NonInterleavingSuite)
)
def test_the_recorder_passes_the_library_s_own_suite(
    store_url: str, suite: Callable[[str], unittest.TestCase], name: str
) -> None:
    with Ledger.open(store_url) as ledger:
        case = suite(name)
        case.ledger = ledger  # type: ignore[attr-defined]
        result = unittest.TestResult()
        case.run(result)

        assert [told for _, told in [*result.errors, *result.failures]] == []
        assert (result.testsRun, result.skipped) == (1, [])
        # Its aggregates may begin at version 0 and ours never do; everything else must verify.
        assert [each for each in verify(ledger).findings if "versions from 0" not in each.message] == []


def test_the_recorder_does_not_offer_subscriptions_and_says_what_to_do(store_url: str) -> None:
    with Ledger.open(store_url) as ledger, pytest.raises(NotImplementedError, match="pull with select_notifications"):
        LogRecorder(ledger.database, 0, 1).subscribe()


def test_each_partition_is_a_recorder_of_its_own(store_url: str) -> None:
    with Ledger.open(store_url, partitions=2) as ledger:
        assert [LogRecorder(ledger.database, each, 2).max_notification_id() for each in range(2)] == [None, None]
        assert LogRecorder(ledger.database, 1, 2).select_events(UUID(int=1)) == []


def test_a_stream_is_stored_where_it_is_looked_for_and_nowhere_else(store_url: str) -> None:
    with Ledger.open(store_url, partitions=4) as ledger:
        ids = [f"msg_{number}" for number in range(12)]
        for message_id in ids:
            store = EventStore(MessageMapper(ledger.codec), ledger.recorder(message_id))
            store.put([StreamEvent(stream_id(message_id), 1, queued(1, message_id))])
        strays = [each for each in ids if fact(queued(1, each), partitions=4).partition != 0]
        for message_id in strays:
            with pytest.raises(
                ProgrammingError, match=r"belongs to partition [123], and this recorder is of partition 0"
            ):
                LogRecorder(ledger.database, 0, 4).insert_events([StoredEvent(stream_id(message_id), 2, "t", b"")])

        assert len(strays) > 4
        assert [ledger.message(each).event_count for each in ids] == [1] * len(ids)
        assert verify(ledger).findings == ()
