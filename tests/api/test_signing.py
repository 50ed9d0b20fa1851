"""Attacks 1 to 11 of the attack table, and 28: who may write into the ledger, over a real socket."""

import hmac
import json
import time
from pathlib import Path

import pytest

from api.clock_watch import LATE_IN_A_ROW_MAX
from ledger.clock import now_us
from ledger.signatures import Secret
from tests.api.running import SECRETS, WEBHOOKS, Running, running, settings_at, signed
from tests.api.wire import Answer, request
from tests.builders import body

RAW = b'{"eventType":"message.sent","messageId":"msg_attacked","sequence":1}'
REFUSED = {
    "type": "docs/HTTP.md#problem-signature-refused",
    "title": "Signature refused",
    "status": 401,
    "detail": "The signature could not be verified. Nothing was stored.",
}
DAY_S = 24 * 60 * 60


def delivered_raw(server: Running, lines: bytes, raw: bytes = RAW) -> Answer:
    """The answer to a delivery whose header lines are sent to the letter."""
    head = b"POST /webhooks/red-cloud HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n" % len(raw)
    with server.wire() as wire:
        return wire.send(head + lines + b"\r\n" + raw).answer()


def header_lines(headers: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("utf-8")


def is_refused(server: Running, answer: Answer) -> bool:
    """Whether it is the one refusal, and nothing was stored."""
    assert (answer.status, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.json() == REFUSED
    return server.get("/messages/msg_attacked/history").status_code == 404


def test_case_1_an_unsigned_delivery_is_refused(server: Running) -> None:
    good = signed(RAW)
    for missing in (set(good), {"X-RedCloud-Timestamp"}, {"X-RedCloud-Signature"}):
        kept = {name: value for name, value in good.items() if name not in missing}
        assert is_refused(server, delivered_raw(server, header_lines(kept)))


def test_case_2_a_signature_by_another_secret_is_refused(server: Running) -> None:
    now = str(int(time.time()))
    of_another = hmac.digest(b"another secret", now.encode() + b"." + RAW, "sha256").hex()

    for digest in (of_another, "0" * 64):
        wrong = {"X-RedCloud-Timestamp": now, "X-RedCloud-Signature": digest}
        assert is_refused(server, delivered_raw(server, header_lines(wrong)))


def test_case_3_one_changed_byte_of_the_body_is_refused(server: Running) -> None:
    assert is_refused(server, delivered_raw(server, header_lines(signed(RAW)), RAW.replace(b":1}", b":2}")))


def test_case_4_a_signature_over_the_same_json_written_otherwise_is_refused(server: Running) -> None:
    rewritten = json.dumps(json.loads(RAW)).encode()

    assert rewritten != RAW
    assert is_refused(server, delivered_raw(server, header_lines(signed(rewritten))))


def test_case_5_a_replay_is_stored_once(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1)
    lines = header_lines(signed(raw))

    answers = [delivered_raw(server, lines, raw) for _ in range(3)]

    assert [answer.status for answer in answers] == [202, 200, 200]
    assert {answer.json()["position"] for answer in answers} == {answers[0].json()["position"]}


@pytest.mark.parametrize(
    "age_s, late", [(0, False), (7_100, False), (3 * 3_600, True), (-7_100, False), (-7_300, True)]
)
def test_case_6_a_signature_outside_the_window_is_recorded_and_marked(
    server: Running, message_id: str, age_s: int, *, late: bool
) -> None:
    raw = body("message.sent", message_id, sequence=1)

    assert server.deliver(raw, timestamp=str(int(time.time()) - age_s)).status_code == 202
    (event,) = server.get(f"/messages/{message_id}/history").json()["events"]
    assert (event["late"], event["effect"]) == (late, "applied")


TIMESTAMPS = ["1e9", "-1", "１７", "1.5", "9" * 400, "", "1_0", "+1700000000", "0x10", "17000000000000", "2026-11-23"]


@pytest.mark.parametrize("timestamp", TIMESTAMPS)
def test_case_7_a_timestamp_in_another_form_is_refused_under_a_good_signature(server: Running, timestamp: str) -> None:
    assert is_refused(server, delivered_raw(server, header_lines(signed(RAW, timestamp=timestamp))))


@pytest.mark.parametrize("form", ["1732377600", "1732377600123", "2024-11-23T16:00:00Z", "2024-11-23T17:00:00.5+01:00"])
def test_a_timestamp_in_each_documented_form_is_accepted(server: Running, message_id: str, form: str) -> None:
    assert server.deliver(body("message.sent", message_id, sequence=1), timestamp=form).status_code == 202


def test_case_8_the_border_between_timestamp_and_body_cannot_be_moved(server: Running) -> None:
    """Signed was `1700000000.` and a body with a dot in it; sent is a longer timestamp and the rest of the body."""
    whole = b'{"x":0.' + RAW
    signature = signed(whole, timestamp="1700000000")["X-RedCloud-Signature"]
    moved = {"X-RedCloud-Timestamp": '1700000000.{"x":0', "X-RedCloud-Signature": signature}

    assert is_refused(server, delivered_raw(server, header_lines(moved)))


@pytest.mark.parametrize("name", ["X-RedCloud-Signature", "x-redcloud-timestamp"])
def test_case_9_a_header_that_comes_twice_is_refused(server: Running, name: str) -> None:
    good = signed(RAW)
    value = {key.lower(): value for key, value in good.items()}[name.lower()]

    assert is_refused(server, delivered_raw(server, header_lines(good) + f"{name}: {value}\r\n".encode()))


def test_case_10_upper_case_hex_is_accepted(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1)
    good = signed(raw)
    upper = good | {"X-RedCloud-Signature": good["X-RedCloud-Signature"].upper()}

    assert delivered_raw(server, header_lines(upper), raw).status == 202


@pytest.mark.parametrize("change", ["sha256={}", "é{}", "{}é", "{}\xa0", "{} {}", "{}00", "0x{}", "{}, {}"])
def test_case_10_anything_else_around_the_hex_is_refused(server: Running, change: str) -> None:
    good = signed(RAW)
    digits = good["X-RedCloud-Signature"]
    changed = good | {"X-RedCloud-Signature": change.format(digits, digits)}

    assert is_refused(server, delivered_raw(server, header_lines(changed)))


def test_case_11_an_old_secret_works_until_it_is_removed(tmp_path: Path) -> None:
    first, second = (body("message.sent", "msg_1", sequence=sequence) for sequence in (1, 2))
    with running(settings_at(tmp_path)) as server:
        assert server.deliver(first, secret="old").status_code == 202
        (event,) = server.get("/messages/msg_1/history").json()["events"]
        assert event["signature"]["secretId"] == "old"

    with running(settings_at(tmp_path, secrets=(Secret("main", SECRETS["main"]),))) as server:
        assert server.deliver(second, secret="old").status_code == 401
        assert server.deliver(second).status_code == 202


@pytest.mark.parametrize("days", [-1, 1])
def test_case_28_with_our_clock_a_day_off_nothing_is_lost_and_an_alarm_is_raised(fresh: Running, days: int) -> None:
    fresh.service.now_us = lambda: time.time_ns() // 1_000 + days * DAY_S * 1_000_000
    bodies = [body("message.sent", f"msg_{n}", sequence=1) for n in range(LATE_IN_A_ROW_MAX)]

    assert fresh.http.get("/readyz").json() == {"status": "ready", "reasons": [], "warnings": []}
    assert {fresh.deliver(raw).status_code for raw in bodies} == {202}
    ready = fresh.http.get("/readyz")
    assert (ready.status_code, len(ready.json()["warnings"])) == (200, 1)
    assert "clock" in ready.json()["warnings"][0]
    assert [event["late"] for event in fresh.stored()] == [True] * LATE_IN_A_ROW_MAX

    fresh.service.now_us = now_us
    fresh.deliver(body("message.sent", "msg_now", sequence=1))
    assert fresh.http.get("/readyz").json()["warnings"] == []


def test_the_refusal_is_the_same_to_the_byte_whatever_was_wrong(server: Running) -> None:
    good = signed(RAW)
    wrongs = [{}, good | {"X-RedCloud-Timestamp": "x"}, good | {"X-RedCloud-Signature": "x"}, signed(RAW + b" ")]

    answers = [delivered_raw(server, header_lines(headers)) for headers in wrongs]

    assert len({answer.body for answer in answers}) == 1
    assert {tuple(sorted(set(answer.headers) - {"date", "x-request-id"})) for answer in answers} == {
        ("cache-control", "content-length", "content-type", "vary")
    }


def test_a_signature_covers_the_body_of_a_chunked_delivery(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1)
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (raw[:10], raw[10:])]

    with server.wire() as wire:
        wire.send(request("POST", WEBHOOKS, {"Transfer-Encoding": "chunked", **signed(raw)}), *chunks, b"0\r\n\r\n")
        assert wire.answer().status == 202
