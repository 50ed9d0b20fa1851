"""For any history and any crash: what is projected bit by bit, what is rebuilt, and a plain fold of the log are the same."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ledger.errors import NotFound
from projections import lease
from projections import rebuild as rebuild_module
from projections.checkpoints import Checkpoint, OvertakenByAnother
from projections.errors import NothingToRollBackTo, RebuildPaused
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.lease import RebuildProgress
from projections.log_batches import Bounds
from projections.message_ranges import MessageFilters
from projections.message_status import MESSAGE_STATUS, decode_message
from projections.projecting import Projector
from projections.register import live
from tests.engines import PrivatePostgres
from tests.projections.scene import JSON, START_US, Scene, inbound, outbound, projection_of

PARTITIONS = 2
Url = Callable[[], AbstractContextManager[str]]

names = st.sampled_from([MESSAGE_STATUS, INBOUND_CONVERSATIONS])
MESSAGE_IDS = ("msg_1", "msg_2", "msg_3")
message_ids = st.sampled_from(MESSAGE_IDS)
clock_us = st.integers(START_US - 5, START_US + 5)


@st.composite
def webhooks(draw: st.DrawFn) -> JSON:
    message_id, number = draw(message_ids), draw(st.integers(0, 4))
    match draw(st.sampled_from(["outbound", "inbound", "unknown"])):
        case "outbound":
            kind = draw(st.sampled_from(["queued", "sent", "delivery", "failed"]))
            return outbound(kind, message_id, number, errorCode=f"code_{number}", externalReference=f"order_{number}")
        case "inbound":
            said = {"from": f"+1555{number}", "numberId": f"num_{number}", "occurredAt": START_US // 1_000_000 - number}
            return inbound(message_id, draw(st.sampled_from(["conv_1", "conv_2", None])), **said)
        case _:
            return {"eventType": "message.read", "messageId": message_id, "sequence": number}


class Crash(Exception):
    """The process ended here."""


class ReadModelsMachine(RuleBasedStateMachine):
    """Appends, projects bit by bit, crashes, rebuilds, rolls back; and reads after every step."""

    url: ClassVar[Url]

    @initialize()
    def open(self) -> None:
        rebuild_module.BATCH = Bounds(2, 1_000_000)
        lease.TELL_EVERY_S = 0.0
        self.place = type(self).url()
        self.scene = Scene(self.place.__enter__(), partitions=PARTITIONS)
        self.seen: dict[str, int] = {}

    @rule(several=st.lists(webhooks(), min_size=1, max_size=6), at_us=clock_us)
    def deliver(self, several: list[JSON], at_us: int) -> None:
        self.scene.deliver(*several, at_us=at_us)

    @rule(message_id=message_ids)
    def accept(self, message_id: str) -> None:
        self.scene.send(message_id)

    @rule(message_id=message_ids)
    def append_unreadable(self, message_id: str) -> None:
        self.scene.append_unreadable(message_id)

    @rule(name=names, partition=st.integers(0, PARTITIONS - 1), size=st.integers(1, 4))
    def project(self, name: str, partition: int, size: int) -> None:
        projector = self.projector(name, partition)
        batch = projector.batch(self.position(projector).position, Bounds(size, 1_000_000))
        if batch.events:
            projector.apply(batch)

    @rule(name=names, partition=st.integers(0, PARTITIONS - 1))
    def crash_before_the_commit(self, name: str, partition: int) -> None:
        projector = self.projector(name, partition)
        batch = projector.batch(self.position(projector).position, Bounds(3, 1_000_000))
        if batch.events and all(event[3] != "message.of-the-future" for event in batch.events):
            try:
                with self.scene.read_models.stores.rows.writing() as connection:
                    projector.apply_within(connection, batch)
                    raise Crash  # noqa: TRY301 - it is the point
            except Crash:
                self.scene.reopened()

    @rule(name=names, partition=st.integers(0, PARTITIONS - 1))
    def another_runner_is_faster(self, name: str, partition: int) -> None:
        slow, fast = self.projector(name, partition), self.projector(name, partition)
        batch = slow.batch(self.position(slow).position, Bounds(2, 1_000_000))
        if batch.events and all(event[3] != "message.of-the-future" for event in batch.events):
            prepared = slow.prepare(batch, self.position(slow))
            fast.apply(batch)
            with pytest.raises(OvertakenByAnother):
                slow.commit(prepared)

    @rule(name=names, batches=st.integers(0, 3))
    def rebuild_until_killed(self, name: str, batches: int) -> None:
        rebuild = self.scene.read_models.claim_rebuild(name)
        told = iter(range(batches))

        def on_progress(_progress: RebuildProgress) -> None:
            if next(told, None) is None:
                rebuild.pause()

        try:
            rebuild.run(on_progress)
        except RebuildPaused:
            self.scene.reopened()

    @rule(name=names)
    def roll_back(self, name: str) -> None:
        try:
            self.scene.read_models.rollback(name)
        except NothingToRollBackTo:
            return

    @rule(name=names)
    def retry(self, name: str) -> None:
        healed, _ = self.scene.read_models.retry(name)
        assert healed == 0

    @rule(name=names, message_id=message_ids)
    def rebuild_a_message(self, name: str, message_id: str) -> None:
        if not self.has_unreadable(message_id):
            try:
                assert not self.scene.read_models.rebuild_message(name, message_id)
            except NotFound:
                return

    @invariant()
    def no_status_moves_to_a_lower_sequence(self) -> None:
        if not hasattr(self, "scene"):
            return
        for row in self.scene.live_rows(MESSAGE_STATUS)[0]:
            message = decode_message(row[-1])
            assert (message.sequence or 0) >= self.seen.get(message.message_id, 0)
            self.seen[message.message_id] = message.sequence or 0

    @invariant()
    def a_status_is_the_fold_of_the_log_wherever_the_read_model_is(self) -> None:
        if not hasattr(self, "scene"):
            return
        folded = {row[3]: row for row in self.scene.folded_rows()}
        for message_id in MESSAGE_IDS:
            try:
                status = self.scene.read_models.current_status(message_id)
            except NotFound:
                assert message_id not in folded
                continue
            expected = folded[message_id]
            assert (status.position.number, status.message) == (expected[2], decode_message(expected[-1]))
            assert (status.parked_from is not None) == self.has_unreadable(message_id)

    def teardown(self) -> None:
        if not hasattr(self, "scene"):
            return
        try:
            self.compare()
        finally:
            self.scene.__exit__()
            self.place.__exit__(None, None, None)

    def compare(self) -> None:
        scene = self.scene
        scene.read_models.catch_up()
        assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]
        self.compare_conversations()
        for name in (MESSAGE_STATUS, INBOUND_CONVERSATIONS):
            incremental = scene.live_rows(name)
            assert scene.read_models.claim_rebuild(name).run().rows_differing == 0
            assert scene.live_rows(name) == incremental

    def compare_conversations(self) -> None:
        entries = self.scene.created_messages()
        for conversation_id in ("conv_1", "conv_2"):
            created = [
                (occurred_or_received_us, position, message_id)
                for message_id, created_in, occurred_or_received_us, position in entries
                if created_in == conversation_id
            ]
            try:
                count = self.scene.read_models.conversation(conversation_id).message_count
                shown = self.scene.read_models.conversation_messages(conversation_id).items
            except NotFound:
                count, shown = 0, []
            assert count == len(created)
            assert [each.message_id for each in shown] == [message_id for *_, message_id in sorted(created)]

    def projector(self, name: str, partition: int) -> Projector:
        stores = self.scene.read_models.stores
        with stores.rows.reading() as connection:
            generation = live(connection, name).generation
        return Projector(stores.rows, stores.log, stores.codec, projection_of(self.scene, name), generation, partition)

    def position(self, projector: Projector) -> Checkpoint:
        with self.scene.read_models.stores.rows.reading() as connection:
            return projector.position(connection)

    def has_unreadable(self, message_id: str) -> bool:
        return message_id in self.scene.unreadable


def run(url: Url, examples: int, steps: int) -> None:
    machine = type("Machine", (ReadModelsMachine,), {"url": staticmethod(url)})
    before = rebuild_module.BATCH, lease.TELL_EVERY_S
    try:
        run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=steps))
    finally:
        rebuild_module.BATCH, lease.TELL_EVERY_S = before


@contextmanager
def fresh_file() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="ledger-test-") as folder:
        yield f"sqlite:///{folder}/ledger.db"


def test_any_history_and_any_crash_on_sqlite() -> None:
    run(fresh_file, 12, 15)


def test_any_history_and_any_crash_on_postgresql(postgres: PrivatePostgres) -> None:
    run(postgres.fresh_database, 4, 12)


@pytest.mark.campaign
def test_any_history_and_any_crash_for_long(postgres: PrivatePostgres) -> None:
    run(fresh_file, 3_000, 50)
    run(postgres.fresh_database, 500, 50)


updates = st.lists(st.tuples(st.integers(0, 9), clock_us), max_size=3)


@given(
    pages=st.lists(st.tuples(st.integers(1, 4), updates), min_size=1, max_size=8),
    first_at=st.lists(clock_us, min_size=10, max_size=10),
)
@settings(max_examples=15)
def test_what_is_not_updated_while_a_list_is_paged_appears_once_and_nothing_twice(
    pages: list[tuple[int, list[tuple[int, int]]]], first_at: list[int]
) -> None:
    with fresh_file() as url, Scene(url, partitions=PARTITIONS) as scene:
        for number, at_us in enumerate(first_at):
            scene.deliver(outbound("queued", f"msg_{number}", 1), at_us=at_us)
        scene.read_models.catch_up()
        found: list[str] = []
        updated: set[str] = set()
        cursor: str | None = None
        sequence = 1
        for limit, changes in [*pages, (1_000, [])]:
            page = scene.read_models.messages(MessageFilters(), cursor=cursor, limit=limit)
            found += [each.message.message_id for each in page.items]
            cursor = page.next
            if cursor is None:
                break
            for number, at_us in changes:
                sequence += 1
                scene.deliver(outbound("sent", f"msg_{number}", sequence), at_us=at_us)
                updated.add(f"msg_{number}")
            scene.read_models.catch_up()

        assert len(found) == len(set(found))
        assert {f"msg_{number}" for number in range(10)} - updated <= set(found)
