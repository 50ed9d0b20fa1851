"""Attacks 12, 13, 15, 22, 23 of the attack table, and the odd sides of HTTP/1.1, over raw sockets."""

import asyncio
import contextlib
import math
import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any, cast

import pytest

from api.errors import BodyCutOff, BodyTooSlow
from api.http.connection import HEAD_BYTES_MAX
from api.http.paired_writes import PairedWrites
from api.http.problems import KINDS
from tests.api.running import WEBHOOKS, Running, key_of, signed, until
from tests.api.wire import Wire, request
from tests.builders import body

KEY = {"Authorization": f"Bearer {key_of('reader')}"}
CHUNK_BYTES = 16 * 1024
CHUNK = b"%x\r\n%s\r\n" % (CHUNK_BYTES, b"x" * CHUNK_BYTES)
SLOW_CLIENTS = 500
MiB = 1024 * 1024


def memory_bytes() -> int:
    """What this process, the server's as well, holds in memory now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError


def problem_slug(type_: str) -> str:
    return type_.rpartition("#problem-")[2]


def test_case_12_a_body_without_end_is_refused_and_costs_no_memory(server: Running) -> None:
    before = memory_bytes()

    with server.wire() as wire:
        wire.send(request("POST", WEBHOOKS, {"Transfer-Encoding": "chunked"}))
        taken = wire.send_until_refused(repeat(CHUNK, 8_192))
        answer = wire.answer()
        assert wire.is_closed()

    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert taken < 16 * MiB  # what fits between two sockets, of the 128 MiB that were on their way
    assert memory_bytes() - before < 16 * MiB


def test_case_12_an_announced_body_that_is_too_large_is_refused_before_it_is_sent(server: Running) -> None:
    with server.wire() as wire:
        wire.send(request("POST", WEBHOOKS, {"Content-Length": str(10**12), "Expect": "100-continue"}))
        answer = wire.answer()
        assert (answer.status, wire.is_closed()) == (413, True)


def test_whoever_still_sends_a_body_that_was_refused_is_read_for_a_while_and_not_reset(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.connection.LINGERS_S_MAX", 0.5)
    with server.wire() as wire:
        wire.send(request("POST", WEBHOOKS, {"Content-Length": str(10**9)}))
        assert wire.answer().status == 413
        for _ in range(10):
            wire.send(CHUNK)
            time.sleep(0.01)
        assert wire.is_closed()  # in one direction: a connection that was reset would not have taken the pieces

        def is_cut() -> bool:
            with contextlib.suppress(OSError):
                wire.send(b"x")
                return False
            return True

        until(is_cut)


def test_case_13_a_body_shorter_than_announced_is_refused_and_the_connection_closed(server: Running) -> None:
    raw = body("message.sent", "msg_short", sequence=1)
    with server.wire() as wire:
        wire.send(request("POST", WEBHOOKS, {"Content-Length": str(len(raw) + 1), **signed(raw)}), raw).end()
        answer = wire.answer()
        assert (answer.status, problem_slug(answer.json()["type"]), wire.is_closed()) == (400, "body-cut-off", True)
        assert answer.json()["title"] == KINDS[BodyCutOff].title
    assert server.get("/messages/msg_short/history").status_code == 404


def test_case_13_a_body_longer_than_announced_is_refused_and_the_connection_closed(server: Running) -> None:
    raw = body("message.sent", "msg_long", sequence=1)
    with server.wire() as wire:
        wire.send(request("POST", WEBHOOKS, {"Content-Length": str(len(raw) - 1), **signed(raw)}, raw))
        answer = wire.answer()
        assert (answer.status, problem_slug(answer.json()["type"])) == (400, "malformed-request")
        assert wire.is_closed()
    assert server.get("/messages/msg_long/history").status_code == 404


MALFORMED = {
    "no HTTP": b"HELLO\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "two lengths": b"POST /webhooks/red-cloud HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "a negative length": b"POST /webhooks/red-cloud HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "a length of 30 digits": b"POST /webhooks/red-cloud HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999999999999999999999\r\n\r\n",
    "length and chunks": (
        b"POST /webhooks/red-cloud HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a chunk of no size": b"POST /webhooks/red-cloud HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "NUL in a header": b"GET /livez HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "a folded header": b"GET /livez HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "no target": b"GET  HTTP/1.1\r\n\r\n",
    "a target of other letters": "GET /é HTTP/1.1\r\n\r\n".encode(),
    "an absolute target without a path": b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "another coding": (
        b"POST /webhooks/red-cloud HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
    ),
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_not_http_is_refused_as_a_problem_and_the_connection_closed(server: Running, raw: bytes) -> None:
    with server.wire() as wire:
        answer = wire.send(raw).answer()
        assert wire.is_closed()

    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json() == {
        "type": "docs/HTTP.md#problem-malformed-request",
        "title": "Bad Request",
        "status": 400,
        "detail": "This is not an HTTP/1.1 request.",
    }


@pytest.mark.parametrize("line", [b"X-%d: y\r\n", b"%d" + b"y" * 1_000], ids=["many headers", "one long header"])
def test_a_head_without_end_is_refused_and_costs_no_memory(server: Running, line: bytes) -> None:
    before, begun = memory_bytes(), b"GET /livez HTTP/1.1\r\nX: "
    with server.wire() as wire:
        wire.send(begun)
        taken = wire.send_until_refused(line % number for number in range(64 * MiB // len(line)))
        answer = wire.answer()
        assert wire.is_closed()

    assert (answer.status, problem_slug(answer.json()["type"])) == (431, "head-too-large")
    assert HEAD_BYTES_MAX < len(begun) + taken < 16 * MiB
    assert memory_bytes() - before < 16 * MiB


@pytest.mark.parametrize("place", ["/livez?{}", "/livez HTTP/1.1\r\nX: {}\r\nHost: a"])
@pytest.mark.parametrize("more, status", [(-100, 200), (1, 431)])
def test_a_head_has_64_kib_however_it_comes(server: Running, place: str, more: int, status: int) -> None:
    target, _, headers = place.format("x" * (HEAD_BYTES_MAX + more)).partition(" ")
    raw = f"GET {target} {headers or 'HTTP/1.1'}\r\n".encode() + (b"" if headers else b"Host: a\r\n") + b"\r\n"
    with server.wire() as wire:
        assert wire.send(raw).answer().status == status


@pytest.mark.parametrize("begun", [b"", b"POST /webhooks/red-cloud HTTP/1.1\r\nHost: a\r\n"], ids=["nothing", "a head"])
def test_who_never_finishes_a_head_is_refused_in_time(
    server: Running, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr("api.http.connection.HEAD_DEADLINE_S", 0.1)
    with server.wire() as wire:
        answer = wire.send(begun).answer()
        assert wire.is_closed()

    assert (answer.status, problem_slug(answer.json()["type"])) == (408, "head-too-slow")


def test_who_never_finishes_a_second_head_is_refused_in_time(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.connection.HEAD_DEADLINE_S", 0.1)
    with server.wire() as wire:
        assert wire.send(request("GET", "/livez")).answer().status == 200
        assert wire.send(b"GET /livez HT").answer().status == 408


def test_who_is_refused_for_being_slow_and_then_goes_away_leaves_nothing_in_the_log(
    server: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("api.http.connection.BODY_DEADLINE_S", 0.1)
    for _ in range(3):
        with server.wire() as wire:
            assert wire.send(request("POST", WEBHOOKS, {"Content-Length": "100"}), b"{").answer().status == 408
            wire.end()
            assert wire.is_closed()

    assert server.http.get("/livez").status_code == 200
    assert [each.getMessage() for each in caplog.records if each.name == "asyncio"] == []


def test_who_never_finishes_a_body_is_refused_in_time_and_counted_under_the_same_name(
    fresh: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.connection.BODY_DEADLINE_S", 0.1)
    with fresh.wire() as wire:
        answer = wire.send(request("POST", WEBHOOKS, {"Content-Length": "2"}), b"{").answer()
        assert wire.is_closed()

    assert (answer.status, problem_slug(answer.json()["type"])) == (408, "body-too-slow")
    assert answer.json()["title"] == KINDS[BodyTooSlow].title
    counted = 'ledger_webhooks_refused_total{problem="body-too-slow"} 1.0'
    until(lambda: counted in fresh.http.get("/metrics").text)


def trickled(server: Running) -> Iterator[Wire]:
    """Connections that have begun a body and never go on, and others that have begun a head."""
    for number in range(SLOW_CLIENTS):
        wire = server.wire()
        yield wire.send(request("POST", WEBHOOKS, {"Content-Length": "1000"}) + b"{" if number % 2 else b"POST /web")


def test_case_15_500_slow_connections_keep_nobody_waiting(server: Running) -> None:
    slow = list(trickled(server))
    try:
        took_s = []
        for number in range(200):
            raw = body("message.sent", f"msg_fast_{number}", sequence=1)
            began_s = time.perf_counter()
            with server.wire() as wire:  # a new connection each, as a provider would make
                assert wire.send(request("POST", WEBHOOKS, signed(raw), raw)).answer().status == 202
            took_s.append(time.perf_counter() - began_s)
            for wire in slow[number :: len(took_s) * 2]:
                wire.send(b" ")
    finally:
        for wire in slow:
            wire.close()

    assert sorted(took_s)[math.ceil(0.99 * len(took_s)) - 1] < 1.0


@pytest.mark.parametrize("path", ["//webhooks/red-cloud", "/webhooks/red-cloud/", "/webhooks//red-cloud", "/./livez"])
def test_case_23_a_path_that_is_almost_right_is_not_found_and_not_redirected(server: Running, path: str) -> None:
    raw = body("message.sent", "msg_almost", sequence=1)
    with server.wire() as wire:
        answer = wire.send(request("POST", path, signed(raw), raw)).answer()

    assert (answer.status, "location" in answer.headers) == (404, False)
    assert answer.json() == {
        "type": "docs/HTTP.md#problem-not-found",
        "title": "Not found",
        "status": 404,
        "detail": "Not found.",
    }


ODD_TARGETS = {
    "/messages/'%20OR%201=1--/history": 404,
    "/messages/%27%3B%20DROP%20TABLE%20events/history": 404,
    "/messages/%00/history": 404,
    "/messages/a%00b/history/1/body": 404,
    "/messages/%FF/history": 400,
    "/messages/%ED%A0%80/history": 400,
    "/messages/%/history": 404,
    "/messages/%zz/history": 404,
    "/messages/../../etc/passwd": 404,
    "/messages/..%2F..%2Fetc%2Fpasswd/history": 404,
    "/messages/" + "a" * 30_000 + "/history": 404,
    "/messages//history": 404,
    "/messages/a/history?cursor='%20OR%201=1": 400,
    "/messages/a/history?cursor=%EF%BC%91": 400,
    "/messages/a/history/0/body": 404,
    "/messages/a/history/-1/body": 404,
    "/messages/a/history/1e3/body": 404,
    "/messages/a/history/9999999999999999999999/body": 404,
    "/sends/%00": 404,
    "/sends/'%20OR%201=1": 404,
    "/sends/%FF": 400,
    "/feed?after='%20OR%201=1": 400,
    "/feed?after=%00": 400,
    "/feed?after=a&after=b": 400,
    "/feed?after=%F0%9F%98%80": 400,
    "/feed?after=" + "A" * 30_000: 400,
    "/feed?nonsense=1&%00=%00&=&&&": 400,
    "/feed?cursor=": 400,
    "/feed?&&&": 200,
    "/feed/stream?after=garbage": 400,
    "/messages?phone='%20OR%201=1--": 200,
    "/messages?externalReference=%27%3B%20DROP%20TABLE%20events": 200,
    "/messages?numberId=..%2F..%2Fetc%2Fpasswd": 200,
    "/messages?failureCode=%F0%9F%98%80%E2%80%AE": 200,
    "/messages?phone=%00": 400,
    "/messages?status='%20OR%201=1": 400,
    "/messages?direction=sideways": 400,
    "/messages?updatedAfter=yesterday": 400,
    "/messages?limit=1000000000": 400,
    "/messages?cursor=garbage": 400,
    "/messages/'%20OR%201=1--": 404,
    "/messages/%00": 404,
    "/messages/%FF": 400,
    "/messages/..%2F..%2Fetc%2Fpasswd": 404,
    "/messages/m?asOf=garbage": 400,
    "/messages/m?waitFor=garbage": 400,
    "/conversations?participant='%20OR%201=1": 200,
    "/conversations?cursor=garbage": 400,
    "/conversations/%00": 404,
    "/conversations/'%20OR%201=1/messages": 404,
}


@pytest.mark.parametrize("target, status", ODD_TARGETS.items(), ids=[target[:60] for target in ODD_TARGETS])
def test_case_22_odd_ids_and_queries_are_not_found_or_refused(server: Running, target: str, status: int) -> None:
    with server.wire() as wire:
        answer = wire.send(request("GET", target, KEY)).answer()

    assert answer.status == status
    assert status != 200 or answer.json().get("items", []) == []


@pytest.mark.parametrize("limit", ["1000000000", "0", "-1", "1001", "1e2", "", "%EF%BC%91", "9" * 5_000])
@pytest.mark.parametrize("path", ["/feed", "/quarantine", "/messages/m/history", "/messages", "/conversations"])
def test_case_25_a_limit_that_makes_no_sense_is_refused(server: Running, path: str, limit: str) -> None:
    answer = server.get(f"{path}?limit={limit}", "admin")

    assert (answer.status_code, problem_slug(answer.json()["type"])) == (400, "malformed-question")
    assert answer.json()["detail"].startswith("limit: expected a whole number from 1 to 1000, got ")


@pytest.mark.parametrize("cursor", ["garbage", "ZmVlZDEsMA", "cXVhcmFudGluZQAxAHg", "=", "%2B%2B%2B", "0-1"])
@pytest.mark.parametrize("path", ["/quarantine?cursor=", "/messages/m/history?cursor=", "/feed?after=0"])
def test_case_25_a_cursor_that_we_did_not_give_is_refused(server: Running, path: str, cursor: str) -> None:
    answer = server.get(path + cursor, "admin")

    assert answer.status_code == 400
    assert answer.json() == {
        "type": "docs/HTTP.md#problem-malformed-question",
        "title": "A parameter makes no sense",
        "status": 400,
        "detail": ("after: " if "after=" in path else "")
        + "the cursor is not one that this ledger gave out; start without one, or use a `next`",
    }


def test_an_absolute_target_is_the_same_as_its_path(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1)
    with server.wire() as wire:
        answer = wire.send(request("POST", "http://elsewhere.example" + WEBHOOKS, signed(raw), raw)).answer()
    assert answer.status == 202


def test_a_client_of_http_1_0_is_answered_and_its_connection_closed(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1)
    with server.wire() as wire:
        wire.send(request("POST", WEBHOOKS, signed(raw), raw).replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1))
        assert (wire.answer().status, wire.is_closed()) == (202, True)


def test_a_sender_that_waits_for_100_continue_is_told_to_go_on(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1)
    with server.wire() as wire:
        wire.send(request("POST", WEBHOOKS, {**signed(raw), "Expect": "100-continue", "Content-Length": str(len(raw))}))
        assert wire.answer().status == 100
        assert wire.send(raw).answer().status == 202


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_an_offer_to_upgrade_is_not_taken_up(server: Running, message_id: str, protocol: str) -> None:
    offer = {"Connection": "Upgrade, HTTP2-Settings", "UPGRADE": protocol, "HTTP2-Settings": "AAEAAEAAAAIAAAAA"}
    raw = body("message.sent", message_id, sequence=1, note="\r\nUpgrade: not a header\r\n\r\n")
    with server.wire() as wire:
        assert wire.send(request("GET", "/livez", offer)).answer().status == 200
        assert wire.send(request("POST", WEBHOOKS, {**signed(raw), **offer}, raw)).answer().status == 202
        assert wire.send(request("POST", WEBHOOKS, signed(raw), raw)).answer().status == 200


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"


@pytest.mark.parametrize("chunked", [False, True])
def test_no_way_to_cut_an_offer_to_upgrade_into_pieces_costs_the_body(
    server: Running, message_id: str, *, chunked: bool
) -> None:
    raw = body("message.sent", message_id, sequence=1)
    if chunked:
        content = b"%x\r\n%b\r\n0\r\n\r\n" % (len(raw), raw)
        plain = request("POST", WEBHOOKS, signed(raw) | {"Transfer-Encoding": "chunked"}) + content
    else:
        plain = request("POST", WEBHOOKS, signed(raw), raw)
    whole = plain.replace(b"\r\n", b"\r\n" + OFFER, 1)
    for cut in range(1, whole.index(b"\r\n\r\n") + 4):
        with server.wire() as wire:
            wire.send(whole[:cut])
            time.sleep(0.002)
            assert wire.send(whole[cut:]).answer().status in {200, 202}, whole[:cut]
    with server.wire() as wire:
        twice = whole.replace(b"Upgrade: h2c\r\n", b"Upgrade: h2c\r\nupGrade: h3\r\n")
        assert wire.send(twice).answer().status == 200


def test_a_second_request_in_one_piece_that_offers_to_upgrade_is_never_taken_without_its_body(
    server: Running, message_id: str
) -> None:
    raw = body("message.sent", message_id, sequence=1)
    second = request("POST", WEBHOOKS, signed(raw), raw).replace(b"\r\n", b"\r\n" + OFFER, 1)
    with server.wire() as wire:
        wire.send(request("GET", "/livez") + second)
        assert wire.is_closed()
    assert server.get(f"/messages/{message_id}/history").status_code == 404


def test_no_way_to_cut_two_deliveries_in_one_piece_costs_either(server: Running, message_id: str) -> None:
    first, second = (body("message.sent", message_id, sequence=sequence) for sequence in (1, 2))
    pair = request("POST", WEBHOOKS, signed(first), first) + b"\r\n" + request("POST", WEBHOOKS, signed(second), second)
    statuses = {}
    for cut in range(1, len(pair)):
        with server.wire() as wire:
            wire.send(pair[:cut])
            time.sleep(0.002)
            wire.send(pair[cut:])
            statuses[cut] = [answer_or_none(wire), answer_or_none(wire)]

    assert {cut: each for cut, each in statuses.items() if not set(each) <= {200, 202}} == {}


def answer_or_none(wire: Wire) -> int | None:
    """The status of the next answer; None where none comes."""
    try:
        return wire.answer().status
    except OSError:
        return None


def test_a_body_before_a_head_does_not_count_as_that_head(fresh: Running) -> None:
    fresh.service.wait_for_s_max = 0.1
    raws = [
        body("message.sent", "msg_1", sequence=1, note="x" * HEAD_BYTES_MAX),
        body("message.sent", "msg_1", sequence=2),
    ]
    first, second = (request("POST", WEBHOOKS, signed(raw), raw) for raw in raws)
    with fresh.wire() as wire:
        # While one request is answered and another waits, the server does not read; then it reads all of this at once.
        wire.send(request("GET", "/messages/m?waitFor=0-9", KEY) + request("GET", "/livez"))
        time.sleep(0.01)
        wire.send(first + second[:40])
        assert [wire.answer().status for _ in range(3)] == [504, 200, 202]
        assert wire.send(second[40:]).answer().status == 202


def test_who_sends_nothing_more_still_gets_the_answer(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1)
    with server.wire() as wire:
        assert wire.send(request("POST", WEBHOOKS, signed(raw), raw)).end().answer().status == 202
        assert wire.is_closed()


def test_all_that_came_before_a_sender_sends_nothing_more_is_answered(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1)
    with server.wire() as wire:
        wire.send(request("POST", WEBHOOKS, signed(raw), raw) + request("GET", "/livez")).end()
        assert [wire.answer().status for _ in range(2)] == [202, 200]
        assert wire.is_closed()


def test_a_delivery_is_answered_though_the_one_behind_it_is_cut_off(server: Running, message_id: str) -> None:
    first, second = (body("message.sent", message_id, sequence=number) for number in (1, 2))
    cut_off = request("POST", WEBHOOKS, signed(second), second)[:-1]
    with server.wire() as wire:
        assert wire.send(request("POST", WEBHOOKS, signed(first), first) + cut_off).end().answer().status == 202
        assert wire.is_closed()


@pytest.mark.parametrize(
    "behind",
    [
        b"POST /webhooks/red-cloud HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /webhooks/red-cloud HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX: " + b"y" * HEAD_BYTES_MAX + b"\r\n\r\n",
    ],
    ids=["no host", "another coding", "a large head"],
)
def test_a_delivery_is_taken_whatever_is_refused_behind_it_in_one_piece(
    server: Running, message_id: str, behind: bytes
) -> None:
    raw = body("message.sent", message_id, sequence=1)
    with server.wire() as wire:
        answer = wire.send(request("POST", WEBHOOKS, signed(raw), raw) + behind).answer()
        assert (answer.status, answer.headers["connection"]) == (202, "close")
        assert wire.is_closed()


def test_a_stream_ends_with_its_client_also_where_a_request_came_behind_it(server: Running) -> None:
    with server.wire() as wire:
        wire.send(request("GET", "/feed/stream", KEY) + request("GET", "/livez"))
        assert "200" in wire.head()
        until(lambda: server.service.open_streams == 1)
    until(lambda: server.service.open_streams == 0)


def test_an_empty_line_behind_a_request_begins_nothing(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.connection.HEAD_DEADLINE_S", 0.1)
    with server.wire() as wire:
        assert wire.send(request("GET", "/livez")).answer().status == 200
        wire.send(b"\r\n")
        time.sleep(0.3)
        assert not wire.is_answered()
        assert wire.send(b"\r\n", request("GET", "/livez")).answer().status == 200
        wire.send(b"\r\n")
        assert wire.is_closed()  # as one that is idle


def test_options_of_the_whole_server_are_not_found(server: Running) -> None:
    with server.wire() as wire:
        assert wire.send(request("OPTIONS", "*")).answer().status == 404


def test_a_connection_goes_on_after_a_refusal(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1)
    with server.wire() as wire:
        refusals = [
            request("POST", WEBHOOKS, {}, raw),
            request("PUT", WEBHOOKS, {}, raw),
            request("POST", "/nowhere", {}, raw),
            request("POST", "/sends", {}, raw),
            request("POST", WEBHOOKS, {"Content-Encoding": "br"}, raw),
        ]
        statuses = [wire.send(refusal).answer().status for refusal in refusals]
        assert statuses == [401, 405, 404, 401, 415]
        assert wire.is_closed()  # as was said with the last

    with server.wire() as wire:
        pipelined = [request("POST", WEBHOOKS, {}, raw), request("POST", WEBHOOKS, signed(raw), raw)]
        wire.send(*pipelined)
        assert [wire.answer().status for _ in pipelined] == [401, 202]


class Sent(list[str]):
    """A transport that notes what it is told to do."""

    get_extra_info = is_closing = abort = pause_reading = resume_reading = None

    def write(self, piece: bytes) -> None:
        self.append(piece.decode())

    def writelines(self, pieces: tuple[bytes, ...]) -> None:
        self.append("+".join(piece.decode() for piece in pieces))

    def close(self) -> None:
        self.append("closed")


async def what_is_sent(*turns: tuple[str, ...]) -> list[str]:
    """What goes out where this is written, and the connection closed in the last turn of the event loop."""
    sent = Sent()
    writer = PairedWrites(cast("Any", sent), asyncio.get_running_loop(), lambda: False)
    for turn in turns:
        for piece in turn:
            writer.write(piece.encode())
        await asyncio.sleep(0) if turn is not turns[-1] else writer.close()
    return sent


@pytest.mark.parametrize(
    "turns, sent",
    [
        ([("head", "body")], ["head+body", "closed"]),
        ([("head",), ("event",), ("event", "end")], ["head", "event", "event+end", "closed"]),
        ([("head", "chunk", "chunk"), ("end",)], ["head+chunk", "chunk", "end", "closed"]),
    ],
)
def test_the_two_pieces_of_an_answer_go_out_together_and_a_stream_is_not_kept_waiting(
    turns: list[tuple[str, ...]], sent: list[str]
) -> None:
    assert asyncio.run(what_is_sent(*turns)) == sent


@pytest.mark.parametrize("path", ["/livez", "/feed", "/feed/stream"])
def test_head_is_get_without_a_body(server: Running, path: str) -> None:
    with server.wire() as wire:
        wire.send(request("HEAD", path, KEY), request("GET", "/livez"))
        assert wire.head().startswith("HTTP/1.1 200 OK\r\n")
        assert wire.answer().json() == {"status": "alive"}


@pytest.mark.parametrize("method, path", [("OPTIONS", "/feed"), ("DELETE", "/messages/m/history"), ("GET", "/sends")])
def test_a_method_that_a_path_does_not_have_is_refused(server: Running, method: str, path: str) -> None:
    answer = server.ask(method, path, "admin", {})

    assert (answer.status_code, answer.headers["content-type"]) == (405, "application/problem+json")
    assert answer.headers["allow"]
    assert answer.json() == {
        "type": "docs/HTTP.md#problem-method-not-allowed",
        "title": "Method not allowed",
        "status": 405,
        "detail": "Method not allowed.",
    }


def test_a_client_that_goes_away_has_delivered_all_the_same(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1)
    server.wire().send(request("POST", WEBHOOKS, signed(raw), raw)).close()

    until(lambda: server.get(f"/messages/{message_id}/history").status_code == 200)
    assert len(server.get(f"/messages/{message_id}/history").json()["events"]) == 1
