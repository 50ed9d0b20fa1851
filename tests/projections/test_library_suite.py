"""The eventsourcing library's own conformance suite, for the checkpoints behind its TrackingRecorder."""

from collections.abc import Iterator

import pytest
from eventsourcing.persistence import Tracking, TrackingRecorder
from eventsourcing.tests.persistence import TrackingRecorderTestCase
from sqlalchemy import select

from ledger.store.database import Database
from projections.checkpoints import CheckpointRecorder
from projections.tables import checkpoints


class Suite(TrackingRecorderTestCase):
    __test__ = False  # collected below, once for each engine
    database: Database

    def create_recorder(self) -> TrackingRecorder:
        return CheckpointRecorder(self.database)

    def runTest(self) -> None:  # noqa: N802 - unittest's name
        """So that the suite can be made without naming one of its tests."""


@pytest.fixture
def suite(store_url: str) -> Iterator[Suite]:
    suite = Suite()
    suite.database = Database(store_url)
    yield suite
    suite.database.close()


del TrackingRecorderTestCase  # or pytest would collect the library's own


@pytest.mark.parametrize("name", [name for name in dir(Suite) if name.startswith("test_")])
def test_the_library_s_suite(suite: Suite, name: str) -> None:
    getattr(suite, name)()


def test_a_revision_is_no_count_that_two_histories_could_share(suite: Suite) -> None:
    recorder = CheckpointRecorder(suite.database)
    for tracking in (Tracking(name, number) for name in ("one", "other") for number in (1, 2)):
        recorder.insert_tracking(tracking)

    with suite.database.reading() as connection:
        assert len(set(connection.scalars(select(checkpoints.c.revision)))) == 2
