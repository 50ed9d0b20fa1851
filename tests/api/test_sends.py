"""POST /sends and GET /sends/{idempotencyKey}: layer one, handed over by the user's own application."""

import asyncio
import threading
from typing import Any

import pytest

from ledger.facts import Item, Outcome
from ledger.group_commit import GroupCommit
from ledger.sends import AcceptedRequest, parse_send
from tests.api.running import Running, as_json, running, settings_at
from tests.builders import body

REQUEST = {"sendFrom": "num_abc123", "to": ["+15551234567", "+1555"], "messageType": "SMS", "text": "Hi"}
REJECTED = [{"to": "+1555", "code": "INVALID_REQUEST", "message": "not an E.164 number", "odd": [1.0, None]}]
SUBMIT = GroupCommit.submit
NOT_KNOWN = {
    "type": "docs/HTTP.md#problem-not-found",
    "title": "Not found",
    "status": 404,
    "detail": "no send is recorded under the idempotency key 'nobody'",
}


def send(key: str, *message_ids: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """What the application hands over."""
    results = [{"to": "+15551234567", "messageId": each, "status": "QUEUED"} for each in message_ids]
    whole = {"idempotencyKey": key, "request": REQUEST, "response": {"results": results, "errors": REJECTED}}
    return whole | changes


def test_a_send_is_recorded_on_each_message_and_read_back(fresh: Running) -> None:
    answer = fresh.post("/sends", as_json(send("idem_1", "msg_1", "msg_2")))

    places = [{"messageId": "msg_1", "position": "0-1"}, {"messageId": "msg_2", "position": "0-2"}]
    assert answer.status_code == 202
    assert answer.json() == {"outcome": "recorded", "messages": places, "rejected": REJECTED}
    read = fresh.get("/sends/idem_1").json()
    assert read.pop("recordedAt").endswith("Z")
    messages = [{**place, "to": "+15551234567", "status": "QUEUED"} for place in places]
    assert read == {"idempotencyKey": "idem_1", "request": REQUEST, "messages": messages, "rejected": REJECTED}


def test_the_same_send_again_is_a_duplicate_with_the_places_of_the_first(server: Running, message_id: str) -> None:
    same = send(f"idem_{message_id}", message_id)
    first = server.post("/sends", as_json(same))

    again = server.post("/sends", b" " + as_json(dict(reversed(same.items()))))

    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == first.json() | {"outcome": "duplicate"}


def test_a_key_with_other_content_is_refused_and_stores_nothing(server: Running, message_id: str) -> None:
    server.post("/sends", as_json(send("idem_conflict", message_id)))

    answer = server.post("/sends", as_json(send("idem_conflict", f"{message_id}_other")))

    assert answer.status_code == 409
    assert answer.json() == {
        "type": "docs/HTTP.md#problem-idempotency-key-reused",
        "title": "The idempotency key has other content",
        "status": 409,
        "detail": "the idempotency key 'idem_conflict' is recorded with other content; nothing was stored",
    }
    assert server.get(f"/messages/{message_id}_other/history").status_code == 404


def test_an_acceptance_is_part_of_the_history_of_its_message(server: Running, message_id: str) -> None:
    key = f"idem_{message_id}"
    handed_over = send(key, message_id)
    server.post("/sends", as_json(handed_over))
    server.deliver(body("message.queued", message_id, sequence=1))

    first, second = server.get(f"/messages/{message_id}/history").json()["events"]

    assert (first["eventType"], first["sequence"], first["effect"]) == ("request.accepted", None, "noted")
    assert (first["signature"], first["late"], second["effect"]) == (None, False, "applied")
    result = handed_over["response"]["results"][0]
    assert first["body"] == {"idempotencyKey": key, "request": REQUEST, "result": result}


WRONG = {
    "not JSON": (b"{", "the body is not JSON: expecting property name enclosed in double quotes at character 1"),
    "a text without an end": (b'{"key', "the body is not JSON: unterminated string starting at character 1"),
    "nothing": (b"", "the body is not JSON: expecting value at character 0"),
    "an array": (b"[]", "the body is a JSON array, expected an object"),
    "no key": (as_json(send("x") | {"idempotencyKey": None}), "idempotencyKey is missing or not text"),
    "an empty key": (as_json(send("")), "idempotencyKey has 0 characters, expected 1 to 512"),
    "no request": (as_json(send("x", request=[])), "request is missing or not an object"),
    "no response": (as_json(send("x", response=1)), "response is missing or not an object"),
    "no results": (as_json(send("x", response={})), "response.results is missing or not an array"),
    "errors of another shape": (
        as_json(send("x", response={"results": [], "errors": {}})),
        "response.errors is missing or not an array",
    ),
    "a result of another shape": (
        as_json(send("x", response={"results": [{"to": "+1", "messageId": "m", "status": "QUEUED"}, 7]})),
        "response.results[1] is missing or not an object",
    ),
    "a result without messageId": (
        as_json(send("x", response={"results": [{"to": "+1", "status": "QUEUED"}]})),
        "response.results[0].messageId is missing or not text",
    ),
    "a result without recipient": (
        as_json(send("x", response={"results": [{"messageId": "m", "status": "QUEUED"}]})),
        "response.results[0].to is missing or not text",
    ),
    "a result without status": (
        as_json(send("x", response={"results": [{"to": "+1", "messageId": "m"}]})),
        "response.results[0].status is missing or not text",
    ),
    "too many results": (
        as_json(send("x", *map(str, range(1_001)))),
        "response.results has 1001 entries, expected at most 1000",
    ),
}


@pytest.mark.parametrize("raw, detail", WRONG.values(), ids=WRONG.keys())
def test_another_shape_is_refused_naming_the_member(server: Running, raw: bytes, detail: str) -> None:
    answer = server.post("/sends", raw)

    assert answer.status_code == 422
    assert answer.json() == {
        "type": "docs/HTTP.md#problem-malformed-send",
        "title": "Not a request acceptance",
        "status": 422,
        "detail": detail,
    }
    assert server.get("/sends/x").status_code == 404


def test_all_recipients_may_be_rejected(server: Running, message_id: str) -> None:
    answer = server.post("/sends", as_json(send(f"idem_{message_id}")))

    assert answer.json() == {"outcome": "recorded", "messages": [], "rejected": REJECTED}


def test_a_thousand_results_are_recorded_in_one_go(server: Running, message_id: str) -> None:
    ids = [f"{message_id}_{number}" for number in range(1_000)]

    answer = server.post("/sends", as_json(send(f"idem_{message_id}", *ids)))

    assert [each["messageId"] for each in answer.json()["messages"]] == ids


@pytest.mark.parametrize("results, characters, waiting_max", [(1_000, 160, 64), (50, 200_000, 20)])
def test_a_large_send_leaves_the_queue_to_webhooks(
    fresh: Running, monkeypatch: pytest.MonkeyPatch, results: int, characters: int, waiting_max: int
) -> None:
    depths = []

    def submit(writer: GroupCommit, item: Item) -> asyncio.Future[Outcome]:
        answer = SUBMIT(writer, item)
        depths.append(writer.depth)
        return answer

    monkeypatch.setattr(GroupCommit, "submit", submit)
    ids = [f"msg_{number}" for number in range(results)]

    answer = fresh.post("/sends", as_json(send("idem_1", *ids, request=REQUEST | {"text": "x" * characters})))

    assert (answer.status_code, [each["messageId"] for each in answer.json()["messages"]]) == (202, ids)
    assert max(depths) <= waiting_max


def test_a_send_is_read_beside_the_event_loop(fresh: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    read_by: list[str] = []

    def read(raw: bytes) -> AcceptedRequest:
        read_by.append(threading.current_thread().name)
        return parse_send(raw)

    monkeypatch.setattr("api.http.sending.parse_send", read)

    assert fresh.post("/sends", as_json(send("idem_1", "msg_1"))).status_code == 202
    assert [name.startswith("asking") for name in read_by] == [True]


def test_a_send_that_a_full_queue_refuses_halfway_is_asked_for_again_and_then_recorded_to_its_end(
    fresh: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ["msg_1", "msg_2", "msg_3"]
    with monkeypatch.context() as full:
        full.setattr("ledger.group_commit.QUEUE_ITEMS_MAX", 1)
        refused = fresh.post("/sends", as_json(send("idem_1", *ids)))
    registered = fresh.get("/sends/idem_1").status_code
    again = fresh.post("/sends", as_json(send("idem_1", *ids)))

    assert (refused.status_code, registered) == (503, 200)
    assert refused.json()["detail"] == "1 items wait for the disk; send the same again"
    assert (again.status_code, [each["messageId"] for each in again.json()["messages"]]) == (202, ids)


def test_a_send_that_would_be_stored_as_more_than_it_may_bring_is_refused_before_its_key_is_registered(
    fresh: Running,
) -> None:
    ids = [f"msg_{number}" for number in range(1_000)]

    answer = fresh.post("/sends", as_json(send("idem_1", *ids, request={"text": "x" * 40_000})))

    assert (answer.status_code, answer.json()["title"]) == (422, "Not a request acceptance")
    assert answer.json()["detail"] == (
        "request has 40011 bytes, and each of the 1000 entries of response.results is recorded with all of it: "
        "expected at most 33554432 bytes together"
    )
    assert fresh.get("/sends/idem_1").status_code == 404
    assert fresh.stored() == []


def test_a_key_may_have_any_characters(server: Running, message_id: str) -> None:
    server.post("/sends", as_json(send("a/b?c=1 #ü", message_id)))

    assert server.get("/sends/a%2Fb%3Fc%3D1%20%23%C3%BC").json()["idempotencyKey"] == "a/b?c=1 #ü"


def test_a_key_that_nobody_used_is_not_found(server: Running) -> None:
    assert server.get("/sends/nobody").json() == NOT_KNOWN


def test_sends_are_kept_on_every_engine(store_url: str) -> None:
    with running(settings_at(store_url, partitions=3)) as server:
        ids = [f"msg_{number}" for number in range(20)]
        first, again = (server.post("/sends", as_json(send("idem_1", *ids))) for _ in range(2))
        read = server.get("/sends/idem_1").json()

    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["messages"] == first.json()["messages"]
    assert [each["position"] for each in read["messages"]] == [each["position"] for each in again.json()["messages"]]
