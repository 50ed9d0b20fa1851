"""The quarantine over HTTP: kept, counted, listed, shown to the byte, and replayed."""

import hashlib
from pathlib import Path

import pytest

from ledger.ledger import Ledger
from ledger.store.registers import QuarantinedDelivery
from tests.api.running import Running, running, settings_at
from tests.builders import body, kept_unread
from tests.console.visitors import signed_in

QUARANTINED = Ledger.quarantined
NOT_FOUND = {
    "type": "docs/HTTP.md#problem-not-found",
    "title": "Not found",
    "status": 404,
    "detail": "nothing is in quarantine under 'abc'",
}


def test_case_16_signed_garbage_is_kept_counted_and_listed(fresh: Running) -> None:
    raw = b"\x00\xff garbage"
    ids = {fresh.deliver(raw).json()["quarantineId"] for _ in range(3)}

    listed = fresh.get("/quarantine", "admin").json()

    (quarantine_id,) = ids
    assert listed["items"][0].pop("receivedAt").endswith("Z")
    assert listed == {
        "items": [
            {
                "quarantineId": quarantine_id,
                "reason": "the body is not UTF-8: byte 1 cannot be decoded",
                "attempts": 3,
                "bodySha256": hashlib.sha256(raw).hexdigest(),
                "bodyBytes": len(raw),
                "replayedAt": None,
            }
        ],
        "next": None,
    }
    assert fresh.get(f"/quarantine/{quarantine_id}/body", "admin").content == raw


def test_the_list_pages_through_everything_once(store_url: str) -> None:
    with running(settings_at(store_url, partitions=3)) as server:
        kept = [server.deliver(b"garbage %d" % number).json()["quarantineId"] for number in range(11)]
        found, query = [], "?limit=3"
        while query:
            page = server.get(f"/quarantine{query}", "admin").json()
            found += [item["quarantineId"] for item in page["items"]]
            query = page["next"] and f"?limit=3&cursor={page['next']}"

    assert found == kept


@pytest.mark.parametrize("kept", [1, 32, 33])
def test_a_last_page_that_is_full_leads_nowhere(fresh: Running, kept: int) -> None:
    for number in range(kept):
        fresh.deliver(b"garbage %d" % number)

    nexts = {limit: fresh.get(f"/quarantine?limit={limit}", "admin").json()["next"] for limit in (kept, kept + 1)}

    assert nexts == {kept: None, kept + 1: None}


def test_a_long_page_holds_few_bodies_at_a_time(fresh: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [fresh.deliver(b"garbage %d" % number).json()["quarantineId"] for number in range(70)]
    asked = []

    def quarantined(ledger: Ledger, *, after: tuple[int, str], limit: int) -> list[QuarantinedDelivery]:
        asked.append(limit)
        return QUARANTINED(ledger, after=after, limit=limit)

    monkeypatch.setattr(Ledger, "quarantined", quarantined)
    whole = fresh.get("/quarantine?limit=1000", "admin").json()
    first = fresh.get("/quarantine?limit=40", "admin").json()
    rest = fresh.get(f"/quarantine?limit=40&cursor={first['next']}", "admin").json()

    assert ([item["quarantineId"] for item in whole["items"]], whole["next"]) == (kept, None)
    assert ([*first["items"], *rest["items"]], rest["next"]) == (whole["items"], None)
    assert max(asked) == 32


def test_what_this_version_can_read_by_now_is_replayed_once(tmp_path: Path) -> None:
    """As after an upgrade: an older version could not read what this one can."""
    raw = body("message.sent", "msg_1", sequence=1)
    with running(settings_at(tmp_path)) as server:
        server.service.ledger.commit([kept_unread(raw, received_at_us=1)])
        server.deliver(b"garbage")

        first, second = (server.post("/quarantine/replay", key="admin").json() for _ in range(2))
        (event,) = server.get("/messages/msg_1/history").json()["events"]
        status = server.get("/messages/msg_1").json()
        replayed_at = [item["replayedAt"] for item in server.get("/quarantine", "admin").json()["items"]]

    assert (first, second) == ({"replayed": 1, "remaining": 1}, {"replayed": 0, "remaining": 1})
    assert (event["effect"], event["bodySha256"]) == ("applied", hashlib.sha256(raw).hexdigest())
    assert (event["receivedAt"], replayed_at) == ("1970-01-01T00:00:00.000001Z", [event["replayedAt"], None])
    assert (status["firstRecordedAt"], status["updatedAt"]) == (event["replayedAt"], event["replayedAt"])


def test_of_several_that_one_cannot_be_read_any_more_stays_and_hides_no_other(tmp_path: Path) -> None:
    raw = body("message.sent", "msg_1", sequence=1)
    with running(settings_at(tmp_path)) as server:
        ledger = server.service.ledger
        ledger.commit([kept_unread(body("message.sent", "msg_2", sequence=1), received_at_us=1)])
        with ledger.database.writing() as connection:
            connection.exec_driver_sql("UPDATE quarantine SET receipt = x'00ff'")
        ledger.commit([kept_unread(raw, received_at_us=2)])

        replayed = server.post("/quarantine/replay", key="admin").json()
        damaged, other = server.get("/quarantine", "admin").json()["items"]
        exact = server.get(f"/quarantine/{damaged['quarantineId']}/body", "admin").content
        page = signed_in(server, "admin").text("/console/quarantine")

    assert replayed == {"replayed": 1, "remaining": 1}
    assert damaged["reason"].startswith("its row is damaged (ledger verify); when it came: ")
    assert (damaged["receivedAt"], damaged["replayedAt"], exact) == ("1970-01-01T00:00:00.000001Z", None, b"\x00\xff")
    assert other["replayedAt"] is not None
    assert "its row is damaged" in page


def test_an_id_that_nothing_is_kept_under_is_not_found(server: Running) -> None:
    assert server.get("/quarantine/abc/body", "admin").json() == NOT_FOUND
    for odd in ("%00", "%F0%9F%98%80", "..", "00" * 16, "%20", "0" * 5_000):
        assert server.get(f"/quarantine/{odd}/body", "admin").status_code == 404


def test_replaying_an_empty_quarantine_does_nothing(fresh: Running) -> None:
    assert fresh.post("/quarantine/replay", key="admin").json() == {"replayed": 0, "remaining": 0}
