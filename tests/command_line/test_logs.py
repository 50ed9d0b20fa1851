"""Log output: one event is one line, nobody's text steers a terminal, and nothing stored is told."""

import json
import logging

import pytest
import structlog
from sqlalchemy.exc import IntegrityError

from api.logs import OURS, configure_logs
from api.visible import visible
from tests.conftest import log_output_left_as_it_was


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_our_logs_and_those_of_libraries_go_through_one_renderer(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", as_json=True)

    structlog.get_logger("api.http.receiving").warning("a delivery was refused", reason="no signature")
    logging.getLogger("ledger.group_commit").warning("a commit of %d items failed: %s", 3, "disk full")
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    logging.getLogger("uvicorn.error").info("Shutting down")

    ours, ledgers, uvicorns = logged(capsys)
    assert (ours["event"], ours["reason"], ours["logger"]) == (
        "a delivery was refused",
        "no signature",
        "api.http.receiving",
    )
    assert (ledgers["event"], ledgers["level"]) == ("a commit of 3 items failed: disk full", "warning")
    assert uvicorns["event"] == "Invalid HTTP request received."


@pytest.mark.parametrize("level, seen", [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_counts_for_what_is_ours(capsys: pytest.CaptureFixture[str], level: str, seen: int) -> None:
    configure_logs(level, as_json=True)

    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger("projections.runner"), name)("something")

    assert len(logged(capsys)) == seen


@pytest.mark.parametrize("as_json", [True, False])
def test_line_ends_and_escapes_of_strangers_are_shown_and_not_obeyed(
    capsys: pytest.CaptureFixture[str],
    as_json: bool,  # noqa: FBT001 - both ways
) -> None:
    configure_logs("info", as_json=as_json)

    structlog.get_logger("api.test").info("id\r\n2026 [error] forged", message_id="msg\x1b[2J\n\x9b")

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "id␍␊2026" in said
    assert "msg␛[2J␊<U+009B>" in said


@pytest.mark.parametrize("as_json", [True, False])
def test_an_unexpected_error_shows_where_it_happened_but_no_stored_values(
    capsys: pytest.CaptureFixture[str],
    as_json: bool,  # noqa: FBT001 - both ways
) -> None:
    configure_logs("info", as_json=as_json)
    stored = {"state": b"+15551234567"}
    try:
        raise IntegrityError("INSERT INTO events", stored, Exception("duplicate key"))  # noqa: TRY301 - what is tested
    except IntegrityError:
        logging.getLogger("ledger.group_commit").exception("a commit failed unexpectedly")

    said = capsys.readouterr().err
    assert "test_logs.py" in said
    assert "duplicate key" in said
    assert "+15551234567" not in said
    assert "\x1b" not in said


def test_text_is_visible_and_otherwise_as_it_was() -> None:
    assert visible("Grüße 🎉 日本 \u00a0") == "Grüße 🎉 日本 \u00a0"
    assert visible("\t\x00\x7f\u2028\u202e\ud800") == "␉␀␡<U+2028><U+202E><U+D800>"


def test_a_test_leaves_no_handler_behind_that_writes_where_it_captured() -> None:
    before = logging.getLogger().handlers[:]
    with log_output_left_as_it_was():
        configure_logs("debug", as_json=True)
        assert logging.getLogger().handlers != before

    assert logging.getLogger().handlers == before
    assert [logging.getLogger(name).level for name in OURS] == [logging.NOTSET] * len(OURS)
