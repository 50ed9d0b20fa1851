"""GET /livez and GET /readyz, and the shape of what is refused by the server itself."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from api.http.problems import KINDS, TYPE_BASE, kind_of, problem_of
from api.service import READY_WITHIN_S
from api.verifying import known_verification, verification_warnings
from ledger.audit.entries import AuditEntry
from tests.api.running import Running, busy, until
from tests.builders import body


def test_a_server_that_can_write_is_alive_and_ready(fresh: Running) -> None:
    assert fresh.http.get("/livez").json() == {"status": "alive"}
    assert fresh.http.get("/readyz").json() == {"status": "ready", "reasons": [], "warnings": []}


def test_being_asked_changes_nothing_in_the_log(fresh: Running) -> None:
    fresh.deliver(body("message.sent", "msg_1", sequence=1))
    before = fresh.service.ledger.heads()

    for _ in range(3):
        fresh.http.get("/readyz")

    assert fresh.service.ledger.heads() == before


def test_a_disk_without_room_is_a_reason_even_where_a_small_write_still_succeeds(
    fresh: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.readiness.ROOM_BYTES_MIN", 2**62)

    answer = fresh.http.get("/readyz")

    assert answer.status_code == 503
    assert re.match(
        r"the store cannot be written: the disk of .*ledger\.db has \d+ bytes left", answer.json()["reasons"][0]
    )


def test_a_verification_with_findings_is_a_warning_until_one_is_clean(fresh: Running) -> None:
    def noted(outcome: str, findings: int, *, deep: bool = False) -> None:
        counts = {"events": 3, "auditEntries": 0, "findings": findings, "positions": [], "heads": [], "deep": deep}
        at_us = 1_732_377_600_000_000 + findings
        fresh.service.trail.append(
            [AuditEntry(at_us, "operator", "command", "verify", None, {}, outcome, counts, None)]
        )

    def warnings() -> list[str]:
        found: list[str] = fresh.http.get("/readyz").json()["warnings"]
        return found

    noted("findings", 2)
    told = "the last verification, at 2024-11-23T16:00:00.000002Z, had findings (2): `ledger verify` names them"
    until(lambda: warnings() == [told])
    noted("clean", 0)
    until(lambda: warnings() == [])


def test_whether_the_trail_can_be_written_again_is_found_out_and_never_waited_for(fresh: Running) -> None:
    service = fresh.service
    service.audit.failure = "no room"
    with service.trail.database.writing():  # as another process that holds its lock
        began_s = time.monotonic()
        answers = [fresh.http.get("/readyz") for _ in range(3)]
        took_s = time.monotonic() - began_s

    assert [each.status_code for each in answers] == [200] * 3
    assert took_s < READY_WITHIN_S
    assert answers[0].json()["warnings"] == ["whoever reads is refused: no room"]
    until(lambda: fresh.http.get("/readyz").json()["warnings"] == [])


def test_the_log_tells_once_that_a_server_is_not_ready_any_more_and_once_that_it_is(
    fresh: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: fresh.http.get("/readyz").status_code == 200)
    with capture_logs() as logged, monkeypatch.context() as patch:
        patch.setattr("api.readiness.ROOM_BYTES_MIN", 2**62)
        fresh.service.readiness.doubt()
        assert [fresh.http.get("/readyz").status_code for _ in range(3)] == [503] * 3
        patch.undo()
        fresh.service.readiness.doubt()
        assert [fresh.http.get("/readyz").status_code for _ in range(3)] == [200] * 3

    assert [each["event"] for each in logged if "ready" in each["event"]] == [
        "not ready, as /readyz says",
        "ready again",
    ]


def test_what_a_deep_verification_found_is_not_cleared_by_one_that_does_not_look_at_it(fresh: Running) -> None:
    def last(outcome: str, *, deep: bool, unchecked: int = 0) -> bool:
        counts = {"events": 3, "auditEntries": 0, "findings": 0, "positions": [], "heads": [], "deep": deep}
        counts |= {"unchecked": unchecked} if deep else {}
        fresh.service.trail.append([AuditEntry(1, "operator", "command", "verify", None, {}, outcome, counts, None)])
        clean: bool = fresh.get("/verification").json()["last"]["clean"]
        return clean

    assert not last("findings", deep=True)
    assert not last("clean", deep=False)
    assert not last("clean", deep=True, unchecked=2)
    assert last("clean", deep=True)
    assert not last("findings", deep=False)
    assert last("clean", deep=False)


@pytest.mark.parametrize("result", ["nonsense", "{}", '{"events": "many"}'])
def test_a_verification_that_was_changed_in_the_trail_is_a_warning_and_hides_nothing_else(
    fresh: Running, result: str
) -> None:
    fresh.service.trail.append([AuditEntry(1, "operator", "command line", "verify", outcome="clean")])
    with fresh.service.trail.database.writing() as connection:
        connection.execute(text("UPDATE audit_entries SET result = :result"), {"result": result})
    told = "entry 1 of the audit trail is not as it was written; `ledger verify` says more"

    until(lambda: fresh.http.get("/readyz").json()["warnings"] == [told])
    metrics = fresh.http.get("/metrics").text
    assert "ledger_store_readable 1.0" in metrics
    assert "ledger_quarantine_deliveries 0.0" in metrics
    assert told in verification_warnings(fresh.service.trail)
    assert fresh.get("/verification").json()["title"] == "A stored event cannot be read"
    assert known_verification(fresh.service.trail) is None


def test_many_who_ask_whether_it_is_ready_keep_nobody_from_being_answered(fresh: Running) -> None:
    """Asking is open to anybody; while the writer is busy it must not use up the threads that answer questions."""
    fresh.http.get("/readyz")

    def ask() -> int:
        return fresh.http.get("/readyz").status_code

    with ThreadPoolExecutor(60) as many:
        with fresh.service.ledger.database.writing():
            answers = [many.submit(ask) for _ in range(120)]
            began_s = time.perf_counter()
            statuses = {fresh.get("/feed").status_code, fresh.http.get("/livez").status_code}
            took_s = time.perf_counter() - began_s
        assert {answer.result() for answer in answers} <= {200, 503}

    assert (statuses, took_s < 2.0) == ({200}, True)


def test_however_long_questions_take_a_proxy_and_a_monitor_are_answered(fresh: Running) -> None:
    """A proxy drops a server whose /readyz is late, and a monitor that sees nothing tells nobody why."""
    fresh.http.get("/readyz")

    with ThreadPoolExecutor(1) as reader:
        with busy(fresh):
            read = reader.submit(fresh.get, "/messages")
            statuses = [fresh.http.get(path, timeout=5).status_code for path in ("/readyz", "/metrics") * 3]
            assert not read.done()
        assert read.result().status_code == 200

    assert statuses == [200] * 6


def test_who_asks_while_a_proof_is_under_way_waits_briefly_for_what_it_finds(
    fresh: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    too_long_s = 0.2
    monkeypatch.setattr("api.readiness.PROOF_VALID_S", 0.0)
    monkeypatch.setattr("api.readiness.PROOF_TOO_LONG_S", too_long_s)
    ask = fresh.service.readiness.reasons
    assert ask() == []

    with ThreadPoolExecutor(3) as many:
        Event().wait(1.5 * too_long_s)  # nobody asks
        with fresh.service.ledger.database.writing():
            answers = [many.submit(ask) for _ in range(3)]
            Event().wait(0.5 * too_long_s)
        assert [answer.result() for answer in answers] == [[], [], []]

        with fresh.service.ledger.database.writing():
            answers = [many.submit(ask) for _ in range(2)]
            until(lambda: any(answer.done() for answer in answers))
        told = sorted(answer.result() for answer in answers)
        assert told == [[], ["the store has not answered for too long"]]


def test_every_kind_of_problem_has_a_status_a_title_and_a_link() -> None:
    for kind in KINDS.values():
        assert 400 <= kind.status <= 504
        assert kind.title
        assert kind.slug == kind.slug.lower().replace(" ", "-")


def test_an_error_that_nobody_foresaw_tells_nothing_of_itself() -> None:
    answer = problem_of(ZeroDivisionError("division of +15551234567"))

    assert kind_of(ZeroDivisionError()).status == 500
    assert answer.body == (
        b'{"type":"%sinternal","title":"Internal error","status":500,'
        b'"detail":"Something went wrong on our side; the log of the server says what."}' % TYPE_BASE.encode()
    )
