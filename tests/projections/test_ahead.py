"""Batches that another process prepares are those that are prepared here; and whatever becomes of it, the rebuild ends."""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from projections import ahead, lease
from projections import rebuild as rebuild_module
from projections.checkpoints import Checkpoint
from projections.errors import RebuildPaused
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.lease import RebuildProgress
from projections.log_batches import Batch, Bounds
from projections.message_status import MESSAGE_STATUS
from projections.projecting import Prepared, Projector
from tests import forks
from tests.projections.scene import Scene, outbound
from tests.projections.test_rebuild import filled

NAMES = (MESSAGE_STATUS, INBOUND_CONVERSATIONS)
ENDS_WITHIN_S = 10.0


@pytest.fixture(autouse=True)
def always_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "AHEAD_EVENTS_MIN", 1)
    monkeypatch.setattr(ahead, "BEGUN_WITHIN_S", 60.0)
    monkeypatch.setattr(rebuild_module, "BATCH", Bounds(20, 1_000_000))
    monkeypatch.setattr(lease, "TELL_EVERY_S", 0.0)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions after which this process prepared a batch by itself."""
    positions: list[int] = []
    prepare_next = ahead._prepare_next  # noqa: SLF001 - what is done ahead or here

    def noted(bounds: Bounds, projector: Projector, before: Checkpoint) -> Prepared | None:
        prepared = prepare_next(bounds, projector, before)
        if prepared is not None:
            positions.append(before.position)
        return prepared

    monkeypatch.setattr(ahead, "_prepare_next", noted)
    return positions


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Those that were started to prepare batches."""
    started: list[subprocess.Popen[bytes]] = []
    popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen

    def noted(*arguments: object, **named: object) -> subprocess.Popen[bytes]:
        started.append(popen(*arguments, **named))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    return started


def test_all_batches_are_prepared_ahead_once_and_the_rows_are_those_of_the_runner(
    any_scene: Scene, monkeypatch: pytest.MonkeyPatch, here: list[int]
) -> None:
    scene = filled(any_scene)
    scene.deliver(outbound("failed", "msg_1", 9, error={"code": 42}), outbound("sent", "msg_1", 9))
    scene.send("msg_2", reference="order-2")
    scene.read_models.catch_up()
    before = [scene.live_rows(name) for name in NAMES]
    again = list[int]()
    apply = Projector.apply

    def noted(projector: Projector, batch: Batch) -> Checkpoint:
        again.append(batch.after)
        return apply(projector, batch)

    monkeypatch.setattr(Projector, "apply", noted)
    here.clear()

    reports = [scene.read_models.claim_rebuild(name).run() for name in NAMES]

    assert [(report.events, report.rows_differing) for report in reports] == [(123, 0), (123, 0)]
    assert (here, again) == ([], [])
    assert [scene.live_rows(name) for name in NAMES] == before


def test_where_it_may_not_make_way_for_others_it_prepares_all_the_same(
    sqlite_scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: list[int]
) -> None:
    """As under docs/deploy/ledger.service, whose filter answers such system calls with EPERM."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\ndef refused(_):\n    raise PermissionError(1, 'Operation not permitted')\nos.nice = refused\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    scene = filled(sqlite_scene)
    here.clear()

    report = scene.read_models.claim_rebuild(MESSAGE_STATUS).run()

    assert (report.events, report.rows_differing, here) == (120, 0, [])


def test_what_it_cannot_prepare_and_the_rebuild_can_is_said(
    sqlite_scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene = filled(sqlite_scene)
    monkeypatch.setattr(ahead.Ahead, "_asked_for", lambda *_: "TypeError (at projections/ahead.py:1)")

    report = scene.read_models.claim_rebuild(MESSAGE_STATUS).run()

    assert (report.events, report.rows_differing) == (120, 0)
    assert caplog.messages[0] == (
        "the process that prepares batches for a rebuild could not do so after 0-0, but the rebuild could: "
        "TypeError (at projections/ahead.py:1)"
    )


def test_an_event_that_it_cannot_project_is_parked_and_it_goes_on_behind(scene: Scene, here: list[int]) -> None:
    scene.append_unreadable("msg_3")
    filled(scene)
    before = scene.live_rows(MESSAGE_STATUS)
    here.clear()

    scene.read_models.claim_rebuild(MESSAGE_STATUS).run()

    assert here == []
    assert scene.live_rows(MESSAGE_STATUS) == before
    assert scene.read_models.projection_status(MESSAGE_STATUS).parked == 3


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGSTOP])
def test_when_it_dies_or_stands_still_the_rebuild_goes_on_and_says_so(
    scene: Scene,
    ending: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    here: list[int],
    processes: list[subprocess.Popen[bytes]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ahead, "ANSWERS_WITHIN_S", 0.5)
    filled(scene)
    here.clear()

    def end_it(progress: RebuildProgress) -> None:
        if progress.done == 40:
            processes[0].send_signal(ending)

    report = scene.read_models.claim_rebuild(MESSAGE_STATUS).run(end_it)

    assert (report.events, report.rows_differing) == (120, 0)
    assert len(here) > 0
    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]
    assert "ended with -9; the rebuild goes on without it" in caplog.text


def test_a_rebuild_can_be_paused_while_it_waits(
    sqlite_scene: Scene, monkeypatch: pytest.MonkeyPatch, processes: list[subprocess.Popen[bytes]]
) -> None:
    monkeypatch.setattr(ahead, "LOOK_EVERY_S", 0.01)
    rebuild = filled(sqlite_scene).read_models.claim_rebuild(MESSAGE_STATUS)
    waited: list[int] = []

    def stop_it_and_pause(progress: RebuildProgress) -> None:
        if progress.done < 40:
            return
        processes[0].send_signal(signal.SIGSTOP)
        waited.append(progress.done)
        if waited.count(waited[-1]) == 3:
            rebuild.pause()

    with pytest.raises(RebuildPaused, match="was paused"):
        rebuild.run(stop_it_and_pause)


def test_where_no_process_can_be_started_the_rebuild_goes_on_and_says_so(
    sqlite_scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene = filled(sqlite_scene)

    def refused(*_arguments: object, **_named: object) -> None:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refused)

    report = scene.read_models.claim_rebuild(MESSAGE_STATUS).run()

    assert (report.events, report.rows_differing) == (120, 0)
    assert caplog.record_tuples == [
        (
            "projections.ahead",
            logging.WARNING,
            "no process can be started to prepare batches (Resource temporarily unavailable): the rebuild goes on without it",
        )
    ]


def test_it_is_gone_when_the_rebuild_is_over(sqlite_scene: Scene, processes: list[subprocess.Popen[bytes]]) -> None:
    filled(sqlite_scene).read_models.claim_rebuild(MESSAGE_STATUS).run()

    assert [process.returncode for process in processes] == [-signal.SIGKILL]
    assert process_shown(processes[0]) == "ledger: prepares batches for the rebuild of message-status"


def process_shown(process: subprocess.Popen[bytes]) -> object:
    """The end of its line in `ps`."""
    assert isinstance(process.args, list)
    return process.args[-1]


def test_it_ends_when_the_rebuild_is_killed(sqlite_scene: Scene, tmp_path: Path) -> None:
    scene = filled(sqlite_scene)
    told = tmp_path / "pids"
    killed = forks.run(
        scene.store_url,
        "2",
        str(told),
        program="tests.projections.killed_rebuild:main",
        environment=forks.environment(),
    )
    assert killed.returncode == -signal.SIGKILL

    pid = int(told.read_text())
    give_up_s = time.monotonic() + ENDS_WITHIN_S
    while is_running(pid) and time.monotonic() < give_up_s:
        time.sleep(0.01)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
