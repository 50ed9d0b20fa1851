"""Read models that a start cannot open are put aside: a server that did not start would refuse webhooks for want of copies."""

import logging
from pathlib import Path

import pytest

from ledger.store.sqlite import SQLITE
from projections.message_status import MESSAGE_STATUS
from projections.setting_aside import set_damaged_aside
from tests.damaging import damage, damage_table
from tests.projections.scene import Scene, outbound

REGISTER = ["read_models", "checkpoints", "parked_events", "heartbeats"]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger with read models that are up to date, and that nobody has open."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Scene(url) as scene:
        scene.deliver(outbound("sent", "msg_1", 1))
        scene.read_models.catch_up()
    return url


def change(file: Path, statement: str) -> None:
    """A row that says something else than was written: the file is whole."""
    with SQLITE.connect(file) as connection:
        connection.execute(statement)
    connection.close()


def expect_set_aside(url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One warning, no order to move the file away, and read models that are made again."""
    set_damaged_aside(url)

    assert len(list(tmp_path.glob("ledger.db.read-models.damaged-*Z"))) == 1
    (told,) = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING and "aside" in each.name]
    assert "it is " in told
    assert "move ledger.db.read-models* away" not in caplog.text
    with Scene(url) as scene:
        scene.read_models.catch_up()
        assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]


@pytest.mark.parametrize("table", REGISTER)
def test_a_start_makes_the_read_models_again_where_their_register_is_damaged(
    url: str, tmp_path: Path, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage_table(tmp_path / "ledger.db.read-models", table)

    expect_set_aside(url, tmp_path, caplog)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE read_models SET name = 'message-statuz' WHERE name = 'message-status'",
        "DELETE FROM checkpoints WHERE projection = 'message-status'",
        "UPDATE read_models SET live = 7",
    ],
)
def test_a_start_makes_them_again_where_their_register_contradicts_them(
    url: str, tmp_path: Path, statement: str
) -> None:
    change(tmp_path / "ledger.db.read-models", statement)

    set_damaged_aside(url)

    with Scene(url) as scene:
        scene.read_models.catch_up()
        assert scene.live_rows(MESSAGE_STATUS) == [scene.folded_rows()]


def test_whole_read_models_stay_and_so_do_those_of_a_log_that_is_damaged(url: str, tmp_path: Path) -> None:
    set_damaged_aside(url)
    damage(tmp_path / "ledger.db")
    set_damaged_aside(url)

    assert list(tmp_path.glob("*.damaged-*")) == []


def test_those_of_another_log_are_put_aside_where_they_cannot_be_dropped(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ledger.db.read-models"
    change(file, "UPDATE read_models SET ledger_id = 'another'")
    damage_table(file, "message_status_g1")

    expect_set_aside(url, tmp_path, caplog)
