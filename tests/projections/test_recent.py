"""What is remembered of messages to save queries has a bound in bytes, whatever the provider sends."""

import pytest

from ledger.mapper import EventCodec
from ledger.message import Message
from projections import runner as runner_module
from projections.recent import MESSAGE_BYTES, Recent
from projections.runner import Runner
from tests.projections.scene import Scene, outbound, projection_of

BODY = "x" * 50_000
MESSAGE = Message()


def test_long_failures_of_all_partitions_together_stay_within_the_bound(
    any_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "RECENT_BYTES_MAX", 600_000)
    stores = any_scene.read_models.stores
    projection = projection_of(any_scene, "message-status")
    runner = Runner(stores.rows, stores.log, EventCodec(), [projection], lambda *_: None)
    most = 0
    for number in range(60):
        any_scene.deliver(outbound("failed", f"msg_{number}", 1, error=BODY))
        runner.pass_once()
        most = max(most, runner.remembered_bytes)

    assert 0 < most <= 600_000


def test_only_the_batch_that_is_not_written_yet_may_exceed_the_bound() -> None:
    recent = Recent(3 * MESSAGE_BYTES)
    recent.remember([(b"1", MESSAGE, 0), (b"2", MESSAGE, 0)])
    recent.remember([(b"3", MESSAGE, MESSAGE_BYTES)])
    assert recent.get(b"1") == recent.get(b"3") == MESSAGE

    recent.remember([(b"4", MESSAGE, 0)])
    assert (recent.get(b"3"), recent.get(b"4")) == (None, MESSAGE)


def test_a_message_that_is_remembered_again_is_counted_once() -> None:
    recent = Recent(2 * MESSAGE_BYTES)
    for _ in range(10):
        recent.remember([(b"1", MESSAGE, 0)])

    assert recent.held_bytes == MESSAGE_BYTES
