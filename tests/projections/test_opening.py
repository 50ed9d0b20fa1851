"""What a rebuild had built is gone on with only where the log is still the one that it was built from."""

from pathlib import Path

import pytest

from projections import lease
from projections import rebuild as rebuild_module
from projections.claims import claim_rollback
from projections.errors import NothingToRollBackTo, RebuildPaused
from projections.log_batches import Bounds
from projections.message_status import MESSAGE_STATUS
from projections.rebuild import Rebuild
from tests.projections.scene import Scene, outbound, projection_of


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild_module, "BATCH", Bounds(10, 1_000_000))
    monkeypatch.setattr(lease, "TELL_EVERY_S", 0.0)


def cut_off_at(events: int, rebuild: Rebuild) -> None:
    with pytest.raises(RebuildPaused):
        rebuild.run(lambda progress: rebuild.pause() if progress.done >= events else None)


def deliver(scene: Scene, kind: str, messages: int) -> None:
    scene.deliver(*(outbound("queued", f"{kind}_{number}", 1) for number in range(messages)))


def state_of(file: Path, scene: Scene) -> bytes:
    scene.ledger.database.tidy()
    return file.read_bytes()


def gone_on_with(file: Path, backup: bytes, others: int) -> bytes:
    """A log that was put back, and has taken other events since."""
    file.write_bytes(backup)
    with Scene(f"sqlite:///{file}") as scene:
        deliver(scene, "other", others)
        return state_of(file, scene)


def put_back(file: Path, backup: bytes) -> None:
    for beside in file.parent.glob(f"{file.name}-*"):
        beside.unlink()
    file.write_bytes(backup)


@pytest.mark.parametrize("others", [0, 5, 30])
def test_what_a_cut_off_rebuild_built_of_events_that_are_not_in_the_log_any_more_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, others: int
) -> None:
    file = tmp_path / "ledger.db"
    with Scene(f"sqlite:///{file}") as scene:
        deliver(scene, "kept", 20)
        scene.read_models.catch_up()
        backup = state_of(file, scene)
        deliver(scene, "lost", 20)
        cut_off_at(40, scene.read_models.claim_rebuild(MESSAGE_STATUS))
    put_back(file, gone_on_with(tmp_path / "elsewhere.db", backup, others))

    with Scene(f"sqlite:///{file}") as scene:
        assert scene.read_models.projection_status(MESSAGE_STATUS).rebuild is None

        assert scene.read_models.claim_rebuild(MESSAGE_STATUS).run().events == 20 + others
        assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]

    (told,) = [each.getMessage() for each in caplog.records if each.name == "projections.opening"]
    assert told.startswith("what a rebuild of message-status that was cut off had built is dropped, ")


def test_what_a_cut_off_rollback_built_of_another_log_is_dropped_as_well(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with Scene(f"sqlite:///{file}") as scene:
        deliver(scene, "kept", 20)
        scene.read_models.claim_rebuild(MESSAGE_STATUS).run()
        backup = state_of(file, scene)
        deliver(scene, "lost", 20)
        rollback, _ = claim_rollback(
            scene.read_models.stores, projection_of(scene, MESSAGE_STATUS), scene.read_models.wake
        )
        cut_off_at(40, rollback)
    put_back(file, backup)

    with Scene(f"sqlite:///{file}") as scene:
        with pytest.raises(NothingToRollBackTo, match="no earlier generation of message-status is kept"):
            scene.read_models.rollback(MESSAGE_STATUS)
        scene.read_models.catch_up()

        assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]


def test_what_a_cut_off_rebuild_built_of_the_log_as_it_is_stays_when_it_is_opened(
    sqlite_scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(sqlite_scene, "kept", 30)
    cut_off_at(10, sqlite_scene.read_models.claim_rebuild(MESSAGE_STATUS))

    sqlite_scene.reopened()

    assert sqlite_scene.read_models.claim_rebuild(MESSAGE_STATUS).run().events == 10
    assert caplog.messages == []


def test_what_a_cut_off_rebuild_built_is_dropped_where_its_checkpoints_are_not_those_of_the_partitions(
    sqlite_scene: Scene,
) -> None:
    deliver(sqlite_scene, "kept", 30)
    cut_off_at(10, sqlite_scene.read_models.claim_rebuild(MESSAGE_STATUS))
    with sqlite_scene.read_models.stores.rows.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO checkpoints (projection, generation, partition, position, hash, revision, parked)"
            " SELECT projection, generation, 1, position, hash, revision, parked FROM checkpoints WHERE generation = 2"
        )

    sqlite_scene.reopened()

    assert sqlite_scene.read_models.claim_rebuild(MESSAGE_STATUS).run().events == 30
