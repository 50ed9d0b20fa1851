"""A crash of PostgreSQL takes back the last commits of the read models; whoever remembers them must not go on from there."""

import time

import pytest
from sqlalchemy import Connection

from ledger.store.driver import fetch, placeholder_of
from projections.checkpoints import Checkpoint, Generation, OvertakenByAnother, checkpoint, checkpoints_of, lock
from projections.log_batches import Bounds
from projections.message_status import MESSAGE_STATUS
from tests.projections.scene import Scene, outbound, projector_of

GENERATION = Generation(MESSAGE_STATUS, 1)
TEN, TWO = Bounds(10, 1_000_000), Bounds(2, 1_000_000)


@pytest.fixture
def filled(scene: Scene) -> Scene:
    scene.deliver(*(outbound("sent", f"msg_{number}", 1) for number in range(30)))
    return scene


def crash_back_to(scene: Scene, at: Checkpoint) -> None:
    """Rows (each of a message with one event) and checkpoint as they were, and no error for anybody."""
    with scene.read_models.stores.rows.writing() as connection:
        place = placeholder_of(connection)
        where = f"projection = '{MESSAGE_STATUS}' AND generation = 1"
        connection.exec_driver_sql(
            f"UPDATE checkpoints SET position = {place}, revision = {place}, hash = {place} WHERE {where}",  # noqa: S608 - no value in it
            (at.position, at.revision, at.hash),
        )
        connection.exec_driver_sql(f"DELETE FROM message_status_g1 WHERE position > {place}", (at.position,))  # noqa: S608 - no value in it


def test_what_was_written_after_a_crash_is_never_taken_for_what_it_took_back(filled: Scene) -> None:
    ours, other = projector_of(filled), projector_of(filled)
    ten = ours.apply(ours.batch(0, TEN))
    ours.apply(ours.batch(10, TEN))
    crash_back_to(filled, ten)
    other.apply(other.batch(10, TWO))

    with pytest.raises(OvertakenByAnother):
        ours.apply(ours.batch(20, TEN))

    filled.read_models.catch_up()
    assert filled.live_rows(MESSAGE_STATUS) == [filled.folded_rows()]


def test_a_revision_never_comes_again_even_at_the_same_position(filled: Scene) -> None:
    ours, other = projector_of(filled), projector_of(filled)
    ten = ours.apply(ours.batch(0, TEN))
    lost = ours.apply(ours.batch(10, TEN))
    crash_back_to(filled, ten)

    again = other.apply(other.batch(10, TEN))

    assert (again.position, again.hash) == (lost.position, lost.hash)
    assert again.revision != lost.revision


def test_a_refolded_message_is_a_revision_that_never_comes_again(filled: Scene) -> None:
    filled.read_models.catch_up()
    rows = filled.read_models.stores.rows

    def locked(connection: Connection) -> int:
        return lock(connection, GENERATION, 0).revision

    with rows.reading() as connection:
        before = checkpoint(connection, GENERATION, 0)
    with rows.writing() as connection:
        lost = locked(connection)
    crash_back_to(filled, before)
    with rows.writing() as connection:
        assert locked(connection) != lost


def test_the_runner_catches_up_after_a_crash_that_it_was_not_told_of(filled: Scene) -> None:
    filled.read_models.start()
    assert lag_becomes_0(filled)
    with filled.read_models.stores.rows.reading() as connection:
        (at,) = checkpoints_of(connection, GENERATION)

    with filled.ledger.database.reading() as connection:
        place = placeholder_of(connection)
        ((hash_,),) = fetch(connection, f"SELECT hash FROM events WHERE position = {place}", (20,))  # noqa: S608 - no value in it
    crash_back_to(filled, Checkpoint(20, at.revision - 1, 0, hash_))

    assert lag_becomes_0(filled)
    assert filled.live_rows(MESSAGE_STATUS) == [filled.folded_rows()]


def lag_becomes_0(scene: Scene) -> bool:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if scene.read_models.projection_status(MESSAGE_STATUS).lag_events == 0:
            return True
        time.sleep(0.05)
    return False


def test_what_was_computed_before_a_message_was_folded_again_is_never_written_after_it(filled: Scene) -> None:
    ours, rows = projector_of(filled), filled.read_models.stores.rows
    ours.apply(ours.batch(0, TEN))
    with rows.reading() as connection:
        prepared = ours.prepare_within(connection, ours.batch(10, TEN), ours.position(connection))
    with rows.writing() as connection:
        lock(connection, GENERATION, 0)  # as `projections retry` and `rebuild --message` do

    with pytest.raises(OvertakenByAnother):
        ours.commit(prepared)


def test_a_batch_that_another_has_projected_is_not_projected_again(filled: Scene) -> None:
    ours, other = projector_of(filled), projector_of(filled)
    other.apply(other.batch(0, TEN))

    with pytest.raises(OvertakenByAnother):
        ours.apply(ours.batch(0, TEN))


def test_a_batch_that_skips_events_is_not_projected(filled: Scene) -> None:
    ours = projector_of(filled)

    with pytest.raises(OvertakenByAnother):
        ours.apply(ours.batch(10, TEN))


def test_what_was_folded_a_moment_ago_is_not_gone_on_with_where_another_was_faster_since(scene: Scene) -> None:
    ours, other = projector_of(scene), projector_of(scene)
    scene.deliver(*(outbound(kind, "msg_1", number) for number, kind in enumerate(("queued", "sent", "delivery"), 1)))
    one = Bounds(1, 1)
    ours.apply(ours.batch(0, one))
    other.apply(other.batch(1, one))

    ours.look_again()  # as the runner does each second: so nobody is overtaken
    ours.apply(ours.batch(2, one))

    assert scene.held("msg_1").message.event_count == 3
    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]
