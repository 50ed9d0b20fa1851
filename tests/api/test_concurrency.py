"""Attack 18, a full queue, and the end of a server: many at once, each answered, each stored once."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.api.program import program
from tests.api.running import WEBHOOKS, running, settings_at, signed, until
from tests.api.wire import request
from tests.builders import body
from tests.engines import PrivatePostgres

COPIES = 64
QUEUE_ITEMS = 20
"""How many deliveries may wait in the test of a full queue, instead of thousands."""


def delivery(raw: bytes) -> bytes:
    return request("POST", WEBHOOKS, signed(raw), raw)


def patient(raw: bytes) -> bytes:
    """The head of a delivery whose body follows when the server asks for it."""
    return request("POST", WEBHOOKS, {**signed(raw), "Expect": "100-continue", "Content-Length": str(len(raw))})


def test_case_18_of_64_copies_at_once_one_is_recorded_and_the_others_find_it(store_url: str) -> None:
    raw = body("message.sent", "msg_1", sequence=1)
    with running(settings_at(store_url, partitions=2)) as server:
        wires = [server.wire() for _ in range(COPIES)]
        for wire in wires:
            wire.send(delivery(raw)[:-1])
        for wire in wires:
            wire.send(raw[-1:])
        answers = [wire.answer() for wire in wires]
        stored = server.stored()
        for wire in wires:
            wire.close()

    assert sorted(answer.status for answer in answers) == [200] * (COPIES - 1) + [202]
    assert {answer.json()["outcome"] for answer in answers if answer.status == 200} == {"duplicate"}
    assert {(answer.json()["position"], answer.json()["version"]) for answer in answers} == {(stored[0]["position"], 1)}
    assert len(stored) == 1


def test_case_18_copies_that_arrive_at_two_servers_of_one_ledger_are_one_fact(postgres: PrivatePostgres) -> None:
    raw = body("message.sent", "msg_1", sequence=1)
    with (
        postgres.fresh_database() as url,
        running(settings_at(url)) as one,
        running(settings_at(url)) as other,
        ThreadPoolExecutor(COPIES) as many,
    ):
        answers = list(many.map(lambda server: server.deliver(raw), [one, other] * (COPIES // 2)))
        stored = other.stored()

    assert sorted(answer.status_code for answer in answers) == [200] * (COPIES - 1) + [202]
    assert {answer.json()["position"] for answer in answers} == {stored[0]["position"]}
    assert len(stored) == 1


def test_several_messages_at_once_have_histories_without_holes(store_url: str) -> None:
    facts = [body("message.sent", f"msg_{n % 5}", sequence=n) for n in range(100)]
    with running(settings_at(store_url, partitions=3)) as server, ThreadPoolExecutor(16) as many:
        statuses = list(many.map(lambda raw: server.deliver(raw).status_code, facts * 2))
        histories = [server.get(f"/messages/msg_{n}/history").json()["events"] for n in range(5)]

    assert (statuses.count(202), statuses.count(200)) == (100, 100)
    assert [[event["version"] for event in history] for history in histories] == [list(range(1, 21))] * 5


def test_a_full_queue_refuses_with_503_and_loses_nothing_that_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.group_commit.QUEUE_ITEMS_MAX", QUEUE_ITEMS)
    raws = [body("message.sent", f"msg_{n}", sequence=1) for n in range(QUEUE_ITEMS * 3)]
    with running(settings_at(tmp_path)) as server:
        with server.service.ledger.database.writing():  # the disk is busy
            wires = [server.wire().send(delivery(raw)) for raw in raws]
            until(lambda: any(wire.is_answered() for wire in wires))
        answers = [wire.answer() for wire in wires]
        stored = [event["messageId"] for event in server.stored()]
        for wire in wires:
            wire.close()

    refusals = [answer for answer in answers if answer.status == 503]
    assert {(each.headers["retry-after"], each.json()["title"]) for each in refusals} == {
        ("2", "Too many deliveries are waiting")
    }
    taken = [answer.json()["messageId"] for answer in answers if answer.status == 202]
    assert len(taken) + len(refusals) == len(raws)
    assert sorted(taken) == sorted(stored)
    assert len(taken) >= QUEUE_ITEMS


def test_a_client_that_goes_away_takes_nothing_out_of_the_queue(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        with server.service.ledger.database.writing():
            for number in range(20):
                server.wire().send(delivery(body("message.sent", f"msg_{number}", sequence=1))).close()
            until(lambda: server.service.queues[0].unanswered >= 10)
        until(lambda: len(server.stored()) == 20)


def test_sigterm_answers_what_is_under_way_ends_the_streams_and_exits_0(store_url: str, tmp_path: Path) -> None:
    raws = [body("message.sent", f"msg_{n}", sequence=1) for n in range(50)]
    with program(store_url, tmp_path / "log") as server:
        stream = server.wire().send(request("GET", "/feed/stream", {"Authorization": _admin(server.http)}))
        assert "200 OK" in stream.head()
        idle = server.wire().send(request("GET", "/livez"))
        assert idle.answer().status == 200
        wires = [server.wire().send(patient(raw)) for raw in raws]
        assert {wire.answer().status for wire in wires} == {100}  # now it waits for every body
        server.terminate()
        for wire, raw in zip(wires, raws, strict=True):
            wire.send(raw)
        answers = [wire.answer() for wire in wires]
        assert stream.is_closed()
        assert idle.is_closed()
        assert server.process.wait() == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))
        for wire in [*wires, stream, idle]:
            wire.close()

    assert {answer.status for answer in answers} == {202}
    with running(settings_at(store_url)) as after:
        assert sorted(event["messageId"] for event in after.stored()) == sorted(f"msg_{n}" for n in range(50))


def _admin(client: httpx2.Client) -> str:
    with client:
        return client.headers["Authorization"]


def test_a_delivery_that_a_drained_server_cannot_wait_for_is_asked_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.serving.server.DRAIN_S", 0.2)
    with running(settings_at(tmp_path)) as server:
        wire = server.wire().send(patient(b"{}"))
        assert wire.answer().status == 100

    answer = wire.answer()
    assert (answer.status, answer.headers["retry-after"], wire.is_closed()) == (503, "5", True)
    assert answer.json() == {
        "type": "docs/HTTP.md#problem-shutting-down",
        "title": "The server is shutting down",
        "status": 503,
        "detail": "the server is shutting down and could not finish this in time; send it again",
    }
    wire.close()


def test_nothing_personal_is_in_the_log_output(tmp_path: Path) -> None:
    planted = ["+15557654321", "a private word", "prefix_guess"]
    raw = body("message.inbound", "msg_1", **{"from": planted[0], "body": planted[1]})
    with program(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path / "log") as server, server.http as http:
        signature = signed(raw)["X-RedCloud-Signature"]
        http.post(WEBHOOKS, content=raw, headers=signed(raw))
        http.post(WEBHOOKS, content=raw)
        http.post(WEBHOOKS, content=raw + b"\x00", headers=signed(raw))
        http.post("/sends", content=raw)
        http.get("/feed", headers={"Authorization": "Bearer prefix_guess"})
        http.get(f"/messages/{planted[0]}/history?x={planted[1]}")
        assert server.stop() == 0

    log = server.log.read_text()
    assert "a delivery was refused" in log
    assert not [word for word in [*planted, signature, "secret_of_the_tests"] if word in log]
    assert all(json.loads(line) for line in server.said)
