"""An event that cannot be projected stops nothing else, whatever it holds; and what may be a mistake of ours is told as one."""

import logging

import pytest
from sqlalchemy.exc import DataError, OperationalError, StatementError

from ledger.errors import TryAgain, UnreadableEvent
from ledger.events import MessageEvent
from ledger.message import Fold
from ledger.provider import Effect
from projections import rebuild as rebuild_module
from projections.checkpoints import OvertakenByAnother, checkpoint
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.log_batches import Bounds
from projections.message_status import MESSAGE_STATUS
from projections.projecting import is_poison
from tests.projections.scene import Scene, inbound, outbound, projector_of

NAMES = (MESSAGE_STATUS, INBOUND_CONVERSATIONS)
LARGER_THAN_A_COLUMN = 2**63
"""What msgpack can hold, and a column cannot."""

SECRET = "+15550009999"
ONE = Bounds(1, 1_000_000)


@pytest.mark.parametrize(
    "error, is_the_event_s",
    [
        (UnreadableEvent("broken"), True),
        (DataError("INSERT", None, Exception("integer out of range")), True),
        (StatementError("INSERT", "INSERT", None, OverflowError("int too large")), True),
        (StatementError("INSERT", "INSERT", None, OSError("gone")), False),
        (RecursionError("nested"), True),
        (TypeError("a mistake of ours, or of another version"), True),
        (OperationalError("INSERT", None, Exception("disk full")), False),
        (OvertakenByAnother("by another"), False),
        (TryAgain("later"), False),
        (OSError("gone"), False),
        (MemoryError(), False),
    ],
)
def test_what_may_be_the_fault_of_an_event(error: Exception, *, is_the_event_s: bool) -> None:
    assert is_poison(error) is is_the_event_s


def test_numbers_that_no_column_holds_are_parked_and_stop_nothing_else(any_scene: Scene) -> None:
    scene, receipt = any_scene, [LARGER_THAN_A_COLUMN, b"{}"]
    scene.append_stored("bad_1", "message.sent", ["bad_1", LARGER_THAN_A_COLUMN, None, None, None, receipt])
    scene.append_stored("bad_2", "message.inbound", ["bad_2", "conv_1", None, None, None, None, receipt])
    scene.deliver(outbound("sent", "msg_1", 1), inbound("in_1"))

    scene.read_models.catch_up()
    for name in NAMES:
        scene.read_models.claim_rebuild(name).run()

    assert scene.held("msg_1").message.status.value == "sent"
    assert scene.read_models.conversation("conv_1").message_count == 1
    assert [scene.read_models.projection_status(name).parked for name in NAMES] == [2, 1]
    assert [scene.read_models.projection_status(name).lag_events for name in NAMES] == [0, 0]


def fail_on_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours in the fold, whose text quotes an event."""
    add = Fold.add

    def mistaken(fold: Fold, event: MessageEvent) -> Effect:
        if event.TOPIC == "message.failed":
            raise TypeError(f"what to do with {SECRET}?")
        return add(fold, event)

    monkeypatch.setattr(Fold, "add", mistaken)


def test_what_may_be_a_mistake_of_ours_stops_nothing_and_is_an_error_in_the_log_with_its_place_and_no_values(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fail_on_failures(monkeypatch)
    scene.deliver(outbound("sent", "msg_1", 1), outbound("failed", "msg_2", 1), outbound("sent", "msg_3", 1))

    scene.read_models.catch_up()

    assert [scene.held(each).message.status.value for each in ("msg_1", "msg_3")] == ["sent", "sent"]
    told = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert [each.split(": TypeError (at projections/message_status.py:")[0] for each in told] == [
        "the events after 0-0 are projected into message-status once more, with care",
        "the event at 0-2 could not be projected into message-status, and is parked with the later ones of its message",
        "the events after 0-0 are projected into inbound-conversations once more, with care",
    ]
    assert SECRET not in caplog.text

    assert scene.read_models.retry(MESSAGE_STATUS) == (0, 1)
    assert "could not be folded again into message-status: TypeError (at projections/" in caplog.messages[-1]


def test_who_has_parked_an_event_goes_on_knowing_that_one_is_parked(scene: Scene) -> None:
    scene.append_unreadable("msg_1")
    ours = projector_of(scene)

    at = ours.apply(ours.batch(0, ONE))

    with scene.read_models.stores.rows.reading() as connection:
        assert (at, at.parked) == (checkpoint(connection, ours.generation, 0), 1)


def test_an_event_is_not_parked_where_another_has_gone_on_meanwhile(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.append_unreadable("msg_1")
    scene.deliver(outbound("sent", "msg_2", 1))
    ours, other = projector_of(scene), projector_of(scene)
    forget = ours.forget_recent  # the last thing before it is parked

    def forget_while_another_goes_on() -> None:
        forget()
        other.apply(other.batch(0, Bounds(2, 1_000_000)))

    monkeypatch.setattr(ours, "forget_recent", forget_while_another_goes_on)
    with pytest.raises(OvertakenByAnother):
        ours.apply(ours.batch(0, ONE))


def test_what_was_parked_before_a_rebuild_holds_up_nothing_after_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_on_failures(monkeypatch)
    scene.deliver(outbound("failed", "msg_1", 1))
    scene.read_models.catch_up()
    monkeypatch.undo()
    scene.read_models.claim_rebuild(MESSAGE_STATUS).run()
    scene.append_unreadable("msg_2")
    scene.read_models.catch_up()

    scene.deliver(outbound("delivery", "msg_1", 2))
    scene.read_models.catch_up()

    assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]
    assert scene.read_models.projection_status(MESSAGE_STATUS).parked == 1


def test_why_a_rebuild_projects_a_batch_with_care_is_said(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rebuild_module, "BATCH", Bounds(2, 1_000_000))
    scene.deliver(*(outbound("sent", f"msg_{number}", 1) for number in range(4)))
    scene.append_unreadable("msg_1")
    scene.read_models.catch_up()
    caplog.clear()

    with caplog.at_level(logging.INFO, "projections.projecting"):
        scene.read_models.claim_rebuild(MESSAGE_STATUS).run()

    first, *_ = caplog.messages
    assert first.startswith(
        "the events after 0-4 are projected into message-status once more, with care: UnreadableEvent: unknown topic "
    )
    assert " (at ledger/mapper.py:" in first


def test_a_mistake_in_the_switch_itself_ends_the_rebuild(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.deliver(outbound("sent", "msg_1", 1))

    def mistaken(*_: object, **__: object) -> None:
        raise TypeError("a mistake of ours")

    rebuild = scene.read_models.claim_rebuild(MESSAGE_STATUS)
    monkeypatch.setattr(rebuild_module, "change", mistaken)

    with pytest.raises(TypeError, match="a mistake of ours"):
        rebuild.run()
