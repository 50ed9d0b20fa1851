"""What Red Cloud is answered: the table "Receiving" of the contract, each case as a whole value."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from api.http.seldom import EVERY_S, Seldom
from tests.api.running import WEBHOOKS, Running, as_json, running, settings_at, signed, until
from tests.api.wire import request
from tests.builders import body

BODY_BYTES_MAX = 256 * 1024


def test_a_new_event_is_recorded(fresh: Running) -> None:
    answer = fresh.deliver(body("message.queued", "msg_1", sequence=1))

    assert (answer.status_code, answer.headers["content-type"]) == (202, "application/json")
    assert answer.json() == {"outcome": "recorded", "messageId": "msg_1", "version": 1, "position": "0-1"}


def test_a_fact_that_the_log_holds_is_a_duplicate_with_the_place_of_the_original(fresh: Running) -> None:
    fresh.deliver(body("message.queued", "msg_1", sequence=1))
    fresh.deliver(body("message.sent", "msg_1", sequence=2))

    again = fresh.deliver(b'{"sequence" : 1,\r\n "messageId":"msg_1", "eventType":"message.queued"}', secret="old")

    assert again.status_code == 200
    assert again.json() == {"outcome": "duplicate", "messageId": "msg_1", "version": 1, "position": "0-1"}
    assert len(fresh.stored()) == 2


def test_1_and_1_0_are_different_facts(server: Running, message_id: str) -> None:
    outcomes = [
        server.deliver(body("message.sent", message_id, sequence=1, price=price)).json()["version"]
        for price in (1, 1.0)
    ]

    assert outcomes == [1, 2]


def test_an_authentic_body_that_cannot_be_read_is_quarantined_once(server: Running) -> None:
    first, second = (server.deliver(b'{"eventType": "message.sent"}') for _ in range(2))

    expected = {
        "outcome": "quarantined",
        "quarantineId": first.json()["quarantineId"],
        "reason": "messageId is missing or not text",
    }
    assert (first.status_code, first.json()) == (202, expected)
    assert (second.status_code, second.json()) == (200, expected)


UNREADABLE = {
    "nothing": b"",
    "null": b"null",
    "an array": b"[]",
    "cut off": b"{",
    "UTF-16": b"\xff\xfe{\x00}\x00",
    "a byte order mark": b'\xef\xbb\xbf{"eventType":"message.read","messageId":"m"}',
    "a key twice": b'{"eventType":"message.read","messageId":"m","messageId":"m"}',
    "NaN": b'{"eventType":"message.read","messageId":"m","x":NaN}',
    "a number that overflows": b'{"eventType":"message.read","messageId":"m","x":1e999}',
    "5000 digits": b'{"eventType":"message.read","messageId":"m","x":' + b"9" * 5_000 + b"}",
    "100000 levels": b'{"eventType":"message.read","messageId":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "33 levels": b'{"eventType":"message.read","messageId":"m","x":' + b"[" * 33 + b"]" * 33 + b"}",
    "an empty eventType": b'{"eventType":"","messageId":"m"}',
    "an empty messageId": b'{"eventType":"message.read","messageId":""}',
    "NUL in the messageId": b'{"eventType":"message.read","messageId":"a\\u0000b"}',
    "a lone surrogate in the messageId": b'{"eventType":"message.read","messageId":"\\ud800"}',
    "no sequence": b'{"eventType":"message.sent","messageId":"m"}',
    "a fraction as sequence": b'{"eventType":"message.sent","messageId":"m","sequence":1.0}',
    "a negative sequence": b'{"eventType":"message.sent","messageId":"m","sequence":-1}',
    "a sequence above 2^63-1": b'{"eventType":"message.sent","messageId":"m","sequence":9223372036854775808}',
    "true as sequence": b'{"eventType":"message.sent","messageId":"m","sequence":true}',
    "a messageId of 513 characters": as_json({"eventType": "message.read", "messageId": "m" * 513}),
}


@pytest.mark.parametrize("raw", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_whatever_is_signed_is_kept_to_the_byte(server: Running, raw: bytes) -> None:
    answer = server.deliver(raw)

    assert (answer.status_code, answer.json()["outcome"]) == (202, "quarantined")
    assert server.get(f"/quarantine/{answer.json()['quarantineId']}/body", "admin").content == raw


def test_an_unknown_kind_with_a_message_id_is_recorded_and_noted(server: Running, message_id: str) -> None:
    answer = server.deliver(body("message.read", message_id))

    assert (answer.status_code, answer.json()["outcome"]) == (202, "recorded")
    events = server.get(f"/messages/{message_id}/history").json()["events"]
    assert [(event["eventType"], event["effect"]) for event in events] == [("message.read", "noted")]


@pytest.mark.parametrize("id_", ["a/b", "a\nb", "😀", "\u202egnp.exe", "ü" * 512, "..", " ", "%2F", "a?b#c"])
def test_an_id_may_have_any_characters(server: Running, id_: str) -> None:
    escaped = "".join(f"%{byte:02X}" for byte in id_.encode())

    assert server.deliver(body("message.sent", id_, sequence=1)).json()["messageId"] == id_
    assert server.get(f"/messages/{escaped}/history").json()["messageId"] == id_


def test_the_largest_body_is_taken_and_one_byte_more_is_not(server: Running, message_id: str) -> None:
    start = body("message.sent", message_id, sequence=1)[:-1] + b', "x": "'
    largest = start + b"x" * (BODY_BYTES_MAX - len(start) - 2) + b'"}'

    assert server.deliver(largest).status_code == 202
    too_large = server.deliver(largest + b" ")
    assert (too_large.status_code, too_large.headers["connection"]) == (413, "close")
    assert too_large.json() == {
        "type": "docs/HTTP.md#problem-body-too-large",
        "title": "The body is too large",
        "status": 413,
        "detail": "the body is larger than 262144 bytes",
    }


LONG_AGO = "1732377600"
LARGE = b"x" * (BODY_BYTES_MAX + 1)
SMALL = b"{}"
GZIP = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    "method, headers, raw, status",
    [
        ("PUT", GZIP, LARGE, 405),
        ("POST", GZIP, LARGE, 413),
        ("POST", GZIP, SMALL, 415),
        ("POST", {}, SMALL, 401),
        ("POST", signed(SMALL), SMALL, 202),
    ],
)
def test_method_size_encoding_signature_and_body_are_checked_in_this_order(
    server: Running, method: str, headers: dict[str, str], raw: bytes, status: int
) -> None:
    assert server.http.request(method, WEBHOOKS, content=raw, headers=headers).status_code == status


def test_the_size_of_a_compressed_body_without_an_announced_length_comes_first_as_well(server: Running) -> None:
    head = {"Transfer-Encoding": "chunked", **GZIP}
    with server.wire() as wire:
        wire.send(request("POST", WEBHOOKS, head), b"%x\r\n%s\r\n" % (len(LARGE), LARGE))
        assert wire.answer().status == 413


def test_case_14_a_compressed_body_is_refused(server: Running) -> None:
    for encoding in ("gzip", "br", "identity, gzip", "GZIP"):
        answer = server.http.post(WEBHOOKS, content=SMALL, headers={**signed(SMALL), "Content-Encoding": encoding})
        assert answer.json() == {
            "type": "docs/HTTP.md#problem-encoding-refused",
            "title": "Content-Encoding refused",
            "status": 415,
            "detail": "send the body as it was signed: Content-Encoding must be identity or absent",
        }


def test_an_encoding_hidden_behind_identity_is_refused(server: Running) -> None:
    twice = [*signed(SMALL).items(), ("Content-Encoding", "gzip"), ("Content-Encoding", "identity")]

    assert server.http.post(WEBHOOKS, content=SMALL, headers=twice).status_code == 415


def test_identity_says_nothing(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1)

    answer = server.http.post(WEBHOOKS, content=raw, headers={**signed(raw), "Content-Encoding": "Identity"})

    assert answer.status_code == 202


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_case_20_webhooks_are_delivered_with_post_alone(server: Running, method: str) -> None:
    answer = server.http.request(method, WEBHOOKS)

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.headers["x-request-id"]
    assert method == "HEAD" or answer.json() == {
        "type": "docs/HTTP.md#problem-method-not-allowed",
        "title": "Method not allowed",
        "status": 405,
        "detail": "Deliver webhooks with POST.",
    }
    assert 'ledger_webhooks_refused_total{problem="method-not-allowed"}' in server.get("/metrics").text


def test_without_signing_at_the_provider_every_delivery_is_taken(tmp_path: Path) -> None:
    with running(settings_at(tmp_path, secrets=None)) as server:
        answer = server.http.post(WEBHOOKS, content=body("message.sent", "msg_1", sequence=1))
        (event,) = server.get("/messages/msg_1/history").json()["events"]

    assert answer.status_code == 202
    assert (event["signature"], event["late"]) == (None, False)


def test_a_delivery_needs_no_api_key_and_no_content_type(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1)

    answer = server.http.post(WEBHOOKS + "?x=1", content=raw, headers={**signed(raw), "Content-Type": "text/plain"})

    assert answer.status_code == 202


def test_the_receiver_tells_the_same_on_every_engine(store_url: str) -> None:
    with running(settings_at(store_url)) as server:
        facts = [body("message.queued", "msg_1", sequence=1), body("message.sent", "msg_1", sequence=2), b"?", b"?"]
        answers = [server.deliver(raw) for raw in [*facts, facts[0]]]

    assert [answer.status_code for answer in answers] == [202, 202, 202, 200, 200]
    outcomes = [answer.json()["outcome"] for answer in answers]
    assert outcomes == ["recorded", "recorded", "quarantined", "quarantined", "duplicate"]


def test_what_was_kept_but_should_be_looked_at_and_what_was_refused_leave_a_line_a_second(tmp_path: Path) -> None:
    raw = body("message.sent", "msg_1", sequence=1)
    with running(settings_at(tmp_path)) as server, capture_logs() as lines:
        late = server.deliver(raw, timestamp=LONG_AGO).json()["position"]
        unreadable = server.deliver(b"+15557654321 ?").json()["quarantineId"]
        for _ in range(3):
            server.http.post(WEBHOOKS, content=raw, headers=signed(raw) | GZIP)
        server.http.post(WEBHOOKS, content=LARGE)

    told = [line for line in lines if line["event"].startswith("a delivery") and "left_out" not in line]
    assert all(line["request_id"] and line["log_level"] == "warning" for line in told)
    assert {(line["event"], line.get("position") or line.get("quarantine_id")) for line in told} >= {
        ("a delivery is late", late),
        ("a delivery cannot be read and is in quarantine", unreadable),
    }
    assert [line["why"] for line in told if "why" in line] == ["the body is not JSON: expecting value at character 0"]
    assert {line["reason"] for line in told if "reason" in line} == {"encoding-refused", "body-too-large"}
    assert "+15557654321" not in str(told)


def test_forged_deliveries_fill_no_disk_with_log_lines_and_are_all_counted(fresh: Running) -> None:
    raw = body("message.sent", "msg_1", sequence=1)
    forged = signed(raw) | {"X-RedCloud-Signature": "0" * 64}
    with capture_logs() as lines:
        began_s = time.monotonic()
        for _ in range(50):
            assert fresh.http.post(WEBHOOKS, content=raw, headers=forged).status_code == 401
        until(lambda: sum(line.get("left_out", 1) for line in lines) == 50)
        lasted_s = time.monotonic() - began_s

    assert {(line["event"], line["reason"]) for line in lines} == {
        ("a delivery was refused", "no active secret made this signature")
    }
    assert all(("request_id" in line) != ("left_out" in line) for line in lines)
    assert len(lines) <= lasted_s / EVERY_S + 1
    refused = 'ledger_webhooks_refused_total{problem="signature-refused"} 50.0'
    assert refused in fresh.http.get("/metrics").text


def test_how_many_lines_of_a_kind_were_left_out_is_told_when_their_second_is_over_whether_more_come_or_not() -> None:
    ends_of_seconds: list[Callable[[], None]] = []
    seldom = Seldom(lambda seconds, end: ends_of_seconds.append(end) if seconds == EVERY_S else None)
    with capture_logs() as lines:
        for number in range(8):
            seldom.tell("late", position=f"0-{number}")
        seldom.tell("refused", "forged")
        for end in ends_of_seconds[:]:
            end()
        seldom.tell("late", position="0-8")
        seldom.tell("refused", "forged")
        for end in ends_of_seconds[2:]:
            end()

    told = [{name: line[name] for name in line if name != "log_level"} for line in lines]
    assert told == [
        {"event": "late", "position": "0-0"},
        {"event": "refused", "reason": "forged"},
        {"event": "late", "left_out": 7},
        {"event": "refused", "reason": "forged"},
        {"event": "late", "left_out": 1},
    ]
