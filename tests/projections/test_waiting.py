"""Waiting for a read model: cheap however many wait, and nobody is forgotten."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from ledger.positions import Position
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.read_models import ReadModels
from projections.waiting import ASK_AGAIN_S, REST_S
from tests.projections.scene import Scene, outbound

NEVER = Position(0, 999_999_999)
MANY = 1_000


@contextmanager
def asked(scene: Scene) -> Iterator[list[str]]:
    """The questions for a position that reach the database of the read models meanwhile."""
    questions: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_how: object) -> None:
        if "FROM checkpoints" in statement:
            questions.append(statement)

    engine = scene.read_models.stores.rows._reader  # noqa: SLF001 - what is sent there cannot be seen otherwise
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield questions
    finally:
        event.remove(engine, "before_cursor_execute", note)


def catch_up_elsewhere(scene: Scene) -> None:
    """As another process would, which tells nobody here."""
    with ReadModels.open(scene.ledger) as elsewhere:
        elsewhere.catch_up()


def test_many_who_wait_ask_the_database_no_more_than_one_does(scene: Scene) -> None:
    waits_s = 0.3
    scene.read_models.current_statuses([])  # what is loaded once is loaded by now

    async def story() -> tuple[list[bool], float]:
        began_s = time.monotonic()
        waiting = [scene.read_models.wait_for(NEVER, timeout_s=waits_s) for _ in range(MANY)]
        return await asyncio.gather(*waiting), time.monotonic() - began_s

    with asked(scene) as questions:
        reached, took_s = asyncio.run(story())

    assert reached == [False] * MANY
    assert 2 <= len(questions) <= 2 + took_s / ASK_AGAIN_S


def test_those_who_come_one_after_another_share_questions_too(scene: Scene) -> None:
    (position,) = scene.deliver(outbound("sent", "msg_1", 1))
    scene.read_models.catch_up()

    async def come_and_go(times: int) -> None:
        for _ in range(times):
            assert await scene.read_models.wait_for(position)

    async def story() -> float:
        began_s = time.monotonic()
        await asyncio.gather(*(come_and_go(5) for _ in range(MANY // 10)))
        return time.monotonic() - began_s

    with asked(scene) as questions:
        took_s = asyncio.run(story())

    assert 1 <= len(questions) <= 2 + took_s / REST_S
    assert len(questions) < 50


def test_nothing_is_asked_once_nobody_waits(scene: Scene) -> None:
    async def story() -> int:
        assert not await scene.read_models.wait_for(NEVER, timeout_s=0.05)
        with asked(scene) as questions:
            await asyncio.sleep(5 * ASK_AGAIN_S)
        return len(questions)

    assert asyncio.run(story()) <= 1  # one may have been under way


def test_each_of_many_is_told_when_its_position_is_recorded_and_projected_by_another_process(any_scene: Scene) -> None:
    """Nobody says so in this process, as under `ledger serve`: it is found by asking."""
    scene = any_scene
    partition = scene.deliver(outbound("sent", "msg_1", 0))[0].partition

    async def story() -> tuple[list[bool], bool, bool]:
        waiting = [
            asyncio.create_task(scene.read_models.wait_for(Position(partition, 2 + each % 3))) for each in range(60)
        ]
        waiting.append(asyncio.create_task(scene.read_models.wait_for(NEVER, timeout_s=2.0)))
        other = asyncio.create_task(scene.read_models.wait_for(Position(partition, 4), name=INBOUND_CONVERSATIONS))
        await asyncio.sleep(0.05)
        for sequence in range(1, 4):
            scene.deliver(outbound("sent", "msg_1", sequence))
        await asyncio.to_thread(catch_up_elsewhere, scene)
        *told, never = await asyncio.gather(*waiting)
        return told, never, await other

    assert asyncio.run(story()) == ([True] * 60, False, True)


def test_who_waits_is_told_that_it_cannot_be_found_out_and_the_next_may_be_luckier(sqlite_scene: Scene) -> None:
    scene = sqlite_scene

    def fail(*_how: object) -> None:
        raise OperationalError("SELECT", {}, Exception("the disk is gone"))

    async def story() -> list[BaseException | bool]:
        return await asyncio.gather(
            *(scene.read_models.wait_for(Position(0, 0)) for _ in range(3)), return_exceptions=True
        )

    engine = scene.read_models.stores.rows._reader  # noqa: SLF001 - as above
    event.listen(engine, "before_cursor_execute", fail)
    failed = asyncio.run(story())
    event.remove(engine, "before_cursor_execute", fail)

    assert [type(each) for each in failed] == [OperationalError] * 3
    assert asyncio.run(story()) == [True] * 3


def test_a_position_of_a_partition_that_is_not_there_is_never_reached(scene: Scene) -> None:
    assert not asyncio.run(scene.read_models.wait_for(Position(7, 0), timeout_s=0.05))
