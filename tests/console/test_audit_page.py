"""The audit trail as a page for administrators, and the last verification wherever it is shown."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.audit.acts import Act
from api.verifying import outcome_of, verify_everything
from ledger.audit.entries import AuditEntry
from tests.api.running import Running, running, settings_at
from tests.console.visitors import Visitor, deliver, signed_in, words_of

NOW_US = 1_732_377_600_000_000


def verify(server: Running) -> None:
    """What `ledger verify` leaves, by a user named anna."""
    service = server.service
    outcome, result = outcome_of(verify_everything(service.ledger, service.trail))
    entry = AuditEntry(NOW_US, "anna", "command line", Act.VERIFY.value, outcome=outcome, result=result)
    service.trail.append([entry])


def test_the_last_verification_is_shown_with_when_by_whom_and_what_was_found(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        admin = signed_in(server, "admin")
        deliver(server, "message.sent", "msg_1", sequence=1)
        deliver(server, "message.sent", "msg_2", sequence=1)
        never = (admin.text("/console/operations"), server.get("/verification", "masked").json())
        stuck = [admin.text("/console/stuck")]
        verify(server)
        clean = (admin.text("/console/operations"), server.get("/verification").json()["last"])
        stuck.append(admin.text("/console/stuck"))
        with server.service.ledger.database.writing() as connection:
            connection.exec_driver_sql("UPDATE events SET version = 7 WHERE position = 2")
        verify(server)
        broken = (admin.text("/console/operations"), server.get("/verification").json()["last"])
        stuck.append(admin.text("/console/stuck"))
        metrics = server.get("/metrics").text
        heads = [head.hash.hex() for head in server.service.ledger.heads()]

    assert "No verification is on record." in never[0]
    told = (
        "No check is on record.",
        "found everything as it was recorded.",
        "found 2 findings (0-2): run ledger verify .",
    )
    assert [words for page, words in zip(stuck, told, strict=True) if words not in page] == []
    assert never[1] == {"last": None}
    assert "by anna Found everything as it was recorded Looked at 2 events" in clean[0]
    entries, audit_head = clean[1].pop("auditEntries"), clean[1]["heads"].pop()
    assert audit_head.startswith(f"audit-{entries}:")
    assert clean[1] == {
        "at": "2024-11-23T16:00:00.000000Z",
        "holder": "anna",
        "way": "command line",
        "clean": True,
        "events": 2,
        "findings": 0,
        "positions": [],
        "heads": [f"0-2:{heads[0]}"],
        "deep": False,
    }
    assert "2 findings (0-2): run ledger verify" in broken[0]
    assert (broken[1]["clean"], broken[1]["findings"], broken[1]["positions"]) == (False, 2, ["0-2"])
    measured = dict(re.findall(r"^ledger_last_verification_(\w+) (\S+)$", metrics, re.MULTILINE))
    assert {name: float(value) for name, value in measured.items()} == {
        "timestamp_seconds": NOW_US / 1_000_000,
        "clean": 0.0,
    }


def test_before_the_first_verification_the_metrics_say_never(fresh_server: Running) -> None:
    metrics = fresh_server.get("/metrics").text

    assert "ledger_last_verification_timestamp_seconds 0.0" in metrics
    assert re.findall(r"^ledger_last_verification_clean ", metrics, re.MULTILINE) == []


@pytest.fixture
def fresh_server(tmp_path: Path) -> Iterator[Running]:
    with running(settings_at(tmp_path)) as server:
        yield server


def test_the_trail_is_a_page_with_filters_for_administrators_alone(
    ledger_with_messages: Running, admin: Visitor, reader: Visitor
) -> None:
    ledger_with_messages.get("/messages/%3Cscript%3E%2F%252F%20%F0%9F%99%82/history")

    words = admin.text("/console/audit?holder=reader&act=read-history")
    html = admin.get("/console/audit", act="read-history").text
    none = admin.text("/console/audit?subject=nothing")

    assert "reader http read-history <script>/%2F 🙂 items 1 done" in words
    assert "<script>/" not in html
    assert "/console/audit?subject=%3Cscript%3E" in html
    assert "No such entry" in none
    assert reader.get("/console/audit").status_code == 403
    assert "Open the audit trail" in admin.text("/console/operations")
    assert "Open the audit trail" not in reader.text("/console/operations")


def test_the_page_goes_on_where_it_ended(ledger_with_messages: Running, admin: Visitor) -> None:
    trail = ledger_with_messages.service.trail
    trail.append([AuditEntry(NOW_US, "paged", "http", "read-feed", f"id-{number}-") for number in range(60)])

    first = admin.get("/console/audit", holder="paged").text
    (older,) = re.findall(r'href="(/console/audit\?[^"]*cursor=\d+)" rel="next"', first)
    second = admin.get(older.replace("&amp;", "&")).text

    seen = [re.findall(r"id-\d+-", words_of(page)) for page in (first, second)]
    assert [len(each) for each in seen] == [50, 10]
    assert [each for page in seen for each in page] == [f"id-{number}-" for number in range(59, -1, -1)]


@pytest.mark.parametrize("query", ["act=x", "cursor=x"])
def test_a_question_that_makes_no_sense_is_refused(admin: Visitor, query: str) -> None:
    assert admin.get(f"/console/audit?{query}").status_code == 400


def test_a_trail_without_entries_blames_no_filter(tmp_path: Path) -> None:
    with running(settings_at(tmp_path, api_keys=())) as server:
        words = Visitor(server).text("/console/audit")

    assert "No entry yet" in words
    assert "Loosen" not in words
