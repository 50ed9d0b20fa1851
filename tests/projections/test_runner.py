"""The runner: each event once, woken at once, never stopped by one event, and seen to be alive."""

import asyncio
import logging
import re
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import Connection

from ledger.errors import NotFound, StoreUnavailable
from ledger.ledger import Ledger
from ledger.mapper import EventCodec
from ledger.positions import Position
from ledger.reception import Reception
from ledger.store import sqlite
from ledger.store.damage import StoreDamaged
from projections import log_batches
from projections import runner as runner_module
from projections.checkpoints import OvertakenByAnother
from projections.health import LAG_S_MAX, lag_in_words
from projections.heartbeats import beat
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.log_batches import Batch, Bounds
from projections.message_ranges import MessageFilters
from projections.message_status import MESSAGE_STATUS
from projections.projecting import Projector
from projections.read_models import ReadModels
from projections.register import RegisterEntry, change, register_entry
from projections.runner import REST_S_MIN, Runner
from projections.spans import Attributes
from tests.api.running import until
from tests.builders import body, kept_unread
from tests.projections.scene import START_US, Scene, inbound, outbound, projection_of

SCENE_RECEPTION = Reception(None, 1)
NAMES = (MESSAGE_STATUS, INBOUND_CONVERSATIONS)


def reached(scene: Scene, position: Position, name: str = MESSAGE_STATUS) -> bool:
    return asyncio.run(scene.read_models.wait_for(position, name=name, timeout_s=20))


def test_an_append_is_projected_as_soon_as_the_runner_is_woken(scene: Scene) -> None:
    scene.read_models.start()
    for number in range(5):
        (position,) = scene.deliver(outbound("sent", f"msg_{number}", 1))
        scene.read_models.wake()

        assert reached(scene, position)
        assert scene.held(f"msg_{number}").position == position


def test_appends_that_follow_one_another_share_passes(tmp_path: Path) -> None:
    events_of_a_pass: list[object] = []

    @contextmanager
    def noted(_name: str, told: Attributes) -> Iterator[None]:
        yield
        events_of_a_pass.append(told["events"])

    with Scene(f"sqlite:///{tmp_path}/ledger.db", spans=noted) as scene:
        scene.read_models.start()
        began_s = time.monotonic()
        positions: list[Position] = []
        for number in range(200):
            positions += scene.deliver(outbound("sent", f"msg_{number}", 1))
            scene.read_models.wake()
        assert reached(scene, positions[-1])
        took_s = time.monotonic() - began_s

    assert len(events_of_a_pass) <= 2 + took_s / REST_S_MIN


def test_what_is_left_over_in_a_pass_is_gone_on_with_at_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for rest in ("REST_S_MIN", "REST_S_MAX"):
        monkeypatch.setattr(runner_module, rest, 600.0)
    monkeypatch.setattr(runner_module, "LIVE", Bounds(1, 1_000_000))
    *_, last = scene.deliver(*(outbound("sent", f"msg_{number}", 1) for number in range(5)))

    scene.read_models.start()

    assert reached(scene, last)


def test_a_pass_visits_the_partitions_where_something_is_new_and_no_other(store_url: str) -> None:
    visited: list[object] = []

    @contextmanager
    def noted(_name: str, told: Attributes) -> Iterator[None]:
        visited.append(told["partition"])
        yield

    with Scene(store_url, partitions=16, spans=noted) as scene:
        runner = scene.read_models.new_runner()
        for number in range(5):
            (position,) = scene.deliver(outbound("sent", f"msg_{number}", 1))
            beat_now(runner)

            assert (runner.pass_once(), runner.pass_once()) == (True, False)
            assert visited == [position.partition]
            visited.clear()


def beat_now(runner: Runner) -> None:
    runner._heartbeat_due = 0.0  # noqa: SLF001 - a second later
    runner._beat()  # noqa: SLF001


def test_rows_that_another_process_made_ours_again_are_gone_on_with_though_nothing_is_new(scene: Scene) -> None:
    runner = scene.read_models.new_runner()
    version = projection_of(scene, MESSAGE_STATUS).version
    version_is(scene, version + 1)
    (position,) = scene.deliver(outbound("sent", "msg_1", 1))
    beat_now(runner)
    assert (runner.pass_once(), runner.pass_once()) == (True, False)
    assert scene.read_models.projection_status(MESSAGE_STATUS).lag_events == 1

    version_is(scene, version)
    beat_now(runner)

    assert runner.pass_once()
    assert scene.held("msg_1").position == position


def version_is(scene: Scene, version: int) -> None:
    with scene.read_models.stores.rows.writing() as connection:
        change(connection, MESSAGE_STATUS, version=version)


def test_what_fails_is_tried_again_ever_more_slowly_whatever_comes_meanwhile(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[float] = []
    pass_once = Runner.pass_once

    def fail(runner: Runner) -> bool:
        if runner._rows is not scene.read_models.stores.rows:  # noqa: SLF001 - that of a server which other tests share
            return pass_once(runner)
        tries.append(time.monotonic())
        raise OSError

    monkeypatch.setattr(Runner, "pass_once", fail)
    scene.read_models.start()
    until(lambda: bool(tries))
    while time.monotonic() < tries[0] + 0.6:
        scene.read_models.wake()

    assert len(tries) <= 4  # after 0, 0.1 and 0.3 s, and 0.7 where this thread had to wait
    assert [each for each in caplog.messages if "failed" in each] == ["projecting failed and is tried again: OSError"]


@pytest.mark.parametrize("damage", ["UPDATE events SET topic = CAST(x'ffff' AS TEXT)", None])
def test_damage_that_is_met_in_the_log_never_keeps_who_commits_waiting_for_a_check_of_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, damage: str | None
) -> None:
    checks: list[str] = []
    with Scene(f"sqlite:///{tmp_path}/ledger.db") as scene:
        scene.deliver(outbound("sent", "msg_1", 1))
        if damage is None:
            monkeypatch.setattr(log_batches, "_some", malformed)
        else:
            with scene.ledger.database.writing() as connection:
                connection.exec_driver_sql(damage)
        monkeypatch.setattr(sqlite, "_check_file", lambda *_: checks.append("quick_check"))
        scene.read_models.start()
        until(lambda: "projecting failed" in caplog.text)
        for number in range(20):
            scene.deliver(outbound("sent", f"msg_{number + 2}", 1))
            time.sleep(0.01)

    assert checks == []


def malformed(*_arguments: object) -> NoReturn:
    raise StoreDamaged("SELECT", None, sqlite.SQLITE.DatabaseError("database disk image is malformed"))


def test_an_append_of_another_process_is_found_by_looking(scene: Scene) -> None:
    scene.read_models.start()
    (position,) = scene.deliver(inbound("in_1"))

    assert reached(scene, position)
    assert reached(scene, position, INBOUND_CONVERSATIONS)


def test_waiting_ends_after_its_time_when_nothing_projects(scene: Scene) -> None:
    (position,) = scene.deliver(outbound("sent", "msg_1", 1))

    assert not asyncio.run(scene.read_models.wait_for(position, timeout_s=0.05))


def test_several_runners_apply_each_event_exactly_once(any_scene: Scene) -> None:
    scene = any_scene
    stores = scene.read_models.stores
    projections = [projection_of(scene, name) for name in NAMES]
    all_appended = threading.Event()

    def run() -> None:
        is_left = True
        while is_left:
            at_the_end = all_appended.is_set()
            # A new one each time, because a new one, like one that has just shown that it is alive, asks where it is.
            runner = Runner(stores.rows, stores.log, EventCodec(), projections, lambda *_: None)
            with suppress(OvertakenByAnother):
                is_left = (runner.pass_once() and runner.pass_once()) or not at_the_end
            all_appended.wait(0.002)  # whoever appends wants its turn

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(120):
        scene.deliver(inbound(f"in_{number}", f"conv_{number % 7}"), outbound("sent", f"msg_{number % 30}", number))
    all_appended.set()
    for thread in threads:
        thread.join()

    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]
    counted = [scene.read_models.conversation(f"conv_{number}").message_count for number in range(7)]
    assert sum(counted) == 120


def test_a_runner_folds_on_from_the_rows_that_its_checkpoint_belongs_to(
    any_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = any_scene
    quick, slow = scene.read_models.new_runner(), scene.read_models.new_runner()
    slow.pass_once()
    scene.deliver(outbound("queued", "msg_1", 1), outbound("sent", "msg_1", 2), outbound("delivered", "msg_1", 3))
    monkeypatch.setattr("projections.runner.LIVE", Bounds(1, 1))
    quick.pass_once()
    others_turn = iter([quick.pass_once])

    def entry_and_then_the_other(connection: Connection, name: str) -> RegisterEntry:
        found = register_entry(connection, name)  # from here on the slow one sees the rows as they are now
        for pass_once in others_turn:
            pass_once()
        return found

    monkeypatch.setattr("projections.runner.register_entry", entry_and_then_the_other)
    with suppress(OvertakenByAnother):
        slow.pass_once()
    monkeypatch.undo()
    scene.read_models.catch_up()

    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]


def test_a_partition_that_fails_keeps_no_other_from_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Projector.batch

    def fail_in_the_first(self: Projector, after: int, bounds: Bounds, up_to: int | None = None) -> Batch:
        if self.partition == 0:
            raise StoreUnavailable("a page is damaged")
        return batch(self, after, bounds, up_to)

    with Scene(f"sqlite:///{tmp_path}/ledger.db", partitions=3) as scene:
        positions = scene.deliver(*[outbound("sent", f"msg_{number}", 1) for number in range(30)])
        assert {position.partition for position in positions} == {0, 1, 2}
        monkeypatch.setattr(Projector, "batch", fail_in_the_first)
        with pytest.raises(StoreUnavailable, match="a page is damaged"):
            scene.read_models.new_runner().pass_once()

        assert {row[0] for rows in scene.live_rows(MESSAGE_STATUS) for row in rows} == {1, 2}


def test_partitions_that_fail_keep_no_other_from_its_turn_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, failing = Projector.batch, {0, 1, 3}

    def fail_in_some(self: Projector, after: int, bounds: Bounds, up_to: int | None = None) -> Batch:
        if self.partition in failing:
            raise StoreUnavailable("a page is damaged")
        return batch(self, after, bounds, up_to)

    with Scene(f"sqlite:///{tmp_path}/ledger.db", partitions=6) as scene:
        scene.deliver(*[outbound("sent", f"msg_{number}", 1) for number in range(60)])
        monkeypatch.setattr(Projector, "batch", fail_in_some)
        runner = scene.read_models.new_runner()
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="a page is damaged"):
                runner.pass_once()

        assert {row[0] for rows in scene.live_rows(MESSAGE_STATUS) for row in rows} == {2, 4, 5}


def test_what_is_no_event_s_fault_is_no_silent_end_of_a_pass(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = scene.read_models.new_runner()
    runner.pass_once()
    scene.deliver(outbound("sent", "msg_1", 1))

    def fail(*_: object) -> NoReturn:
        raise TypeError("a bug")

    monkeypatch.setattr("projections.runner.register_entry", fail)
    with pytest.raises(TypeError):
        runner.pass_once()
    monkeypatch.undo()
    runner.pass_once()

    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]


def test_an_event_that_cannot_be_projected_is_parked_and_stops_nothing_else(
    any_scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene = any_scene
    scene.deliver(outbound("queued", "msg_1", 1))
    unreadable = scene.append_unreadable("msg_1")
    scene.deliver(outbound("sent", "msg_1", 2), outbound("sent", "msg_2", 1), inbound("in_1"))

    scene.read_models.catch_up()

    assert scene.held("msg_1").message.status.value == "accepted"
    assert scene.held("msg_2").message.status.value == "sent"
    assert scene.read_models.conversation("conv_1").message_count == 1
    status = scene.read_models.projection_status(MESSAGE_STATUS)
    assert (status.lag_events, status.parked) == (0, 2)
    parked = scene.read_models.parked(MESSAGE_STATUS)
    assert [(each.topic, each.error.split(":")[0]) for each in parked] == [
        ("message.of-the-future", "UnreadableEvent"),
        ("message.sent", "an earlier event of this message is parked"),
    ]
    told = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert [each.split(",")[0] for each in told] == [
        f"the event at {unreadable} could not be projected into {name}" for name in (MESSAGE_STATUS,)
    ]


def test_a_status_tells_from_where_on_it_is_without_what_cannot_be_read(any_scene: Scene) -> None:
    scene = any_scene
    scene.deliver(outbound("queued", "msg_1", 1), outbound("queued", "msg_2", 1))
    parked_from = scene.append_unreadable("msg_1")
    scene.append_unreadable("msg_3")
    scene.deliver(outbound("sent", "msg_1", 2), outbound("sent", "msg_2", 2))
    scene.read_models.catch_up()

    statuses = [scene.read_models.current_status(f"msg_{number}") for number in (1, 2)]
    with pytest.raises(NotFound, match=r"its event at .* cannot be read"):
        scene.read_models.current_status("msg_3")
    with pytest.raises(NotFound, match="nothing is known"):
        scene.read_models.current_status("msg_4")

    told = [(each.message.status.value, each.parked_from) for each in statuses]
    assert told == [("accepted", parked_from), ("sent", None)]


def test_retry_heals_what_a_newer_program_can_read(any_scene: Scene) -> None:
    scene = any_scene
    scene.deliver(outbound("queued", "msg_1", 1))
    scene.append_unreadable("msg_1")
    scene.deliver(outbound("sent", "msg_1", 2), inbound("in_1"))
    scene.read_models.catch_up()
    assert scene.read_models.retry(MESSAGE_STATUS) == (0, 2)

    scene.ledger.codec = CodecOfTheFuture()
    scene.reopened()

    assert scene.read_models.retry(MESSAGE_STATUS) == (2, 0)
    status, _, parked_from = scene.read_models.current_status("msg_1")
    assert (status.status.value, status.event_count, parked_from) == ("sent", 3, None)
    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]


class CodecOfTheFuture(EventCodec):
    """Reads the events that today's does not know, as unknown kinds."""

    def decode(self, topic: str, state: bytes):  # type: ignore[no-untyped-def]  # noqa: ANN201 - as EventCodec's
        if topic == "message.of-the-future":
            example = outbound("read", "msg_1", 9)
            fact = SCENE_RECEPTION.receive((), str(example).replace("'", '"').encode(), now_us=START_US)
            return super().decode(fact.topic, fact.state)  # type: ignore[union-attr]
        return super().decode(topic, state)


def test_a_message_that_is_folded_again_is_folded_as_far_as_its_read_model_is(any_scene: Scene) -> None:
    scene = any_scene
    scene.deliver(outbound("queued", "msg_1", 1))
    scene.read_models.catch_up()
    scene.deliver(outbound("sent", "msg_1", 2))

    scene.read_models.rebuild_message(MESSAGE_STATUS, "msg_1")
    again = scene.held("msg_1").message.event_count
    scene.read_models.catch_up()

    assert (again, scene.held("msg_1").message.event_count) == (1, 2)
    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]


def test_the_liveness_check_goes_red_when_no_runner_is_alive_though_the_lag_reads_0(scene: Scene) -> None:
    (position,) = scene.deliver(outbound("sent", "msg_1", 1))
    scene.read_models.catch_up()

    status = scene.read_models.projection_status(MESSAGE_STATUS)
    assert (status.lag_events, status.state) == (0, "stopped")
    assert scene.read_models.readiness(None).reasons != []

    scene.read_models.start()
    assert reached(scene, position)
    until(lambda: scene.read_models.readiness(None).reasons == [])
    assert scene.read_models.projection_status(MESSAGE_STATUS).state == "live"


def test_lag_is_told_in_events_and_in_seconds(scene: Scene) -> None:
    scene.deliver(outbound("sent", "msg_1", 1), outbound("sent", "msg_2", 1))

    status = scene.read_models.projection_status(MESSAGE_STATUS)

    assert (status.position, status.head, status.lag_events) == ("0-0", "0-2", 2)
    assert status.lag_seconds > 0


def test_what_is_replayed_from_quarantine_is_not_behind_since_it_was_received(scene: Scene) -> None:
    scene.ledger.commit([kept_unread(body("message.sent", sequence=1), received_at_us=START_US)])
    scene.ledger.replay_quarantine()

    status = scene.read_models.projection_status(MESSAGE_STATUS)

    assert (status.lag_events, status.lag_seconds < LAG_S_MAX) == (1, True)
    assert [reason for reason in scene.read_models.readiness(None).reasons if "behind" in reason] == []


def test_read_models_of_another_log_are_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Scene(f"sqlite:///{tmp_path}/ledger.db") as scene:
        scene.deliver(outbound("sent", "msg_1", 1))
        scene.read_models.catch_up()
    read_models_of_another = (tmp_path / "ledger.db.read-models").read_bytes()
    for file in tmp_path.glob("ledger.db*"):
        file.unlink()
    with Scene(f"sqlite:///{tmp_path}/ledger.db") as other:
        other.deliver(outbound("sent", "msg_2", 1))
    (tmp_path / "ledger.db.read-models").write_bytes(read_models_of_another)

    with Scene(f"sqlite:///{tmp_path}/ledger.db") as other:
        other.read_models.catch_up()

        found = other.read_models.messages(MessageFilters()).items
        assert [each.message.message_id for each in found] == ["msg_2"]
    assert "because they are of another log: that of another ledger" in caplog.text


def test_a_log_that_ends_before_its_read_models_is_told_when_it_is_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    with Scene(f"sqlite:///{tmp_path}/ledger.db") as scene:
        scene.deliver(outbound("queued", "msg_1", 1))
        scene.ledger.database.tidy()
        scene.deliver(outbound("sent", "msg_1", 2), outbound("queued", "msg_2", 1))
        scene.read_models.catch_up()
        for file in tmp_path.glob("ledger.db*"):
            if file.name != "ledger.db-wal":
                shutil.copy(file, killed)

    with Scene(f"sqlite:///{killed}/ledger.db") as scene:
        scene.read_models.catch_up()
        assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]
        told = scene.read_models.damages

    (said,) = [each for each in caplog.records if each.name == "projections.opening"]
    assert said.levelname == "ERROR"
    lacks = "acknowledged events are missing: the read models had come to 0-3, and the log ends at 0-1"
    assert said.getMessage().startswith(lacks)
    assert [each.startswith(lacks) for each in told] == [True]


def test_dropping_the_file_of_the_read_models_loses_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Scene(url) as scene:
        scene.deliver(outbound("sent", "msg_1", 1), inbound("in_1"))
        scene.read_models.catch_up()
        before = [scene.live_rows(name) for name in NAMES]
    for file in tmp_path.glob("ledger.db.read-models*"):
        file.unlink()

    with Scene(url) as scene:
        scene.read_models.catch_up()
        assert [scene.live_rows(name) for name in NAMES] == before


def test_projecting_never_takes_the_lock_of_an_embedded_log(tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    with ledger, ReadModels.open(ledger) as read_models, ledger.database.writing():
        read_models.catch_up()

        assert read_models.projection_status(MESSAGE_STATUS).lag_events == 0


def test_that_it_is_far_behind_and_has_caught_up_is_a_line_each(
    any_scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runner_module, "FAR_BEHIND_EVENTS", 10)
    monkeypatch.setattr(runner_module, "LIVE", Bounds(2, 1_000_000))
    any_scene.deliver(*(outbound("queued", f"msg_{number}", 1) for number in range(60)))

    with caplog.at_level(logging.INFO, logger="projections"):
        any_scene.read_models.catch_up()
        any_scene.deliver(outbound("sent", "msg_1", 2))
        any_scene.read_models.catch_up()

    behind, caught_up = caplog.messages
    assert re.match(r"the read models are 60 events behind the log", behind)
    assert re.fullmatch(r"the read models have caught up, after \d+\.\d s", caught_up)


def test_a_pass_over_many_partitions_ends_after_the_batch_that_it_is_at(tmp_path: Path) -> None:
    batches, runners = list[object](), list[Runner]()

    @contextmanager
    def stopped_meanwhile(_name: str, told: Attributes) -> Iterator[None]:
        batches.append(told["partition"])
        runners[0].stop()
        yield

    with Scene(f"sqlite:///{tmp_path}/ledger.db", partitions=16, spans=stopped_meanwhile) as scene:
        scene.deliver(*(outbound("queued", f"msg_{number}", 1) for number in range(60)))
        runners.append(scene.read_models.new_runner())

        assert runners[0].pass_once()
        assert len(batches) == 1


def test_a_pass_that_is_stopped_after_a_failure_tells_of_it_and_not_that_all_is_well(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runners = list[Runner]()

    @contextmanager
    def failing(_name: str, _told: Attributes) -> Iterator[None]:
        yield
        runners[0].stop()
        raise RuntimeError("a partition fails")

    with Scene(f"sqlite:///{tmp_path}/ledger.db", partitions=16, spans=failing) as scene:
        scene.deliver(*(outbound("queued", f"msg_{number}", 1) for number in range(60)))
        runners.append(scene.read_models.new_runner())

        with pytest.raises(RuntimeError, match="a partition fails"):
            runners[0].pass_once()
    assert "caught up" not in caplog.text


def test_within_a_pass_over_many_partitions_the_runner_goes_on_showing_that_it_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = list[str]()

    @contextmanager
    def noted(_name: str, _told: Attributes) -> Iterator[None]:
        told.append("batch")
        yield

    def beat_and_tell(connection: Connection, projections: Sequence[str], name: str) -> None:
        told.append("beat")
        beat(connection, projections, name)

    monkeypatch.setattr(runner_module, "HEARTBEAT_S", 0.0)
    monkeypatch.setattr(runner_module, "beat", beat_and_tell)
    with Scene(f"sqlite:///{tmp_path}/ledger.db", partitions=16, spans=noted) as scene:
        scene.deliver(*(outbound("queued", f"msg_{number}", 1) for number in range(60)))
        scene.read_models.start()
        until(lambda: scene.read_models.projections()[0].lag_events == 0)

    assert told.count("batch") >= 16
    assert ("batch", "batch") not in pairwise(told)


def test_lag_is_told_with_what_its_seconds_are() -> None:
    told = [lag_in_words(0, 0.0), lag_in_words(1, 0.26), lag_in_words(12_345, 1_913.04)]

    assert told == [
        "up to date with the log",
        "1 event behind the log, the first of them recorded 0.3 s ago",
        "12,345 events behind the log, the first of them recorded 31 min ago",
    ]
