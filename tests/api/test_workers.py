"""The processes that work for a server, at the moments at which one of them, or somebody at the keyboard, ends it all."""

import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from api.serving import worker_process
from api.serving.worker_process import Told, WorkerProcess
from api.serving.workers import workers_of
from ledger.errors import StoreUnavailable


def waits(control: socket.socket, _told: Told) -> None:
    control.recv(1)


def test_a_worker_that_is_killed_before_it_has_begun_is_told_as_that() -> None:
    worker = WorkerProcess("works", waits)
    worker.kill()

    with pytest.raises(StoreUnavailable, match="the process that works could not begin; it was killed by signal 9"):
        worker.await_begin()

    worker.let_go()


def test_a_worker_that_does_not_begin_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "BEGINS_WITHIN_S", 0.2)
    worker = WorkerProcess("works", waits)

    with pytest.raises(StoreUnavailable, match="the process that works has not begun within 0 s"):
        worker.await_begin()

    worker.let_go()
    worker.join()


def test_where_no_process_can_be_started_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)

    with pytest.raises(
        StoreUnavailable, match="no process can be started that works: Resource temporarily unavailable"
    ):
        WorkerProcess("works", waits)


def test_a_ctrl_c_that_comes_while_they_are_forked_ends_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    begin = WorkerProcess.__init__
    begun: list[WorkerProcess] = []

    def interrupted(worker: WorkerProcess, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - whatever it takes
        signal.pthread_kill(
            threading.get_ident(), signal.SIGINT
        )  # other threads are the test runner's; a server has none yet
        begin(worker, *arguments, **named)
        begun.append(worker)

    monkeypatch.setattr(WorkerProcess, "__init__", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever an earlier test has left
    try:
        with pytest.raises(KeyboardInterrupt), workers_of(f"sqlite:///{tmp_path}/ledger.db"):
            raise AssertionError("it went on as if nothing had been said")
    finally:
        signal.signal(signal.SIGINT, before)

    assert [each._process.exitcode for each in begun] == [-signal.SIGKILL] * 2  # noqa: SLF001 - nobody else asks
