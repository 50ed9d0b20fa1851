"""A fault of one database is no reason to mistrust the other: on SQLite a failed file is closed, and checked as a whole."""

import sqlite3
import threading

import pytest
from sqlalchemy.exc import DatabaseError

from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.message_status import MESSAGE_STATUS
from projections.runner import Runner
from tests.projections.scene import Scene, inbound, outbound, projection_of


def blamed(scene: Scene, monkeypatch: pytest.MonkeyPatch, failing: str, says: str = "disk I/O error") -> list[str]:
    """Which databases a runner tells of a failure."""
    found: list[str] = []
    has_failed = threading.Event()

    def fail(*_: object, **__: object) -> None:
        has_failed.set()
        raise DatabaseError("SELECT", None, sqlite3.OperationalError(says))

    stores = scene.read_models.stores
    monkeypatch.setattr(stores.rows, "after_failure", lambda _error: found.append("read models"))
    monkeypatch.setattr(stores.log, "after_failure", lambda _error: found.append("log"))
    monkeypatch.setattr(f"projections.{failing}", fail)
    projections = [projection_of(scene, each) for each in (MESSAGE_STATUS, INBOUND_CONVERSATIONS)]
    runner = Runner(stores.rows, stores.log, stores.codec, projections, lambda *_: None)
    runner.start()
    assert has_failed.wait(10)
    runner.stop()  # after what it does about that
    return found


@pytest.fixture
def filled(sqlite_scene: Scene) -> Scene:
    """A message that gets its direction with its second event: for that the log is read within a transaction on the rows."""
    sqlite_scene.deliver({"eventType": "message.other", "messageId": "in_1"}, outbound("sent", "msg_1", 1))
    sqlite_scene.deliver(inbound("in_1"))
    return sqlite_scene


@pytest.mark.parametrize("failing", ["runner.register_entry", "runner.beat"])
def test_a_fault_of_the_read_models_is_told_to_them_alone(
    filled: Scene, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    assert set(blamed(filled, monkeypatch, failing)) == {"read models"}


@pytest.mark.parametrize("failing", ["log_batches._some", "inbound_conversations.between"])
def test_a_fault_of_the_log_is_told_to_it_alone(filled: Scene, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    assert set(blamed(filled, monkeypatch, failing)) == {"log"}


def test_whoever_reads_of_a_damaged_file_of_read_models_is_told_to_move_it_away(
    filled: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blamed(filled, monkeypatch, "runner.register_entry", "database disk image is malformed")

    file = filled.read_models.stores.rows.file
    assert file is not None
    assert f"the damaged file is {file.absolute()}; stop the server, move {file.name}* away" in caplog.text


def test_a_damaged_log_is_never_to_be_moved_away(
    filled: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = blamed(filled, monkeypatch, "log_batches._some", "database disk image is malformed")

    assert told == []  # it is no better for being opened again, and a check would keep who commits waiting
    assert "projecting failed" in caplog.text
    assert "away" not in caplog.text
