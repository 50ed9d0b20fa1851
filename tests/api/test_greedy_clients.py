"""Clients that ask faster than they are answered, never end what they send, or never read what they asked for."""

import json
import logging
import socket
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from api.http.connection import BODY_PIECES_MAX, PIPELINED_MAX
from tests.api.running import WEBHOOKS, Running, key_of, running, settings_at, signed, until
from tests.api.test_connections import MiB, memory_bytes, problem_slug
from tests.api.wire import Answer, Wire, request
from tests.builders import body

KEY = {"Authorization": f"Bearer {key_of('reader')}"}
CHUNKED = {"Transfer-Encoding": "chunked"}
NOT_HTTP = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"
LARGE_EVENTS = 40


def answers(wire: Wire) -> Iterator[Answer]:
    """All answers until the other side closes the connection."""
    while True:
        try:
            yield wire.answer()
        except ConnectionResetError:
            return


def test_requests_behind_one_that_is_answered_are_bounded_and_what_is_taken_is_answered(server: Running) -> None:
    with server.wire() as wire:
        wire.send(request("GET", "/livez") * 100)
        answered = list(answers(wire))

    assert [each.status for each in answered] == [200] * (1 + PIPELINED_MAX)
    assert [each.headers.get("connection") for each in answered] == [None] * PIPELINED_MAX + ["close"]


def test_who_asks_without_end_and_reads_nothing_costs_no_memory_and_keeps_nobody_waiting(server: Running) -> None:
    before = memory_bytes()
    with server.wire() as wire:
        wire.send_until_refused([request("GET", "/livez") * 2_000] * 200)
        begun_s = time.monotonic()
        assert server.http.get("/livez").status_code == 200
        waited_s = time.monotonic() - begun_s

    assert memory_bytes() - before < 16 * MiB
    assert waited_s < 1


def test_what_is_not_http_behind_a_delivery_is_not_taken_for_its_answer(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1)
    with server.wire() as wire:
        wire.send(request("POST", WEBHOOKS, signed(raw), raw) + NOT_HTTP)
        assert [each.status for each in answers(wire)] == [202]


def test_white_space_behind_the_value_of_a_header_is_not_part_of_it(server: Running, message_id: str) -> None:
    """RFC 9110, 5.5; a genuine delivery would be refused for what somebody in between added."""
    raw = body("message.sent", message_id, sequence=1)
    spaced = {name: f" {value} \t" for name, value in signed(raw).items()}
    with server.wire() as wire:
        assert wire.send(request("POST", WEBHOOKS, spaced, raw)).answer().status == 202


def test_a_trailer_is_no_header(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1)
    trailers = "".join(f"{name}: {value}\r\n" for name, value in signed(raw).items()).encode()
    framed = b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(raw), raw, trailers)
    with server.wire() as wire:
        unsigned = wire.send(request("POST", WEBHOOKS, CHUNKED), framed).answer()
        twice = wire.send(request("POST", WEBHOOKS, CHUNKED | signed(raw)), framed).answer()

    assert (unsigned.status, twice.status) == (401, 202)


@pytest.mark.parametrize("begun", [b"1\r\n{\r\n0\r\n", b"1;x="], ids=["trailers", "an extension of a chunk"])
def test_what_frames_a_body_has_an_end(server: Running, begun: bytes) -> None:
    before = memory_bytes()
    line = b"X-%d: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" if begun.endswith(b"\n") else b"%d"
    with server.wire() as wire:
        wire.send(request("POST", WEBHOOKS, CHUNKED), begun)
        pieces = (b"".join(line % number for number in range(first, first + 1_000)) for first in count(0, 1_000))
        taken = wire.send_until_refused(piece for piece, _ in zip(pieces, range(2_000), strict=False))
        answer = wire.answer()

    assert (answer.status, problem_slug(answer.json()["type"])) == (431, "head-too-large")
    assert taken < 16 * MiB
    assert memory_bytes() - before < 16 * MiB


def test_a_body_in_very_many_pieces_is_refused(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1, note="x" * BODY_PIECES_MAX)
    chunks = [b"1\r\n%c\r\n" % each for each in raw]
    with server.wire() as wire:
        wire.send(request("POST", WEBHOOKS, CHUNKED | signed(raw)), b"".join(chunks), b"0\r\n\r\n")
        answer = wire.answer()
        assert wire.is_closed()

    assert (answer.status, problem_slug(answer.json()["type"])) == (413, "body-too-large")


def test_a_body_that_nobody_wants_is_not_read_without_end(server: Running) -> None:
    with server.wire() as wire:
        wire.send(request("POST", "/nowhere", {"Content-Length": str(256 * MiB)}), b"x")
        assert wire.answer().status == 404
        taken = wire.send_until_refused([b"x" * 65_536] * (256 * 16))

    assert taken < 16 * MiB


def test_what_is_not_http_leaves_a_line_now_and_then(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        with server.wire() as wire:
            assert wire.send(NOT_HTTP).answer().status == 400

    assert len([each for each in caplog.records if each.levelno >= logging.WARNING]) <= 1


def test_a_reader_that_stands_still_loses_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.serving.server.UNREAD_MS_MAX", 500)
    with running(settings_at(tmp_path)) as server:
        deliver_large(server)
        with never_read(server, "/feed/stream"):
            until(lambda: server.service.open_streams == 1)
            until(lambda: server.service.open_streams == 0)


def test_a_reader_that_stands_still_keeps_no_server_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("api.http.connection.UNREAD_S_MAX", 0.2)
    with running(settings_at(tmp_path)) as server:
        deliver_large(server)
        reader = never_read(server, "/feed/stream")
        until(lambda: server.service.open_streams == 1)
        time.sleep(0.5)  # nothing tells when the buffers are full
    reader.close()

    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []


def deliver_large(server: Running) -> None:
    """More than the kernel keeps for a reader."""
    for number in range(LARGE_EVENTS):
        raw = {"eventType": "message.failed", "messageId": f"msg_{number}", "sequence": 1, "detail": "x" * 200_000}
        assert server.deliver(json.dumps(raw).encode()).status_code == 202


def never_read(server: Running, path: str) -> socket.socket:
    """Asks, and then stands still."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    reader.connect(("127.0.0.1", server.port))
    reader.sendall(request("GET", path, KEY))
    return reader
