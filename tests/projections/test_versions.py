"""Upgrades of a read model, and the way back: rows of another version are left alone until they have been rebuilt."""

import time

import pytest
from msgspec import structs
from sqlalchemy import update

from ledger.clock import now_us
from ledger.errors import StoreUnavailable
from ledger.provider import Status
from projections import remaking
from projections.checkpoints import Generation
from projections.claims import Cancelled
from projections.comparison import Comparison
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.message_ranges import MessageFilters
from projections.message_status import MESSAGE_STATUS, MESSAGES, encode_message
from projections.rebuild import Ending, Rebuild
from projections.register import register_entry
from projections.tables import read_models
from tests.api.running import until
from tests.projections.scene import Scene, inbound, outbound

NAMES = (MESSAGE_STATUS, INBOUND_CONVERSATIONS)
OLDER, NEWER = 0, 99


def made_by(scene: Scene, version: int) -> None:
    """As if a program with another version of the read models had made them."""
    with scene.read_models.stores.rows.writing() as connection:
        connection.execute(update(read_models).values(version=version))


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remaking, "LOOK_AGAIN_S", 0.02)


def versions(scene: Scene) -> list[int]:
    with scene.read_models.stores.rows.reading() as connection:
        return [register_entry(connection, name).version for name in NAMES]


@pytest.mark.parametrize("version", [OLDER, NEWER])
def test_a_new_version_of_a_read_model_is_built_beside_the_old_one_at_the_start(scene: Scene, version: int) -> None:
    scene.deliver(outbound("queued", "msg_1", 1), inbound("msg_2"))
    scene.read_models.catch_up()
    before, ours = [scene.live_rows(name) for name in NAMES], versions(scene)
    made_by(scene, version)
    scene.deliver(outbound("sent", "msg_1", 2))

    assert [scene.live_rows(name) for name in NAMES] == before
    scene.reopened().read_models.start()
    until(lambda: versions(scene) == ours)

    assert scene.live_rows(MESSAGE_STATUS)[0] == scene.folded_rows()
    with scene.read_models.stores.rows.reading() as connection:
        assert [register_entry(connection, name).previous_version for name in NAMES] == [version, version]


def test_a_program_that_runs_leaves_rows_alone_that_a_newer_one_has_switched_to_and_tells_a_status_from_the_log(
    scene: Scene,
) -> None:
    scene.deliver(outbound("queued", "msg_1", 1), outbound("queued", "msg_2", 1))
    scene.read_models.catch_up()
    made_by(scene, NEWER)

    scene.deliver(outbound("sent", "msg_1", 2))
    scene.read_models.catch_up()

    assert scene.read_models.projection_status(MESSAGE_STATUS).lag_events == 1
    assert [each.message.status for each in scene.read_models.messages(MessageFilters()).items] == 2 * [Status.ACCEPTED]
    theirs = structs.replace(
        scene.held("msg_1").message, status=Status.FAILED, sequence=9
    )  # by a rule that is not ours
    with scene.read_models.stores.rows.writing() as connection:
        connection.execute(update(MESSAGES.table(Generation(MESSAGE_STATUS, 1))).values(state=encode_message(theirs)))
    assert scene.read_models.current_status("msg_1").message.status == Status.SENT


def test_a_version_with_other_columns_is_replaced_without_a_comparison(scene: Scene) -> None:
    scene.deliver(outbound("queued", "msg_1", 1))
    scene.read_models.catch_up()
    made_by(scene, OLDER)
    with scene.read_models.stores.rows.writing() as connection:
        connection.exec_driver_sql("DROP INDEX message_status_g1_by_failure_code")
        connection.exec_driver_sql("ALTER TABLE message_status_g1 DROP COLUMN failure_code")

    report = scene.read_models.claim_rebuild(MESSAGE_STATUS).run()

    assert report.rows_compared == 0
    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]


@pytest.mark.usefixtures("looks_often")
def test_a_new_version_whose_rebuild_fails_is_built_once_it_can_be(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.deliver(outbound("queued", "msg_1", 1))
    ours, compare = versions(scene), Rebuild._compare  # noqa: SLF001 - the step that is to fail
    failures: list[Rebuild] = []

    def fails_twice(rebuild: Rebuild) -> Comparison:
        if len(failures) < 2:
            failures.append(rebuild)
            raise StoreUnavailable("the database is away for a moment")
        return compare(rebuild)

    monkeypatch.setattr(Rebuild, "_compare", fails_twice)
    made_by(scene, OLDER)
    scene.reopened().read_models.start()

    until(lambda: versions(scene) == ours)
    assert len(failures) == 2


@pytest.mark.usefixtures("looks_often")
def test_what_another_process_rebuilds_after_an_upgrade_is_taken_over_when_it_dies(scene: Scene) -> None:
    ours = versions(scene)
    made_by(scene, OLDER)
    with scene.read_models.stores.rows.writing() as connection:
        connection.execute(update(read_models).values(rebuilder="elsewhere:1:0-ab", rebuilder_seen_us=now_us()))
    scene.reopened().read_models.start()

    time.sleep(0.2)
    assert versions(scene) == [OLDER, OLDER]

    with scene.read_models.stores.rows.writing() as connection:
        connection.execute(update(read_models).values(rebuilder_seen_us=now_us() - 60_000_000))
    until(lambda: versions(scene) == ours)


def test_rows_of_another_version_that_nobody_rebuilds_are_a_warning(scene: Scene) -> None:
    ours = versions(scene)
    assert scene.read_models.readiness(None).warnings == []
    made_by(scene, OLDER)

    assert scene.read_models.readiness(None).warnings == [
        f"{name}: its rows are of version {OLDER}, and stay as they are until they are rebuilt to version {version}:"
        f" `ledger rebuild {name}`"
        for name, version in zip(NAMES, ours, strict=True)
    ]


@pytest.mark.usefixtures("looks_often")
def test_a_rebuild_after_an_upgrade_that_is_cancelled_is_not_begun_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    catch_up = Rebuild._catch_up  # noqa: SLF001 - the step within which it is cancelled
    begun: list[Rebuild] = []

    def waits_for_its_end(rebuild: Rebuild) -> None:
        begun.append(rebuild)
        catch_up(rebuild)
        while True:
            rebuild._lease._told_at = 0.0  # noqa: SLF001 - it looks at the register now
            rebuild._lease.tell()  # noqa: SLF001
            time.sleep(0.005)

    monkeypatch.setattr(Rebuild, "_catch_up", waits_for_its_end)
    made_by(scene, OLDER)
    scene.reopened().read_models.start()
    until(lambda: len(begun) == len(NAMES))

    assert [scene.read_models.cancel_rebuild(name) for name in NAMES] == [Cancelled.RUNNING] * 2
    until(lambda: all(each.ending is Ending.CANCELLED for each in begun))
    time.sleep(0.2)
    assert len(begun) == len(NAMES)
    assert versions(scene) == [OLDER, OLDER]


@pytest.mark.usefixtures("looks_often")
def test_what_a_newer_program_switches_to_while_we_run_is_left_alone(scene: Scene) -> None:
    ours = versions(scene)
    made_by(scene, OLDER)
    scene.reopened().read_models.start()
    until(lambda: versions(scene) == ours)
    time.sleep(0.1)

    made_by(scene, NEWER)
    time.sleep(0.2)

    assert versions(scene) == [NEWER, NEWER]
