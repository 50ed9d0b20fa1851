"""GET /messages/{messageId}/history and the exact bytes: the audit of one message, from the log itself."""

import hashlib
import time

from tests.api.running import Running, running, settings_at
from tests.builders import body

VARYING = {"date", "x-request-id"}
UNKNOWN = {
    "type": "docs/HTTP.md#problem-not-found",
    "title": "Not found",
    "status": 404,
    "detail": "the ledger holds nothing of message 'nobody'",
}


def test_a_history_shows_each_event_whole(fresh: Running) -> None:
    raw = body("message.failed", "msg_1", sequence=2, occurredAt="2026-11-23T17:00:00+01:00", error={"code": 30_003})
    timestamp = str(int(time.time()))
    fresh.deliver(raw, timestamp=timestamp)

    answer = fresh.get("/messages/msg_1/history")
    (event,) = answer.json()["events"]

    assert answer.headers["cache-control"] == "no-store"
    assert (event.pop("receivedAt")[-1], len(event.pop("hash"))) == ("Z", 64)
    assert event == {
        "version": 1,
        "position": "0-1",
        "eventType": "message.failed",
        "sequence": 2,
        "effect": "applied",
        "late": False,
        "occurredAt": "2026-11-23T16:00:00.000000Z",
        "signature": {"timestamp": timestamp, "secretId": "main", "verified": True},
        "body": {
            "eventType": "message.failed",
            "messageId": "msg_1",
            "sequence": 2,
            "occurredAt": "2026-11-23T17:00:00+01:00",
            "error": {"code": 30_003},
        },
        "bodySha256": hashlib.sha256(raw).hexdigest(),
    }
    assert answer.json() == {"messageId": "msg_1", "events": answer.json()["events"], "next": None}


def test_case_17_two_claims_of_one_sequence_are_both_kept_and_the_second_is_conflicting(server: Running) -> None:
    server.deliver(body("message.sent", "msg_two", sequence=2))
    server.deliver(body("message.sent", "msg_two", sequence=2, again=True))
    server.deliver(body("message.failed", "msg_two", sequence=2))
    server.deliver(body("message.queued", "msg_two", sequence=1))

    events = server.get("/messages/msg_two/history").json()["events"]

    assert [(event["version"], event["eventType"], event["effect"]) for event in events] == [
        (1, "message.sent", "applied"),
        (2, "message.sent", "repeated"),
        (3, "message.failed", "conflicting"),
        (4, "message.queued", "superseded"),
    ]


def test_case_19_an_unknown_kind_changes_no_effect_of_the_known_ones(server: Running) -> None:
    server.deliver(body("message.read", "msg_kinds", sequence=9))
    server.deliver(body("message.sent", "msg_kinds", sequence=2))

    events = server.get("/messages/msg_kinds/history").json()["events"]

    assert [(event["eventType"], event["effect"]) for event in events] == [
        ("message.read", "noted"),
        ("message.sent", "applied"),
    ]


def test_the_exact_bytes_come_back_as_a_download(server: Running, message_id: str) -> None:
    raw = b'\r\n{ "messageId":"%s","eventType":"message.read","x":1E2 ,"y":"\\u00e9\xc3\xa9"}\t' % message_id.encode()
    server.deliver(raw)

    answer = server.get(f"/messages/{message_id}/history/1/body")

    assert (answer.status_code, answer.content) == (200, raw)
    assert {name: value for name, value in answer.headers.items() if name not in VARYING} == {
        "content-type": "application/octet-stream",
        "content-length": str(len(raw)),
        "content-disposition": "attachment",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        "cache-control": "no-store",
        "vary": "Authorization",
    }


def test_case_21_markup_formulas_and_control_characters_are_inert_in_json(server: Running, message_id: str) -> None:
    texts = [
        "<script>alert(1)</script>",
        "{{7*7}}",
        "=cmd|'/c calc'!A1",
        "\u001b[31m",
        "a\r\nSet-Cookie: x=1",
        "\u202e",
    ]
    for sequence, text in enumerate(texts):
        server.deliver(body("message.sent", message_id, sequence=sequence, note=text))

    answer = server.get(f"/messages/{message_id}/history")

    assert answer.headers["content-type"] == "application/json"
    assert "set-cookie" not in answer.headers
    assert [event["body"]["note"] for event in answer.json()["events"]] == texts


def test_a_long_history_is_read_page_by_page(server: Running, message_id: str) -> None:
    for sequence in range(5):
        server.deliver(body("message.sent", message_id, sequence=sequence))

    versions: list[list[int]] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = server.get(f"/messages/{message_id}/history?limit=2&cursor={cursor}").json()
        versions.append([event["version"] for event in page["events"]])
        cursor = page["next"]

    assert versions == [[1, 2], [3, 4], [5]]


def test_a_message_that_the_ledger_does_not_hold_is_not_found(server: Running) -> None:
    assert server.get("/messages/nobody/history").json() == UNKNOWN
    assert server.get("/messages/nobody/history/1/body").status_code == 404


def test_a_version_that_a_message_does_not_have_is_not_found(server: Running, message_id: str) -> None:
    server.deliver(body("message.read", message_id))

    assert server.get(f"/messages/{message_id}/history/2/body").json() == {
        "type": "docs/HTTP.md#problem-not-found",
        "title": "Not found",
        "status": 404,
        "detail": f"message '{message_id}' has no event of version 2",
    }


def test_numbers_of_a_body_are_shown_as_they_were_written(server: Running, message_id: str) -> None:
    raw = body("message.read", message_id)[:-1] + b', "x": 12345678901234567890123, "y": 1.10, "z": 1E2}'
    server.deliver(raw)

    shown = server.get(f"/messages/{message_id}/history").text

    assert '"x": 12345678901234567890123, "y": 1.10, "z": 1E2' in shown


def test_histories_are_the_same_on_every_engine(store_url: str) -> None:
    awkward = "a/b\n😀\u202e"
    with running(settings_at(store_url)) as server:
        server.deliver(body("message.sent", awkward, sequence=2**63 - 1, note="NUL: \0, lone: \ud800"))
        (event,) = server.get("/messages/a%2Fb%0A%F0%9F%98%80%E2%80%AE/history").json()["events"]

    assert (event["sequence"], event["effect"], event["body"]["messageId"]) == (2**63 - 1, "applied", awkward)
