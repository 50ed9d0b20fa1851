"""Signs of life of several hosts, whose clocks differ: none makes another's look older, and none lasts for ever."""

import pytest

from projections import claims, heartbeats
from projections.heartbeats import CLOCKS_APART_US_MAX, beat, last_seen
from projections.message_status import MESSAGE_STATUS
from projections.register import register_entry
from tests.projections.scene import START_US, Scene

S = 1_000_000
HOUR_US = 3_600 * S


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    now = [START_US]
    for module in (heartbeats, claims):
        monkeypatch.setattr(module, "now_us", lambda: now[0])
    return now


def beat_at(scene: Scene, clock: list[int], at_us: int) -> None:
    clock[0] = at_us
    with scene.read_models.stores.rows.writing() as connection:
        beat(connection, [MESSAGE_STATUS], "host:1")


def seen_at(scene: Scene, clock: list[int], at_us: int) -> float | None:
    clock[0] = at_us
    with scene.read_models.stores.rows.reading() as connection:
        seen = last_seen(connection, MESSAGE_STATUS)
    return None if seen is None else seen.ago_s


def test_a_host_whose_clock_is_behind_never_makes_another_look_silent(scene: Scene, clock: list[int]) -> None:
    assert seen_at(scene, clock, START_US) is None
    beat_at(scene, clock, START_US)
    beat_at(scene, clock, START_US - 20 * S)

    assert seen_at(scene, clock, START_US + S) == 1.0
    assert seen_at(scene, clock, START_US - 19 * S) == 0.0


def test_a_sign_of_life_from_a_clock_that_was_set_back_counts_for_nothing(scene: Scene, clock: list[int]) -> None:
    beat_at(scene, clock, START_US + HOUR_US)
    assert seen_at(scene, clock, START_US) == 3_600.0

    beat_at(scene, clock, START_US)
    assert seen_at(scene, clock, START_US + 2 * S) == 2.0


def test_every_clock_that_is_not_too_far_ahead_is_believed(scene: Scene, clock: list[int]) -> None:
    beat_at(scene, clock, START_US + CLOCKS_APART_US_MAX)
    beat_at(scene, clock, START_US)

    assert seen_at(scene, clock, START_US + CLOCKS_APART_US_MAX) == 0.0


def test_a_rebuilder_that_was_seen_in_the_future_is_not_alive_for_long(scene: Scene, clock: list[int]) -> None:
    scene.read_models.claim_rebuild(MESSAGE_STATUS)
    with scene.read_models.stores.rows.reading() as connection:
        claimed = register_entry(connection, MESSAGE_STATUS)._replace(rebuilder="another-host:1:00000000")

    assert claims.is_running(claimed)
    clock[0] -= HOUR_US
    assert not claims.is_running(claimed)
