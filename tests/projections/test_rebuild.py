"""Rebuilding beside the live rows: nobody notices, and nothing that was built is lost."""

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from sqlalchemy import Connection, Index, inspect

from ledger.clock import now_us
from ledger.errors import NotFound, StoreUnavailable
from ledger.positions import Position
from ledger.store.database import Database
from ledger.store.driver import Row, fetch, run
from ledger.store.postgres import TIMEOUTS_MS
from projections import claims, comparison, differences, generations, lease, message_status
from projections import rebuild as rebuild_module
from projections import register as register_module
from projections import rows as rows_module
from projections.checkpoints import Generation, OvertakenByAnother
from projections.claims import LEASE_S, Cancelled, claim_rollback, is_running
from projections.differences import Tables
from projections.errors import NothingToRollBackTo, RebuildCancelled, RebuildPaused, RebuildRunning
from projections.generations import create_index, delete_some, has_table
from projections.inbound_conversations import (
    CONVERSATION_COLUMNS,
    INBOUND_CONVERSATIONS,
    PARTICIPANT_COLUMNS,
    conversation_key,
)
from projections.lease import RebuildProgress
from projections.log_batches import Bounds
from projections.message_ranges import MessageFilters
from projections.message_status import MESSAGE_STATUS
from projections.projecting import Projector
from projections.rebuild import Ending, Rebuild, RebuildReport
from projections.register import RegisterEntry, locked_entry, register_entry
from projections.rows import upsert
from tests import forks
from tests.engines import PrivatePostgres
from tests.projections.scene import Scene, inbound, outbound, projection_of

PID_OF_NOBODY = 2**22 + 1
"""More than Linux gives to any process."""
NAMES = (MESSAGE_STATUS, INBOUND_CONVERSATIONS)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small log has many of them, and progress is told after each."""
    monkeypatch.setattr(rebuild_module, "BATCH", Bounds(20, 1_000_000))
    monkeypatch.setattr(lease, "TELL_EVERY_S", 0.0)


def filled(scene: Scene, messages: int = 40) -> Scene:
    webhooks = []
    for number in range(messages):
        webhooks += [
            outbound("queued", f"msg_{number}", 1),
            inbound(f"in_{number}", f"conv_{number % 5}"),
            outbound("sent", f"msg_{number}", 2),
        ]
    scene.deliver(*webhooks)
    scene.read_models.catch_up()
    return scene


def break_rows(scene: Scene, statement: str) -> None:
    with scene.read_models.stores.rows.writing() as connection:
        connection.exec_driver_sql(statement)


def test_a_rebuild_gives_the_same_rows_and_says_so(any_scene: Scene) -> None:
    scene = filled(any_scene)
    before = [scene.live_rows(name) for name in NAMES]

    for name in NAMES:
        report = scene.read_models.claim_rebuild(name).run()

        # Of customers 40 messages, 5 conversations, and 2 participants of each.
        rows = 80 if name == MESSAGE_STATUS else 40 + 5 + 10
        assert (report.events, report.rows_compared, report.rows_differing) == (120, rows, 0)
    assert [scene.live_rows(name) for name in NAMES] == before
    with scene.read_models.stores.rows.reading() as connection:
        assert register_entry(connection, MESSAGE_STATUS).live == 2


def test_a_rebuild_tells_which_rows_differed_and_which_events_explain_them(scene: Scene) -> None:
    filled(scene)
    break_rows(scene, "UPDATE message_status_g1 SET status = 'failed' WHERE message_id = 'msg_7'")
    break_rows(scene, "DELETE FROM message_status_g1 WHERE message_id = 'in_9'")

    report = scene.read_models.claim_rebuild(MESSAGE_STATUS).run()

    assert report.rows_differing == 2
    examples = {example.key: example for example in report.examples}
    assert examples["msg_7"].columns == ("status",)
    assert examples["msg_7"].positions == (Position(0, 22), Position(0, 24))
    assert examples["in_9"].positions == (Position(0, 29),)
    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]


@pytest.mark.parametrize(
    "change, differing",
    [
        ("UPDATE message_status_g1 SET rowid = rowid + 100 WHERE message_id = 'msg_7'", 0),
        ("UPDATE message_status_g1 SET rowid = -rowid", 0),
        ("UPDATE message_status_g1 SET rowid = 0, stream_id = zeroblob(16) WHERE message_id = 'msg_7'", 2),
        ("UPDATE message_status_g1 SET rowid = 9000000000000000000, status = 'sent' WHERE message_id = 'in_9'", 1),
        ("UPDATE message_status_g1 SET position = 1, status = 'failed' WHERE message_id = 'msg_7'", 1),
        ("DELETE FROM message_status_g1 WHERE message_id IN ('msg_7', 'in_9', 'in_39')", 3),
        (
            "INSERT INTO message_status_g1 SELECT 0, x'00', 1, 'none', 'sent', null, null, null, null, null, null, 0, x''",
            1,
        ),
        ("UPDATE message_status_g1 SET stream_id = zeroblob(16) WHERE message_id = 'msg_7'", 2),
        ("UPDATE message_status_g1 SET stream_id = zeroblob(16), rowid = 199 WHERE message_id = 'msg_7'", 2),
    ],
)
def test_rows_are_compared_by_what_they_are_of_and_not_by_where_they_stand(
    sqlite_scene: Scene, monkeypatch: pytest.MonkeyPatch, change: str, differing: int
) -> None:
    monkeypatch.setattr(comparison, "ROWS_A_PART", 10)
    filled(sqlite_scene)
    break_rows(sqlite_scene, change)

    assert sqlite_scene.read_models.claim_rebuild(MESSAGE_STATUS).run().rows_differing == differing


def test_rows_in_their_places_are_not_looked_for_one_by_one(
    sqlite_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(differences, "differing")
    monkeypatch.setattr(comparison, "_parts", in_place)
    filled(sqlite_scene)

    report = sqlite_scene.read_models.claim_rebuild(MESSAGE_STATUS).run()

    assert (report.rows_compared, report.rows_differing) == (80, 0)


def test_what_is_summed_up_is_compared_as_well(any_scene: Scene) -> None:
    webhooks = [inbound("in_1", "conv_1"), inbound("in_2", "conv_2"), inbound("in_3", "conv_1", to=None)]
    positions = tuple(sorted(any_scene.deliver(*webhooks)[::2]))
    any_scene.deliver(inbound("in_4", "conv_3", **{"from": None}))
    any_scene.read_models.catch_up()
    conversation = f"conversation_key = {literal(any_scene, conversation_key('conv_1'))}"
    of_one = f"{conversation} AND participant = '+15550001111'"
    of_all = (
        "INSERT INTO conversation_participants_g5 SELECT partition, conversation_key, 'none', 0 FROM conversations_g5"
    )
    whole = tuple(f"conversations.{each}" for each in CONVERSATION_COLUMNS)
    whole_participant = tuple(f"conversation_participants.{each}" for each in PARTICIPANT_COLUMNS)
    latest = ("conversation_participants.last_message_at_us",)
    # Each is made good by the rebuild that tells it, and the next is made in the rows of that.
    changes: list[tuple[str, str, tuple[str, ...]]] = [
        ("UPDATE conversations_g1 SET number_id = 'num_9'", conversation, ("conversations.number_id",)),
        ("DELETE FROM conversations_g2", conversation, whole),
        ("UPDATE conversation_participants_g3 SET last_message_at_us = 1", of_one, latest),
        ("DELETE FROM conversation_participants_g4", of_one, whole_participant),
        (of_all, conversation, whole_participant),
    ]

    for change, where, columns in changes:
        break_rows(any_scene, f"{change} WHERE {where}")
        report = any_scene.read_models.claim_rebuild(INBOUND_CONVERSATIONS).run()
        assert (report.rows_differing, report.examples) == (1, [comparison.Difference("conv_1", columns, positions)])

    assert any_scene.read_models.claim_rebuild(INBOUND_CONVERSATIONS).run().rows_differing == 0


def test_a_row_of_the_last_of_all_keys_is_compared_as_well(any_scene: Scene) -> None:
    scene = filled(any_scene)
    last = literal(scene, b"\xff" * 16)
    break_rows(scene, f"UPDATE message_status_g1 SET stream_id = {last} WHERE message_id = 'msg_7'")  # noqa: S608 - a test's own names

    # One that is no message's, and one that is not there.
    assert scene.read_models.claim_rebuild(MESSAGE_STATUS).run().rows_differing == 2


def literal(scene: Scene, key: bytes) -> str:
    return f"x'{key.hex()}'" if scene.read_models.stores.rows.is_sqlite else f"'\\x{key.hex()}'"


def test_what_the_live_rows_are_ahead_or_behind_is_no_difference(
    any_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = filled(any_scene)
    rebuild = scene.read_models.claim_rebuild(INBOUND_CONVERSATIONS)
    index = rebuild._index  # noqa: SLF001 - between catching up and comparing

    def index_and_go_on() -> None:
        index()
        scene.deliver(inbound("new_1", "conv_1"), inbound("new_2", "conv_9", **{"from": "+15550002222"}))
        scene.read_models.catch_up()

    monkeypatch.setattr(rebuild, "_index", index_and_go_on)
    report = rebuild.run()

    # All of conv_1 but its messages: one row, and one for each of two participants; those of conv_9 are not in the new rows.
    assert (report.rows_compared, report.rows_differing) == (40 + 4 + 8, 0)

    assert scene.deliver(inbound("new_3", "conv_1"))
    assert scene.read_models.claim_rebuild(INBOUND_CONVERSATIONS).run().rows_differing == 0


def in_place(
    connection: Connection, _sides: comparison.Sides, tables: Tables, _partition: int
) -> tuple[comparison.Find, list[comparison.Range]]:
    return differences.differing_in_place, list(comparison._ranges_of_places(connection, tables))  # noqa: SLF001


def test_a_rebuilt_generation_has_all_indexes_also_where_its_rebuild_was_paused(scene: Scene) -> None:
    filled(scene)
    before = [index_names(scene, Generation(name, 1)) for name in NAMES]
    for name in NAMES:
        paused = scene.read_models.claim_rebuild(name)
        with pytest.raises(RebuildPaused):
            paused.run(stop_after(2, paused.pause))
        scene.read_models.claim_rebuild(name).run()

    assert [len(each) for each in before] == [7, 4]
    assert [index_names(scene, Generation(name, 2)) for name in NAMES] == before


def index_names(scene: Scene, generation: Generation) -> set[str]:
    mark = f"_g{generation.number}_"
    with scene.read_models.stores.rows.reading() as connection:
        return {
            name.replace(mark, "_")
            for kind in projection_of(scene, generation.projection).tables
            for name in generations.index_names(connection, kind.of(generation))
        }


def test_what_is_appended_during_a_rebuild_is_in_it(any_scene: Scene) -> None:
    scene = filled(any_scene)
    appended: list[Position] = []

    def append(_progress: RebuildProgress) -> None:
        if len(appended) < 30:
            number = len(appended)
            appended.extend(scene.deliver(outbound("delivery", f"msg_{number}", 3), inbound(f"new_{number}")))
            scene.read_models.catch_up()

    for name in NAMES:
        scene.read_models.claim_rebuild(name).run(append)
        appended.clear()
        scene.read_models.catch_up()

    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]
    assert scene.live_rows(INBOUND_CONVERSATIONS) == rebuilt_rows(scene, INBOUND_CONVERSATIONS)


def rebuilt_rows(scene: Scene, name: str) -> list[list[Row]]:
    scene.read_models.claim_rebuild(name).run()
    return scene.live_rows(name)


def test_reads_during_a_rebuild_are_never_empty_mixed_or_older(scene: Scene) -> None:
    filled(scene)
    scene.read_models.start()
    wrong: list[str] = []
    done = threading.Event()

    def read() -> None:
        seen = 0
        while not done.is_set():
            page = scene.read_models.messages(MessageFilters(), limit=1_000)
            if len(page.items) != 80:
                wrong.append(f"{len(page.items)} items")
            message = scene.held("msg_1").message
            if (message.sequence or 0) < seen:
                wrong.append(f"{message.sequence} after {seen}")
            seen = message.sequence or 0

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for sequence in range(3, 9):
        scene.deliver(outbound("sent", "msg_1", sequence))
        scene.read_models.wake()
        scene.read_models.claim_rebuild(MESSAGE_STATUS).run()
    done.set()
    for reader in readers:
        reader.join()

    assert wrong == []
    assert scene.read_models.current_status("msg_1").message.sequence == 8


def test_what_readers_of_the_live_rows_have_seen_is_in_those_that_take_their_place(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild = filled(scene).read_models.claim_rebuild(MESSAGE_STATUS)
    catch_up, sequences = rebuild._catch_up, count(3)  # noqa: SLF001 - right before the switch, after the last look at the log

    def catch_up_before_others_project() -> None:
        catch_up()
        scene.deliver(outbound("delivery", "msg_1", next(sequences)))
        scene.read_models.catch_up()

    monkeypatch.setattr(rebuild, "_catch_up", catch_up_before_others_project)
    rebuild.run()

    assert scene.held("msg_1").message.sequence == next(sequences) - 1


@pytest.mark.parametrize("events_max, catch_ups", [(3, 1), (2, 2)])
def test_a_switch_catches_up_with_few_events_and_leaves_many_to_another_look_at_the_log(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, events_max: int, catch_ups: int
) -> None:
    """Nobody writes while it does, so they are few; they may be several batches all the same."""
    monkeypatch.setattr(rebuild_module, "SWITCH_EVENTS_MAX", events_max)
    monkeypatch.setattr(rebuild_module, "BATCH", Bounds(1, 1_000_000))
    rebuild = filled(scene, 4).read_models.claim_rebuild(MESSAGE_STATUS)
    switch, catch_up, caught_up = rebuild._switch, rebuild._catch_up, list[None]()  # noqa: SLF001 - the others go on in between

    def catch_up_before_others_project() -> None:
        catch_up()
        if not caught_up:
            scene.deliver(*(outbound("delivery", "msg_1", sequence) for sequence in (3, 4, 5)))
            scene.read_models.catch_up()
        caught_up.append(None)

    def switch_while_others_project(compared: comparison.Comparison) -> RebuildReport:
        monkeypatch.setattr(rebuild, "_catch_up", catch_up_before_others_project)
        return switch(compared)

    monkeypatch.setattr(rebuild, "_switch", switch_while_others_project)
    rebuild.run()

    assert len(caught_up) == catch_ups
    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]


def test_nobody_moves_the_live_rows_on_between_the_last_look_at_them_and_the_switch(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores, moving = filled(scene).read_models.stores, list[threading.Thread]()
    generation = Generation(MESSAGE_STATUS, 1)
    live = Projector(stores.rows, stores.log, stores.codec, projection_of(scene, MESSAGE_STATUS), generation, 0)

    def move_on() -> None:
        with suppress(OvertakenByAnother):
            live.apply(live.batch(120, Bounds(1, 1_000_000)))

    def change_while_another_wants_to_move_on(connection: Connection, name: str, **columns: object) -> None:
        if "live" in columns:
            scene.deliver(outbound("delivery", "msg_1", 3))
            moving.append(threading.Thread(target=move_on))
            moving[0].start()
            moving[0].join(0.3)
            assert moving[0].is_alive()
        register_module.change(connection, name, **columns)

    monkeypatch.setattr(rebuild_module, "change", change_while_another_wants_to_move_on)
    scene.read_models.claim_rebuild(MESSAGE_STATUS).run()
    moving[0].join()

    scene.read_models.catch_up()
    assert scene.held("msg_1").message.sequence == 3


def stop_after(batches: int, stop: Callable[[], None]) -> Callable[[RebuildProgress], None]:
    told = iter(range(batches))

    def on_progress(_progress: RebuildProgress) -> None:
        if next(told, None) is None:
            stop()

    return on_progress


def test_a_paused_rebuild_goes_on_where_it_was(scene: Scene) -> None:
    filled(scene)
    first = scene.read_models.claim_rebuild(MESSAGE_STATUS)
    with pytest.raises(RebuildPaused):
        first.run(stop_after(3, first.pause))

    report = scene.read_models.claim_rebuild(MESSAGE_STATUS).run()

    assert 0 < report.events < 120
    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]


def test_after_a_pause_nobody_compares(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(scene)
    compared: Callable[..., object] = comparison._compared  # noqa: SLF001 - slowly, so that it lasts

    def slowly(*arguments: object) -> object:
        time.sleep(0.02)
        return compared(*arguments)

    monkeypatch.setattr(comparison, "_compared", slowly)
    monkeypatch.setattr(comparison, "EVENTS_A_PART", 2)
    rebuild = scene.read_models.claim_rebuild(MESSAGE_STATUS)

    def on_progress(progress: RebuildProgress) -> None:
        if progress.done == progress.total:
            rebuild.pause()

    with pytest.raises(RebuildPaused) as paused:
        rebuild.run(on_progress)

    assert paused.tb is not None  # which holds on to all that ran
    assert [each.name for each in threading.enumerate() if each.name.startswith("ledger-comparison")] == []


def test_a_cancelled_rebuild_leaves_the_live_rows_and_nothing_else(scene: Scene) -> None:
    filled(scene)
    before = scene.live_rows(MESSAGE_STATUS)
    rebuild = scene.read_models.claim_rebuild(MESSAGE_STATUS)

    with pytest.raises(RebuildCancelled):
        rebuild.run(stop_after(2, lambda: cancel(scene)))

    assert scene.live_rows(MESSAGE_STATUS) == before
    assert scene.read_models.claim_rebuild(MESSAGE_STATUS).run().events == 120


def test_what_was_cancelled_after_its_process_had_died_is_not_gone_on_with(scene: Scene) -> None:
    filled(scene)
    paused = scene.read_models.claim_rebuild(MESSAGE_STATUS)
    with pytest.raises(RebuildPaused):
        paused.run(stop_after(2, paused.pause))
    rows = scene.read_models.stores.rows
    with rows.writing() as connection:  # its host died a moment ago, and nobody can see that yet
        register_module.change(connection, MESSAGE_STATUS, rebuilder="elsewhere:1:0-ab", rebuilder_seen_us=now_us())
    cancel(scene)
    with rows.writing() as connection:
        register_module.change(connection, MESSAGE_STATUS, rebuilder_seen_us=now_us() - 60_000_000)

    assert scene.read_models.projection_status(MESSAGE_STATUS).rebuild is None
    assert scene.read_models.claim_rebuild(MESSAGE_STATUS).run().events == 120
    with rows.reading() as connection:
        assert register_entry(connection, MESSAGE_STATUS).live == 3
        assert not has_table(connection, "message_status_g2")


def test_a_rebuild_that_fails_at_its_first_look_gives_its_claim_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild = scene.read_models.claim_rebuild(MESSAGE_STATUS)
    monkeypatch.setattr(lease.Lease, "done", lambda _lease: raised(StoreUnavailable("the database is away")))
    with pytest.raises(StoreUnavailable):
        rebuild.run()
    monkeypatch.undo()

    assert scene.read_models.claim_rebuild(MESSAGE_STATUS).run().events == 0


def raised(error: Exception) -> int:
    raise error


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="only Linux tells of processes that nobody has asked after"
)
def test_a_process_that_was_killed_rebuilds_no_more_although_nobody_has_asked_after_it_yet(scene: Scene) -> None:
    scene.read_models.claim_rebuild(MESSAGE_STATUS)
    with scene.read_models.stores.rows.reading() as connection:
        claimed = register_entry(connection, MESSAGE_STATUS)
    host, _, rest = str(claimed.rebuilder).split(":")
    killed = subprocess.Popen(["sleep", "60"])
    theirs = claimed._replace(rebuilder=f"{host}:{killed.pid}:{rest}")
    before = is_running(theirs)
    killed.kill()
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)

    assert (before, is_running(theirs)) == (True, False)
    killed.wait()


def test_postgresql_knows_what_is_in_a_new_generation_before_it_is_compared(postgres: PrivatePostgres) -> None:
    with postgres.fresh_database() as url, Scene(url) as scene:
        filled(scene).read_models.claim_rebuild(MESSAGE_STATUS).run()
        with scene.read_models.stores.rows.reading() as connection:
            counted = "SELECT reltuples::int FROM pg_class WHERE relname = 'message_status_g2'"
            assert fetch(connection, counted) == [(80,)]


def test_an_index_that_a_killed_rebuild_is_still_making_is_waited_for(
    postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL goes on with what a client had begun that was killed, and takes it back once it is done."""
    monkeypatch.setitem(TIMEOUTS_MS, "lock_timeout", 200)
    index, begun = Rebuild._index, threading.Event()  # noqa: SLF001 - the step that meets it
    with postgres.fresh_database() as url, Scene(url) as scene, ThreadPoolExecutor() as another_thread:
        rows = scene.read_models.stores.rows

        def make_one() -> None:
            with suppress(BrokenPipeError), rows.writing() as connection:
                run(connection, "CREATE INDEX message_status_g2_by_status ON message_status_g2 (status)")
                begun.set()
                time.sleep(0.8)
                raise BrokenPipeError

        def beside_another(rebuild: Rebuild) -> None:
            if not begun.is_set():
                another_thread.submit(make_one)
                begun.wait()
            index(rebuild)

        monkeypatch.setattr(Rebuild, "_index", beside_another)

        assert filled(scene).read_models.claim_rebuild(MESSAGE_STATUS).run().events == 120


def test_sqlite_makes_one_index_after_the_other_however_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.store.sqlite.BUSY_TIMEOUT_MS", 300)
    made = generations.create_index

    def slowly(rows: Database, index: Index) -> None:
        made(rows, index)
        with rows.writing():
            time.sleep(0.4)  # longer than anybody waits for the connection that writes

    monkeypatch.setattr(rebuild_module, "create_index", slowly)
    with Scene(f"sqlite:///{tmp_path}/ledger.db") as scene:
        assert filled(scene).read_models.claim_rebuild(MESSAGE_STATUS).run().events == 120


def test_a_comparison_that_takes_long_lets_the_rebuild_show_that_it_is_alive(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "NEWS_EVERY_S", 0.02)
    compared = comparison._compared  # noqa: SLF001 - it is to take long

    def slowly(*arguments: Any) -> comparison.Comparison:  # noqa: ANN401 - whatever it takes
        time.sleep(0.3)
        return compared(*arguments)

    monkeypatch.setattr(comparison, "_compared", slowly)
    rebuild = filled(scene).read_models.claim_rebuild(MESSAGE_STATUS)
    looks: list[RebuildProgress] = []

    report = rebuild.run(looks.append)

    assert report.rows_differing == 0
    assert len(looks) > 12  # more than its batches and steps


def cancel(scene: Scene) -> None:
    assert scene.read_models.cancel_rebuild(MESSAGE_STATUS) is Cancelled.RUNNING


def test_cancelling_where_nothing_runs_says_so(scene: Scene) -> None:
    assert scene.read_models.cancel_rebuild(MESSAGE_STATUS) is Cancelled.NOTHING


def test_what_a_paused_rebuild_built_is_dropped_when_it_is_cancelled(scene: Scene) -> None:
    filled(scene)
    paused = scene.read_models.claim_rebuild(MESSAGE_STATUS)
    with pytest.raises(RebuildPaused):
        paused.run(stop_after(2, paused.pause))

    assert scene.read_models.cancel_rebuild(MESSAGE_STATUS) is Cancelled.CUT_OFF

    with scene.read_models.stores.rows.reading() as connection:
        assert not has_table(connection, "message_status_g2")
        assert fetch(connection, "SELECT generation FROM checkpoints WHERE generation > 1") == []


def test_a_rebuild_that_was_claimed_before_others_is_paused_when_the_read_models_stop(scene: Scene) -> None:
    filled(scene)
    claimed = scene.read_models.claim_rebuild(MESSAGE_STATUS)
    scene.read_models.claim_rebuild(INBOUND_CONVERSATIONS)

    scene.read_models.stop()

    with pytest.raises(RebuildPaused, match="message-status was paused"):
        claimed.run()


def test_rebuilds_that_are_claimed_in_two_threads_at_once_are_all_paused_when_the_read_models_stop(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_models, claimed = filled(scene).read_models, list[Rebuild]()
    another = threading.Thread(target=lambda: claimed.append(read_models.claim_rebuild(INBOUND_CONVERSATIONS)))
    earlier = read_models.claim_rebuild(MESSAGE_STATUS)
    earlier.run()

    def ending(rebuild: Rebuild) -> Ending | None:
        """Asked while the rebuilds are looked through: another thread then has time to claim one."""
        if another.ident is None:
            another.start()
            another.join(0.5)
        return Ending.DONE if rebuild is earlier else None

    monkeypatch.setattr(Rebuild, "ending", property(ending, lambda *_: None), raising=False)
    claimed.append(read_models.claim_rebuild(MESSAGE_STATUS))
    another.join()
    read_models.stop()

    for each in claimed:
        with pytest.raises(RebuildPaused):
            each.run()
    assert len(claimed) == 2


def test_a_rebuild_leaves_the_write_ahead_log_empty(sqlite_scene: Scene) -> None:
    scene, rows = filled(sqlite_scene), sqlite_scene.read_models.stores.rows
    rebuild = scene.read_models.claim_rebuild(MESSAGE_STATUS)

    with pytest.raises(RebuildPaused):
        rebuild.run(stop_after(2, rebuild.pause))

    assert Path(f"{rows.file}-wal").stat().st_size == 0


def test_a_second_start_is_refused_while_the_first_is_alive(scene: Scene) -> None:
    filled(scene, 2)
    scene.read_models.claim_rebuild(MESSAGE_STATUS)

    with pytest.raises(RebuildRunning, match=rf"runs in process {os.getpid()} on host \S+, last seen 0\.\d s ago"):
        scene.read_models.claim_rebuild(MESSAGE_STATUS)
    assert scene.read_models.projection_status(MESSAGE_STATUS).state == "rebuilding"
    scene.read_models.claim_rebuild(INBOUND_CONVERSATIONS).run()


def test_of_two_that_claim_at_once_one_is_refused(postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only on PostgreSQL do two sessions look at the register before either writes into it."""
    both_have_looked = threading.Barrier(2)

    def entry_and_the_other_looks(connection: Connection, name: str) -> RegisterEntry:
        found = register_entry(connection, name)
        both_have_looked.wait(60)
        return found

    monkeypatch.setattr(claims, "register_entry", entry_and_the_other_looks)
    with postgres.fresh_database() as url, Scene(url) as scene, ThreadPoolExecutor(2) as threads:
        claimed = [threads.submit(scene.read_models.claim_rebuild, MESSAGE_STATUS) for _ in range(2)]
        (refused,) = [error for each in claimed if (error := each.exception()) is not None]

    assert isinstance(refused, RebuildRunning)
    assert str(refused) == "another rebuild of message-status was started at the same moment"


def test_a_cancel_right_before_the_switch_is_obeyed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    rebuild = filled(scene).read_models.claim_rebuild(MESSAGE_STATUS)
    catch_up, catch_ups = rebuild._catch_up, count(1)  # noqa: SLF001 - the second is the last thing before the switch

    def catch_up_before_somebody_cancels() -> None:
        catch_up()
        if next(catch_ups) == 2:
            cancel(scene)

    monkeypatch.setattr(rebuild, "_catch_up", catch_up_before_somebody_cancels)
    with pytest.raises(RebuildCancelled):
        rebuild.run()

    with scene.read_models.stores.rows.reading() as connection:
        assert register_entry(connection, MESSAGE_STATUS).live == 1


def test_a_cancel_that_meets_the_switch_waits_for_it_and_is_told_that_nothing_is_rebuilt(
    postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres.fresh_database() as url, Scene(url) as scene, ThreadPoolExecutor(1) as threads:
        filled(scene)
        cancelled: list[Future[Cancelled]] = []

        def entry_and_somebody_cancels(connection: Connection, name: str) -> RegisterEntry:
            found = locked_entry(connection, name)
            cancelled.append(threads.submit(scene.read_models.cancel_rebuild, MESSAGE_STATUS))
            wait(cancelled, 0.3)
            return found

        monkeypatch.setattr("projections.rebuild.locked_entry", entry_and_somebody_cancels)
        scene.read_models.claim_rebuild(MESSAGE_STATUS).run()

        assert [each.result() for each in cancelled] == [Cancelled.NOTHING]
        with scene.read_models.stores.rows.reading() as connection:
            assert register_entry(connection, MESSAGE_STATUS).live == 2


def test_whether_a_process_is_dead_is_asked_only_where_its_id_was_counted(scene: Scene) -> None:
    """A container that has its host's network has its name as well, and other processes."""
    scene.read_models.claim_rebuild(MESSAGE_STATUS)
    with scene.read_models.stores.rows.reading() as connection:
        claimed = register_entry(connection, MESSAGE_STATUS)
    host, pid, namespace_and_token = str(claimed.rebuilder).split(":")
    assert int(pid) == os.getpid()

    here = claimed._replace(rebuilder=f"{host}:{PID_OF_NOBODY}:{namespace_and_token}")
    elsewhere = claimed._replace(rebuilder=f"{host}:{PID_OF_NOBODY}:1{namespace_and_token}")

    assert (is_running(here), is_running(elsewhere)) == (False, True)


@pytest.mark.parametrize("told", [1, 4])
@pytest.mark.parametrize("off_s", [-3_600, -5, 5, 3_600])
def test_a_clock_that_steps_during_a_rebuild_lets_one_of_two_rebuilders_end_it(
    scene: Scene, told: int, off_s: int
) -> None:
    """To others a step of the clock is a last sign of life that is as much too old, or in the future."""
    filled(scene)
    outcome: list[str] = []

    def step_and_claim() -> None:
        if outcome:
            return
        with scene.read_models.stores.rows.writing() as connection:
            seen_us = now_us() - off_s * 1_000_000
            register_module.change(connection, MESSAGE_STATUS, rebuilder_seen_us=seen_us)
        scene.deliver(outbound("delivery", "msg_1", 3))
        try:
            scene.read_models.claim_rebuild(MESSAGE_STATUS).run()
            outcome.append("taken over")
        except RebuildRunning:
            outcome.append("refused")

    first = scene.read_models.claim_rebuild(MESSAGE_STATUS)
    is_over = abs(off_s) > LEASE_S
    with pytest.raises(RebuildPaused) if is_over else nullcontext():
        first.run(stop_after(told, step_and_claim))

    assert outcome == ["taken over" if is_over else "refused"]
    scene.read_models.catch_up()
    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]
    assert scene.read_models.claim_rebuild(MESSAGE_STATUS).run().rows_differing == 0


@pytest.mark.parametrize("batches", [0, 2, 5])
def test_a_killed_rebuild_is_gone_on_with_at_once(scene: Scene, batches: int) -> None:
    filled(scene)
    killed = forks.run(
        scene.store_url, str(batches), program="tests.projections.killed_rebuild:main", environment=forks.environment()
    )
    assert killed.returncode == -signal.SIGKILL

    cut_off = scene.read_models.projection_status(MESSAGE_STATUS)
    report = scene.read_models.claim_rebuild(MESSAGE_STATUS).run()

    assert (cut_off.is_cut_off, cut_off.rebuild) == (True, RebuildProgress(120 - report.events, 120, 0.0, None))
    assert report.events <= 120 - 20 * max(batches - 2, 0)
    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]


def test_a_rollback_brings_the_previous_generation_back_caught_up(
    any_scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene = filled(any_scene)
    with pytest.raises(NothingToRollBackTo):
        scene.read_models.rollback(MESSAGE_STATUS)
    scene.read_models.claim_rebuild(MESSAGE_STATUS).run()
    scene.deliver(outbound("delivery", "msg_1", 3))
    scene.read_models.catch_up()

    with caplog.at_level(logging.INFO, logger="projections"):
        scene.read_models.rollback(MESSAGE_STATUS)

    with scene.read_models.stores.rows.reading() as connection:
        registered = register_entry(connection, MESSAGE_STATUS)
    assert (registered.live, registered.previous) == (1, 2)
    assert [each.partition(",")[0] for each in caplog.messages] == [
        "rolled message-status back: 1 events that it lacked"
    ]
    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]


def test_a_second_rollback_never_brings_back_what_the_first_took_away(scene: Scene) -> None:
    filled(scene).read_models.claim_rebuild(MESSAGE_STATUS).run()
    scene.read_models.rollback(MESSAGE_STATUS)

    with pytest.raises(NothingToRollBackTo, match="was rolled back already, at 2"):
        scene.read_models.rollback(MESSAGE_STATUS)

    scene.read_models.claim_rebuild(MESSAGE_STATUS).run()
    scene.read_models.rollback(MESSAGE_STATUS)
    with scene.read_models.stores.rows.reading() as connection:
        assert register_entry(connection, MESSAGE_STATUS).live == 1


def test_a_cancelled_rollback_drops_nothing_of_a_rebuild_that_was_cut_off_before(scene: Scene) -> None:
    filled(scene).read_models.claim_rebuild(MESSAGE_STATUS).run()
    paused = scene.read_models.claim_rebuild(MESSAGE_STATUS)
    with pytest.raises(RebuildPaused):
        paused.run(stop_after(3, paused.pause))
    cut_off = scene.read_models.projection_status(MESSAGE_STATUS).rebuild
    stores, projection = scene.read_models.stores, projection_of(scene, MESSAGE_STATUS)

    rollback, _ = claim_rollback(stores, projection, scene.read_models.wake)
    cancel(scene)
    with pytest.raises(RebuildCancelled):
        rollback.run()

    assert cut_off is not None
    assert scene.read_models.projection_status(MESSAGE_STATUS).rebuild == cut_off
    assert scene.read_models.claim_rebuild(MESSAGE_STATUS).run().events == 120 - cut_off.done


def test_one_message_is_folded_again_by_itself(any_scene: Scene) -> None:
    scene = filled(any_scene)
    break_rows(scene, "UPDATE message_status_g1 SET status = 'failed' WHERE message_id = 'msg_7'")
    break_rows(scene, "DELETE FROM inbound_messages_g1 WHERE message_id = 'in_7'")

    assert scene.read_models.rebuild_message(MESSAGE_STATUS, "msg_7")
    assert not scene.read_models.rebuild_message(MESSAGE_STATUS, "msg_7")
    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]
    with pytest.raises(NotFound):
        scene.read_models.rebuild_message(MESSAGE_STATUS, "msg_nobody")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE inbound_messages_g1 SET ordered_at_us = 1 WHERE message_id = 'in_7'",
        "DELETE FROM inbound_messages_g1 WHERE message_id = 'in_7'",
        "UPDATE conversations_g1 SET last_message_at_us = 1 WHERE conversation_id = 'conv_2'",
        "DELETE FROM conversations_g1 WHERE conversation_id = 'conv_2'",
        "UPDATE conversation_participants_g1 SET last_message_at_us = 1",
    ],
)
def test_what_one_message_is_summed_up_in_is_made_again_and_told_as_well(any_scene: Scene, damage: str) -> None:
    scene = filled(any_scene)
    messages, conversations, participants = scene.live_rows(INBOUND_CONVERSATIONS)
    break_rows(scene, damage)

    assert scene.read_models.rebuild_message(INBOUND_CONVERSATIONS, "in_7")
    assert not scene.read_models.rebuild_message(INBOUND_CONVERSATIONS, "in_7")

    mended = scene.live_rows(INBOUND_CONVERSATIONS)
    assert mended[:2] == [messages, conversations]
    key = conversation_key("conv_2")
    assert [row for row in mended[2] if row[1] == key] == [row for row in participants if row[1] == key]


def test_a_row_is_not_said_to_have_been_wrong_because_webhooks_arrive(
    any_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = filled(any_scene)
    rows, sequences = scene.read_models.stores.rows, count(3)
    write, arriving = rows.writing, Lock()

    def let_one_arrive_and_write() -> AbstractContextManager[Connection]:
        if arriving.acquire(blocking=False):
            scene.deliver(outbound("sent", "msg_7", next(sequences)))
            scene.read_models.catch_up()
            arriving.release()
        return write()

    monkeypatch.setattr(rows, "writing", let_one_arrive_and_write)

    assert not scene.read_models.rebuild_message(MESSAGE_STATUS, "msg_7")
    assert next(sequences) > 3


def test_a_message_folded_again_is_counted_once_in_its_conversation(any_scene: Scene) -> None:
    scene = filled(any_scene)
    before = scene.live_rows(INBOUND_CONVERSATIONS)

    assert not scene.read_models.rebuild_message(INBOUND_CONVERSATIONS, "in_7")

    assert scene.live_rows(INBOUND_CONVERSATIONS) == before


def test_small_events_on_large_rows_are_projected_a_few_at_a_time(
    any_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, written = any_scene, list[int]()
    scene.deliver(*(outbound("failed", f"msg_{number}", 2, error="x" * 5_000) for number in range(40)))
    scene.read_models.catch_up()
    scene.read_models.claim_rebuild(MESSAGE_STATUS).run()
    scene.deliver(*(outbound("sent", f"msg_{number}", 1) for number in range(40)))

    def told(
        connection: Connection,
        table: str,
        columns: tuple[str, ...],
        keys: int,
        rows: Sequence[Row],
        *,
        unchanged: tuple[str, ...] = (),
    ) -> None:
        written.append(sum(len(row[-1]) for row in rows))
        upsert(connection, table, columns, keys, rows, unchanged=unchanged)

    monkeypatch.setattr(message_status, "upsert", told)
    monkeypatch.setattr(message_status, "STATES_BYTES_MAX", 20_000)
    monkeypatch.setattr(message_status, "STATES_A_TIME", 4)
    scene.read_models.catch_up()
    scene.read_models.rollback(MESSAGE_STATUS)  # which folds the same on, with the batches of a rebuild

    assert max(written) < 20_000 + 4 * 6_000
    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]
    assert scene.read_models.projection_status(MESSAGE_STATUS).parked == 0


def test_one_statement_writes_few_large_rows(sqlite_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, written = sqlite_scene, list[int]()

    def told(connection: Connection, statement: str, values: Sequence[object] = ()) -> object:
        written.append(sum(len(value) for value in values if isinstance(value, bytes)))
        return run(connection, statement, values)

    monkeypatch.setattr(rows_module, "run", told)
    monkeypatch.setattr(rows_module, "STATEMENT_BYTES_MAX", 20_000)
    scene.deliver(*(outbound("failed", f"msg_{number}", 2, error="x" * 5_000) for number in range(40)))
    scene.read_models.catch_up()

    assert 10_000 < max(written) < 20_000
    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]


def test_an_event_that_cannot_be_projected_does_not_stop_a_rebuild(any_scene: Scene) -> None:
    scene = any_scene
    filled(scene, 10)
    for number in (3, 5):
        scene.append_unreadable(f"msg_{number}")
        scene.deliver(outbound("delivery", f"msg_{number}", 3))
    filled(scene, 20)
    before = scene.live_rows(MESSAGE_STATUS)

    scene.read_models.claim_rebuild(MESSAGE_STATUS).run()

    assert scene.live_rows(MESSAGE_STATUS) == before
    assert scene.read_models.projection_status(MESSAGE_STATUS).parked == 4


def test_old_generations_are_dropped_and_one_is_kept(scene: Scene) -> None:
    filled(scene, 5)
    for _ in range(3):
        scene.read_models.claim_rebuild(MESSAGE_STATUS).run()

    with scene.read_models.stores.rows.reading() as connection:
        registered = register_entry(connection, MESSAGE_STATUS)
        assert (registered.live, registered.previous, registered.shadow) == (4, 3, None)
    for gone in (1, 2):
        with pytest.raises(Exception, match="message_status_g"):
            break_rows(scene, f"DELETE FROM message_status_g{gone}")  # noqa: S608 - a test's own names


def test_progress_is_told_and_can_be_read_from_anywhere(scene: Scene) -> None:
    filled(scene)
    told: list[RebuildProgress] = []

    def on_progress(progress: RebuildProgress) -> None:
        status = scene.read_models.projection_status(MESSAGE_STATUS)
        assert status.rebuild is not None
        assert (status.state, status.rebuild[:2]) == ("rebuilding", progress[:2])
        told.append(progress)

    scene.read_models.claim_rebuild(MESSAGE_STATUS).run(on_progress)

    assert [progress.done for progress in told] == sorted(progress.done for progress in told)
    assert (told[-1].done, told[-1].total) == (120, 120)
    assert scene.read_models.projection_status(MESSAGE_STATUS).rebuild is None


def test_a_pause_does_not_wait_until_a_large_old_generation_is_dropped(
    sqlite_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = filled(sqlite_scene)
    monkeypatch.setattr(generations, "DROP_ROWS_A_TIME", 1)
    scene.read_models.claim_rebuild(MESSAGE_STATUS).run()
    rebuild = scene.read_models.claim_rebuild(MESSAGE_STATUS)
    deleted: list[str] = []

    def delete_one(connection: Connection, table: str) -> int:
        deleted.append(table)
        rebuild.pause()
        return delete_some(connection, table)

    monkeypatch.setattr(generations, "delete_some", delete_one)
    rebuild.run()
    assert deleted == ["message_status_g1"]

    monkeypatch.undo()
    scene.read_models.claim_rebuild(MESSAGE_STATUS).run()
    with scene.read_models.stores.rows.reading() as connection:
        assert not has_table(connection, "message_status_g1")


def test_how_a_rebuild_ended_is_in_the_log_output_before_the_old_rows_are_dropped(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    filled(scene)
    told: list[str] = []
    monkeypatch.setattr(lease, "drop_all_but_those_kept", lambda *_: told.extend(caplog.messages))

    with caplog.at_level(logging.INFO, logger="projections"):
        scene.read_models.claim_rebuild(MESSAGE_STATUS).run()

    (line,) = told
    assert line.startswith("rebuilt message-status: 120 events in ")
    assert line.endswith("s; 80 rows were compared, 0 of them differed")


def test_rows_that_differed_are_in_the_log_output_of_a_server(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    filled(scene)
    break_rows(scene, "UPDATE message_status_g1 SET status = 'failed' WHERE message_id = 'msg_7'")

    rebuild = scene.read_models.claim_rebuild(MESSAGE_STATUS)
    rebuild.start()
    rebuild._thread.join()  # type: ignore[union-attr]  # noqa: SLF001 - as a server never waits for it

    told = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert told == ["the row of message-status with the events 0-22, 0-24 was not as the log says, in: status"]


def test_where_a_rebuild_was_cut_off_is_in_the_log_output(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    filled(scene)
    rebuild = scene.read_models.claim_rebuild(MESSAGE_STATUS)
    rebuild.pause()

    with caplog.at_level(logging.INFO, logger="projections"):
        rebuild.start()
        rebuild.pause()

    (line,) = caplog.messages
    assert line.startswith(
        "the rebuild of message-status was cut off at 0 of 120 events; `ledger rebuild message-status`"
    )
    status = scene.read_models.projection_status(MESSAGE_STATUS)
    assert (status.state, status.is_cut_off) == ("stopped", True)


@pytest.mark.parametrize("late_rows_max, rows_then", [(2_000_000, 40), (20, 20)])
def test_an_index_with_random_keys_is_made_after_the_rows_but_not_after_too_many(
    sqlite_scene: Scene, monkeypatch: pytest.MonkeyPatch, late_rows_max: int, rows_then: int
) -> None:
    """On SQLite nobody writes while an index is made, and with all rows in it from the start each row changed a page of it."""
    scene, made = sqlite_scene, dict[str, int]()
    scene.deliver(*(outbound("sent", f"msg_{number}", 1, providerMessageRef=f"SM{number}") for number in range(40)))
    scene.read_models.catch_up()

    def told(rows: Database, index: Index) -> None:
        with rows.reading() as connection:
            is_there = index.name in {each["name"] for each in inspect(connection).get_indexes(f"{index.table}")}
            (count,) = connection.exec_driver_sql(f"SELECT count(*) FROM {index.table}").one()  # noqa: S608 - our name
        if not is_there:
            made[str(index.name)] = count
        create_index(rows, index)

    monkeypatch.setattr(rebuild_module, "create_index", told)
    monkeypatch.setattr(rebuild_module, "BATCH", Bounds(events_max=10, bytes_max=1_000_000))
    monkeypatch.setattr(rebuild_module, "LATE_ROWS_MAX", late_rows_max)
    scene.read_models.claim_rebuild(MESSAGE_STATUS).run()

    assert made == {"message_status_g2_by_provider_message_ref": rows_then}
    assert index_names(scene, Generation(MESSAGE_STATUS, 1)) == index_names(scene, Generation(MESSAGE_STATUS, 2))
