"""What readers are answered: the contract's "Reading" from the read models, each answer as a whole value."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from ledger.log_entries import WHY_UNREADABLE
from ledger.positions import Position
from projections import health
from projections.errors import RebuildPaused
from projections.generations import index_names
from projections.page_cursors import AfterMessage, write_cursor
from projections.rebuild import Rebuild
from projections.runner import Runner
from tests.api.running import Running, busy, key_of, running, settings_at, until
from tests.builders import append_unreadable, body, send_body

AT_FIRST = "1970-01-01T00:00:00Z"
MANY = 40


def told(server: Running, path: str, key: str = "reader") -> dict[str, Any]:
    """A good answer, as JSON."""
    answer = server.get(path, key)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    content: dict[str, Any] = answer.json()
    return content


def recorded(server: Running, raw: bytes) -> str:
    """The position of a webhook that both read models have."""
    position: str = server.deliver(raw).json()["position"]
    wanted = Position.parse(position).number
    until(
        lambda: all(Position.parse(each.position).number >= wanted for each in server.service.read_models.projections())
    )
    return position


def problem(status: int, slug: str, title: str, detail: str) -> dict[str, object]:
    return {"type": f"docs/HTTP.md#problem-{slug}", "title": title, "status": status, "detail": detail}


def waiting(server: Running) -> int:
    """How many wait for a read model. Seen from outside only by their time."""
    return sum(len(watch.waiting) for watch in list(server.service.read_models._waiters._waiting.values()))  # noqa: SLF001 - as above


def refusal(server: Running, path: str) -> tuple[int, str]:
    """The status and the words of a refusal."""
    answer = server.get(path)
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["detail"]


def test_the_status_of_a_message_has_both_layers_apart(store_url: str) -> None:
    with running(settings_at(store_url)) as server:
        server.post("/sends", send_body(["msg_1"]))
        server.deliver(body("message.queued", "msg_1", sequence=1))
        server.deliver(body("message.delivery", "msg_1", sequence=4, providerMessageRef="SM9"))
        server.deliver(body("message.sent", "msg_1", sequence=2))
        position = server.deliver(body("message.failed", "msg_1", sequence=4)).json()["position"]
        status = told(server, f"/messages/msg_1?waitFor={position}")
        events = told(server, "/messages/msg_1/history")["events"]

    assert status == {
        "messageId": "msg_1",
        "direction": "outbound",
        "status": "delivered",
        "sequence": 4,
        "externalReference": "order_789",
        "providerMessageRef": "SM9",
        "failure": None,
        "failureCode": None,
        "requestAcceptance": {
            "status": "QUEUED",
            "to": "+15551234567",
            "idempotencyKey": "idem_1",
            "recordedAt": events[0]["receivedAt"],
        },
        "missingSequences": [3],
        "conflictingSequences": [4],
        "eventCount": 5,
        "firstRecordedAt": events[0]["receivedAt"],
        "statusChangedAt": events[2]["receivedAt"],
        "updatedAt": events[4]["receivedAt"],
        "position": "0-5",
    }


def test_an_inbound_message_says_who_wrote_to_whom(server: Running, message_id: str) -> None:
    position = recorded(server, written(message_id, "conv_parties"))
    status = told(server, f"/messages/{message_id}")

    assert (status["direction"], status["status"], status["position"]) == ("inbound", "received", position)
    assert [status[name] for name in ("conversationId", "numberId", "from", "to")] == [
        "conv_parties",
        "num_abc123",
        "+15557654321",
        "+15551234567",
    ]


def test_a_failure_is_shown_as_it_was_sent_while_the_status_is_failed(server: Running, message_id: str) -> None:
    recorded(server, body("message.failed", message_id, sequence=2, error={"code": 30003}, note="unreachable"))
    failed = told(server, f"/messages/{message_id}")
    recorded(server, body("message.delivery", message_id, sequence=3))
    delivered = told(server, f"/messages/{message_id}")

    assert (failed["failure"], failed["failureCode"]) == ({"error": {"code": 30003}, "note": "unreachable"}, "30003")
    assert (delivered["failure"], delivered["failureCode"]) == (None, None)


def test_a_message_that_nobody_told_of_is_404(server: Running) -> None:
    answer = server.get("/messages/msg_nobody")

    expected = problem(404, "not-found", "Not found", "nothing is known of message 'msg_nobody'")
    assert (answer.status_code, answer.json()) == (404, expected)


@pytest.mark.parametrize(
    "path, key, status",
    [
        ("/messages/msg_nobody", "reader", 404),
        ("/messages?limit=0", "reader", 400),
        ("/messages", "writer", 403),
        ("/messages", None, 401),
        ("/nowhere", "reader", 404),
    ],
)
def test_no_refusal_is_kept_by_anything_in_between(server: Running, path: str, key: str | None, status: int) -> None:
    """What is not found yet comes, and what one key may not see another may."""
    answer = server.get(path, key)

    assert answer.status_code == status
    assert (answer.headers["cache-control"], answer.headers["vary"]) == ("no-store", "Authorization")


@pytest.mark.parametrize("id_", ["a/b", "..", "😀", "%2F", "\u202egnp", "' OR 1=1 --", "a\nb"])
def test_ids_in_paths_are_percent_encoded(server: Running, id_: str) -> None:
    recorded(server, body("message.sent", id_, sequence=1))

    assert told(server, "/messages/" + "".join(f"%{byte:02X}" for byte in id_.encode()))["messageId"] == id_


@pytest.mark.parametrize(
    "path", ["/messages", "/messages/{}", "/messages/{}/history", "/messages/{}/history/1/body", "/feed"]
)
def test_answers_say_that_they_depend_on_the_key(server: Running, message_id: str, path: str) -> None:
    server.deliver(body("message.sent", message_id, sequence=1))

    answer = server.get(path.format(message_id))

    assert (answer.status_code, answer.headers["vary"]) == (200, "Authorization")


def test_the_etag_is_the_position_and_a_client_that_has_it_gets_304(server: Running, message_id: str) -> None:
    position = recorded(server, body("message.queued", message_id, sequence=1))
    path = f"/messages/{message_id}"

    answer = server.get(path)
    assert answer.headers["etag"] == f'"{position}"'
    for known in (f'"{position}"', f'W/"{position}"', f'"a,b", W/"x" , "{position}"', "*"):
        again = server.get(path, **{"If-None-Match": known})
        assert (again.status_code, again.headers["etag"], again.content) == (304, f'"{position}"', b""), known
        assert again.headers["vary"] == "Authorization"
    for unknown in ('"0-99999"', position, "", '""', '"', "W/", '"é"', f'"{position}'):
        raw = {b"If-None-Match": unknown.encode()}
        key = {b"Authorization": f"Bearer {key_of('reader')}".encode()}
        assert server.http.get(path, headers=raw | key).status_code == 200, unknown
    recorded(server, body("message.sent", message_id, sequence=2))
    assert server.get(path, **{"If-None-Match": f'"{position}"'}).status_code == 200
    assert server.get("/messages/msg_nobody", **{"If-None-Match": "*"}).status_code == 404


def test_head_answers_as_get_does_without_the_body(server: Running, message_id: str) -> None:
    recorded(server, body("message.queued", message_id, sequence=1))
    got = server.get(f"/messages/{message_id}")
    head = server.ask("HEAD", f"/messages/{message_id}", "reader", {})

    varying = {"date", "x-request-id"}
    assert {k: v for k, v in head.headers.items() if k not in varying} == {
        k: v for k, v in got.headers.items() if k not in varying
    }
    assert (head.status_code, head.content) == (200, b"")


def test_who_begins_at_the_root_is_told_where_to_go(server: Running) -> None:
    answer = server.http.get("/")

    assert answer.status_code == 404
    assert "/console" in answer.json()["detail"]
    assert "/openapi.json" in answer.json()["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_reading_is_get_alone(server: Running, method: str) -> None:
    for path in ("/messages", "/messages/x", "/conversations", "/conversations/x", "/projections", "/metrics"):
        answer = server.ask(method, path, "admin", {})
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_an_answer_that_waits_for_a_position_is_never_older(store_url: str) -> None:
    with running(settings_at(store_url)) as server:
        for sequence in range(30):
            position = server.deliver(body("message.sent", "msg_1", sequence=sequence)).json()["position"]
            assert told(server, f"/messages/msg_1?waitFor={position}")["sequence"] == sequence


def test_who_waits_for_a_position_that_does_not_come_is_told_the_lag(fresh: Running) -> None:
    recorded(fresh, body("message.sent", "msg_1", sequence=1))
    fresh.service.wait_for_s_max = 0.05

    answer = fresh.get("/messages/msg_1?waitFor=0-2")

    assert (answer.status_code, answer.headers["retry-after"]) == (504, "1")
    detail = (
        "nothing is recorded at 0-2 yet: the read model is at 0-1 and did not reach 0-2 in time; "
        "it is up to date with the log"
    )
    expected = problem(504, "read-model-behind", "The read model is behind", detail)
    assert answer.json() == {**expected, "lagEvents": 0, "lagSeconds": 0.0}


def test_many_who_wait_in_vain_are_told_the_lag_of_one_look(fresh: Running) -> None:
    """They give up at the same moment, and each look at the lag costs as much as some reads."""
    fresh.service.wait_for_s_max = 1.0
    looks: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_how: object) -> None:
        if "FROM partition_heads ORDER BY" in statement:
            looks.append(statement)

    def wait() -> int:
        return fresh.get("/messages/msg_1?waitFor=0-9").status_code

    with ThreadPoolExecutor(MANY) as many:
        with busy(fresh):
            event.listen(fresh.service.ledger.database._reader, "before_cursor_execute", note)  # noqa: SLF001 - not seen from outside
            answers = [many.submit(wait) for _ in range(MANY)]
            until(lambda: waiting(fresh) == MANY)
            until(lambda: waiting(fresh) == 0)
        assert [each.result() for each in answers] == [504] * MANY

    assert len(looks) <= 6  # three a look


def test_waiting_ends_when_the_position_comes(fresh: Running) -> None:
    answers: list[int] = []
    reader = threading.Thread(target=lambda: answers.append(fresh.get("/messages/msg_1?waitFor=0-1").status_code))
    reader.start()
    until(lambda: waiting(fresh) == 1)
    fresh.deliver(body("message.sent", "msg_1", sequence=1))
    reader.join(5)

    assert answers == [200]


def test_as_of_a_position_or_a_time_is_what_was_known_then(server: Running, message_id: str) -> None:
    first = recorded(server, body("message.queued", message_id, sequence=1))
    second = recorded(server, body("message.delivery", message_id, sequence=3))
    recorded(server, body("message.failed", message_id, sequence=4))
    times = [event["receivedAt"] for event in told(server, f"/messages/{message_id}/history")["events"]]
    zoned = times[0].replace("Z", "+00:00")

    path = f"/messages/{message_id}?asOf="
    assert [told(server, path + then)["status"] for then in (first, second, times[0], times[1], zoned)] == [
        "accepted",
        "delivered",
        "accepted",
        "delivered",
        "accepted",  # a "+" that nobody escaped
    ]
    assert server.get(path + first).headers["etag"] == f'"{first}"'
    assert told(server, path + "2999-01-01T00:00:00Z") == told(server, f"/messages/{message_id}")
    assert refusal(server, path + AT_FIRST) == (404, f"the ledger knew nothing of message '{message_id}' then")


def test_as_of_a_position_that_the_log_has_not_reached_makes_no_sense(server: Running, message_id: str) -> None:
    last = Position.parse(recorded(server, body("message.queued", message_id, sequence=1)))

    for beyond in (Position(last.partition, last.number + 1), Position(last.partition, 2**62)):
        expected = f"position {beyond} is beyond the end of the log, which is {last} there by now"
        assert refusal(server, f"/messages/{message_id}?asOf={beyond}") == (400, expected)


def test_as_of_tells_what_was_known_before_an_event_that_cannot_be_read_and_refuses_what_may_rest_on_it(
    tmp_path: Path,
) -> None:
    with running(settings_at(tmp_path)) as server:
        recorded(server, body("message.queued", "msg_1", sequence=1))
        append_unreadable(server.service.ledger, "msg_1", version=2)
        recorded(server, body("message.delivery", "msg_1", sequence=3))
        append_unreadable(server.service.ledger, "msg_2", version=1)
        last = told(server, "/messages/msg_1/history")["events"][-1]["receivedAt"]

        path = "/messages/msg_1?asOf="
        untold = (
            "the event at 0-2 cannot be read, so what was known from there on cannot be told; as of 0-1 it can be told."
        )
        assert told(server, path + "0-1")["status"] == "accepted"
        for then in ("0-2", "0-3", last, "2999-01-01T00:00:00Z"):
            status, detail = refusal(server, path + then)
            assert (status, detail.startswith(untold), WHY_UNREADABLE in detail) == (503, True, True)
        assert server.get(path + "0-2").json()["type"] == "docs/HTTP.md#problem-unreadable-event"
        assert refusal(server, path + "2020-01-01T00:00:00Z")[0] == 404
        assert "nothing of the message was known before it" in refusal(server, "/messages/msg_2?asOf=0-4")[1]


def test_a_status_names_the_event_that_could_not_be_projected_also_to_who_knows_what_was_before_it(
    tmp_path: Path,
) -> None:
    with running(settings_at(tmp_path)) as server:
        recorded(server, body("message.queued", "msg_1", sequence=1))
        before = server.get("/messages/msg_1")
        append_unreadable(server.service.ledger, "msg_1", version=2)
        append_unreadable(server.service.ledger, "msg_2", version=1)
        recorded(server, body("message.sent", "msg_1", sequence=2))

        after = server.get("/messages/msg_1", **{"If-None-Match": before.headers["etag"]})
        assert (after.status_code, after.json()) == (200, before.json() | {"parkedFrom": "0-2"})
        status, detail = refusal(server, "/messages/msg_2")
        assert (status, "its event at 0-3 cannot be read" in detail) == (404, True)


def test_a_position_of_another_partition_makes_no_sense(tmp_path: Path) -> None:
    with running(settings_at(tmp_path, partitions=2)) as server:
        home = Position.parse(server.deliver(body("message.sent", "msg_1", sequence=1)).json()["position"]).partition

        assert told(server, f"/messages/msg_1?asOf={home}-1")["status"] == "sent"
        assert server.get(f"/messages/msg_1?asOf={1 - home}-1").status_code == 400
        assert server.get("/messages/msg_1?asOf=2-1").status_code == 400


NO_POSITIONS = ["x", "", "1-1", "00-1", "0-x", "0-9223372036854775808", "%00", "0-1&waitFor=0-1"]
NO_MOMENTS = ["", "yesterday", "2026-11-23T16:00:00", "1700000000", "0-x", "00-1", "%00", "0-1&asOf=0-1"]
ODD_QUESTIONS = [*(f"waitFor={each}" for each in NO_POSITIONS), *(f"asOf={each}" for each in NO_MOMENTS)]


@pytest.mark.parametrize("path", ["/messages?externalReference=%ff", "/messages?phone=caf%e9", "/feed?%ff=1"])
def test_what_is_not_utf_8_is_not_taken_for_a_question_without_an_answer(server: Running, path: str) -> None:
    assert refusal(server, path) == (400, "the query is not UTF-8")


@pytest.mark.parametrize("query", ODD_QUESTIONS)
def test_nonsense_about_time_and_place_is_400(server: Running, message_id: str, query: str) -> None:
    server.deliver(body("message.sent", message_id, sequence=1))

    answer = server.get(f"/messages/{message_id}?{query}")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(query.partition("=")[0])


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with some messages, which no test changes."""
    with running(settings_at(tmp_path_factory.mktemp("stocked"))) as server:
        server.post("/sends", send_body(["msg_a"], "idem_a", "order_a"))
        server.deliver(body("message.sent", "msg_a", sequence=2, providerMessageRef="SM1"))
        server.deliver(body("message.sent", "msg_b", sequence=2, externalReference="order_b"))
        server.deliver(body("message.failed", "msg_c", sequence=3, errorCode="30003", externalReference="order_b"))
        server.deliver(body("message.read", "msg_d"))
        recorded(server, written("msg_e", "conv_1"))
        yield server


FOUND = {
    "": ["msg_e", "msg_d", "msg_c", "msg_b", "msg_a"],
    "status=sent": ["msg_b", "msg_a"],
    "status=unknown": ["msg_d"],
    "status=submitted": [],
    "direction=outbound": ["msg_c", "msg_b", "msg_a"],
    "direction=inbound": ["msg_e"],
    "externalReference=order_b": ["msg_c", "msg_b"],
    "externalReference=order_b&status=failed": ["msg_c"],
    "externalReference=' OR 1=1": [],
    "providerMessageRef=SM1": ["msg_a"],
    "numberId=num_abc123": ["msg_e", "msg_a"],
    "numberId=num_abc123&direction=outbound": ["msg_a"],
    "phone=%2B15557654321": ["msg_e"],
    "phone=+15551234567": ["msg_e", "msg_a"],
    "failureCode=30003": ["msg_c"],
    "failureCode=30003&direction=inbound": [],
    "updatedBefore=1999-01-01T00:00:00Z": [],
    "updatedAfter=1999-01-01T00:00:00%2B01:00": ["msg_e", "msg_d", "msg_c", "msg_b", "msg_a"],
}


@pytest.mark.parametrize("query, ids", FOUND.items())
def test_messages_are_found_newest_update_first(stocked: Running, query: str, ids: list[str]) -> None:
    page = told(stocked, f"/messages?{query}")

    assert page == {"items": [told(stocked, f"/messages/{each}") for each in ids], "next": None}


def test_updated_after_is_inclusive_and_updated_before_is_not(stocked: Running) -> None:
    times = {each["messageId"]: each["updatedAt"] for each in told(stocked, "/messages")["items"]}

    page = told(stocked, f"/messages?updatedAfter={times['msg_b']}&updatedBefore={times['msg_d']}")
    assert [each["messageId"] for each in page["items"]] == ["msg_c", "msg_b"]


@pytest.mark.parametrize("path", ["/messages", "/messages?phone=%2B15551234567", "/messages?direction=outbound"])
def test_a_list_is_read_page_by_page(stocked: Running, path: str) -> None:
    whole = told(stocked, path)["items"]

    assert paged(stocked, path, limit=1) == whole
    assert paged(stocked, path, limit=2) == whole


def paged(server: Running, path: str, limit: int, key: str = "reader") -> list[dict[str, Any]]:
    """All items of a list, a page after the other."""
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        joint = "&" if "?" in path else "?"
        page = told(server, f"{path}{joint}limit={limit}{cursor}", key)
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["next"] is None:
            return items
        cursor = f"&cursor={page['next']}"


NONSENSE = ["status=x", "status=SENT", "status=", "direction=up", "updatedAfter=x", "updatedBefore=1700000000"]
PAGING_NONSENSE = ["limit=0", "limit=1001", "limit=1000000000", "limit=x", "limit=", "limit=%D9%A1", "limit=1&limit=1"]
PAGING_NONSENSE += ["cursor=x", "cursor=", "cursor=AAAA", "cursor=%00", "cursor=" + "A" * 5_000]
LISTS = ["/messages", "/conversations", "/conversations/conv_1/messages"]


@pytest.mark.parametrize("query", NONSENSE)
def test_a_filter_that_makes_no_sense_is_400_and_named(stocked: Running, query: str) -> None:
    status, detail = refusal(stocked, f"/messages?{query}")

    assert (status, detail.partition(":")[0]) == (400, query.partition("=")[0])


@pytest.mark.parametrize("query", PAGING_NONSENSE)
@pytest.mark.parametrize("path", LISTS)
def test_case_25_a_page_that_makes_no_sense_is_400(stocked: Running, path: str, query: str) -> None:
    assert refusal(stocked, f"{path}?{query}")[0] == 400


def test_a_cursor_of_another_list_is_400(stocked: Running) -> None:
    cursor = told(stocked, "/messages?limit=1")["next"]

    assert [stocked.get(f"{path}?cursor={cursor}").status_code for path in LISTS] == [200, 400, 400]


def written(message_id: str, conversation_id: str, **members: object) -> bytes:
    """An inbound message."""
    parties = {"numberId": "num_abc123", "from": "+15557654321", "to": "+15551234567", "body": "Hello", "media": []}
    return body("message.inbound", message_id, conversationId=conversation_id, **(parties | members))


def test_a_conversation_is_what_was_written_in_it(store_url: str) -> None:
    with running(settings_at(store_url)) as server:
        server.deliver(
            written("msg_2", "conv/1", occurredAt="2020-11-23T16:00:02Z", body="second", media=["https://x"])
        )
        server.deliver(written("msg_1", "conv/1", occurredAt="2020-11-23T16:00:01Z", body={"text": "first"}))
        server.deliver(written("msg_1", "conv/1", body="another body"))
        server.deliver(written("msg_4", "conv_2", numberId="num_2", **{"from": "+4930123456", "to": None}))
        server.deliver(body("message.queued", "msg_5", sequence=1))
        recorded(server, written("msg_3", "conv/1", occurredAt="2020-11-23T16:00:03Z", **{"from": "+15550000000"}))
        receipts = {event["position"]: event["receivedAt"] for event in server.stored()}
        one = told(server, "/conversations/conv%2F1")
        messages = told(server, "/conversations/conv%2F1/messages")
        lists = {
            query: [each["conversationId"] for each in told(server, f"/conversations{query}")["items"]]
            for query in (
                "",
                "?numberId=num_2",
                "?participant=+15550000000",
                "?numberId=num_2&participant=%2B1555",
                "?limit=1",
            )
        }

    assert one == {
        "conversationId": "conv/1",
        "numberId": "num_abc123",
        "participants": ["+15550000000", "+15551234567", "+15557654321"],
        "messageCount": 3,
        "firstMessageAt": "2020-11-23T16:00:01.000000Z",
        "lastMessageAt": "2020-11-23T16:00:03.000000Z",
        "position": "0-6",
    }
    assert [(each["messageId"], each["body"]) for each in messages["items"]] == [
        ("msg_1", {"text": "first"}),
        ("msg_2", "second"),
        ("msg_3", "Hello"),
    ]
    assert messages["items"][1] == {
        "messageId": "msg_2",
        "from": "+15557654321",
        "to": "+15551234567",
        "body": "second",
        "media": ["https://x"],
        "occurredAt": "2020-11-23T16:00:02.000000Z",
        "receivedAt": receipts["0-1"],
        "position": "0-1",
    }
    # conv_2 has no time of its own, so it is as young as its receipt.
    assert lists[""] == ["conv_2", "conv/1"]
    assert lists["?numberId=num_2"] == ["conv_2"]
    assert lists["?participant=+15550000000"] == ["conv/1"]
    assert lists["?numberId=num_2&participant=%2B1555"] == []
    assert lists["?limit=1"] == lists[""][:1]


def test_a_conversation_that_nobody_told_of_is_404(server: Running) -> None:
    assert server.get("/conversations/nobody").status_code == 404
    assert server.get("/conversations/nobody/messages").status_code == 404


def test_conversations_and_their_messages_are_read_page_by_page(fresh: Running) -> None:
    for number in range(5):
        fresh.deliver(written(f"msg_{number}", "conv_1", occurredAt=f"2026-01-01T00:00:0{5 - number}Z"))
    for number in range(3):
        recorded(fresh, written(f"msg_x{number}", f"conv_x{number}", occurredAt=f"2027-01-01T00:00:0{number}Z"))

    messages = paged(fresh, "/conversations/conv_1/messages", limit=2)
    assert [each["messageId"] for each in messages] == ["msg_4", "msg_3", "msg_2", "msg_1", "msg_0"]
    conversations = paged(fresh, "/conversations", limit=1)
    assert [each["conversationId"] for each in conversations] == ["conv_x2", "conv_x1", "conv_x0", "conv_1"]


def test_the_scope_masked_sees_four_digits_of_a_number_and_nothing_that_a_person_wrote(fresh: Running) -> None:
    fresh.post("/sends", send_body(["msg_1"]))
    fresh.deliver(body("message.failed", "msg_1", sequence=3, reason="no route to +15551234567", body="Secret words"))
    recorded(fresh, written("msg_2", "conv_1", body="Secret words", media=["https://secret.example"]))
    paths = [
        "/messages/msg_1",
        "/messages/msg_1?asOf=0-2",
        "/messages/msg_2",
        "/messages",
        "/messages?phone=+15551234567",
    ]
    paths += ["/conversations", "/conversations/conv_1", "/conversations/conv_1/messages", "/projections"]
    paths += ["/messages/msg_1/history", "/messages/msg_2/history", "/feed", "/sends/idem_1"]
    events = told(fresh, "/feed")["events"]
    digests = {event["bodySha256"] for event in events}  # a short body is found by trying

    assert len(digests) == 3
    for path in paths:
        answer = fresh.get(path, "masked")
        assert answer.status_code == 200, path
        for personal in ("5551234567", "5557654321", "Secret", "secret.example", *digests):
            assert personal not in answer.text, (path, personal)
    seen, whole = told(fresh, "/messages/msg_1", "masked"), told(fresh, "/messages/msg_1")
    assert seen["requestAcceptance"]["to"] == "4567"
    assert seen["failure"] == {"reason": "no route to …4567", "body": None}
    assert {name for name in whole if whole[name] != seen[name]} == {"requestAcceptance", "failure", "failureCode"}
    assert told(fresh, "/conversations/conv_1", "masked")["participants"] == ["4321", "4567"]
    (message,) = told(fresh, "/conversations/conv_1/messages", "masked")["items"]
    assert [message[name] for name in ("from", "to", "body", "media")] == ["4321", "4567", None, None]


def test_projections_tell_how_far_they_are(fresh: Running) -> None:
    recorded(fresh, body("message.sent", "msg_1", sequence=1))

    expected = {
        "version": 1,
        "state": "live",
        "position": "0-1",
        "head": "0-1",
        "lagEvents": 0,
        "lagSeconds": 0.0,
        "parked": 0,
        "rebuild": None,
    }
    names = ("message-status", "inbound-conversations")
    versions = {each["name"]: each["version"] for each in told(fresh, "/projections")["items"]}
    assert told(fresh, "/projections") == {
        "items": [{"name": name, **expected, "version": versions[name]} for name in names],
    }


def test_a_rebuild_is_started_by_an_administrator_and_gives_the_same_answers(store_url: str) -> None:
    with running(settings_at(store_url)) as server:
        for number in range(50):
            server.deliver(body("message.sent", f"msg_{number}", sequence=1))
        recorded(server, written("msg_x", "conv_1"))
        before = [told(server, path) for path in ("/messages", "/conversations")]

        answer = server.post("/projections/message-status/rebuild", key="admin")
        assert (answer.status_code, answer.headers["location"]) == (202, "/projections")
        assert answer.json() == {"name": "message-status", "state": "rebuilding", "progress": "/projections"}
        assert server.post("/projections/inbound-conversations/rebuild", key="admin").status_code == 202
        until(lambda: all(each["state"] == "live" for each in told(server, "/projections")["items"]))

        assert [told(server, path) for path in ("/messages", "/conversations")] == before


def test_a_second_rebuild_is_409_while_one_runs_and_an_unknown_name_404(fresh: Running) -> None:
    claimed = fresh.service.read_models.claim_rebuild("message-status")
    running_already = fresh.post("/projections/message-status/rebuild", key="admin")
    progress = told(fresh, "/projections")["items"][0]
    unknown = fresh.post("/projections/message-statuses/rebuild", key="admin")
    claimed.run()

    assert (running_already.status_code, running_already.json()["type"]) == (
        409,
        "docs/HTTP.md#problem-rebuild-running",
    )
    assert (progress["state"], set(progress["rebuild"])) == (
        "rebuilding",
        {"done", "total", "eventsPerSecond", "secondsLeft"},
    )
    assert unknown.status_code == 404
    assert fresh.post("/projections/message-status/rebuild", key="admin").status_code == 202


def test_a_message_that_the_read_model_has_not_come_to_is_told_and_another_is_404(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runner, "pass_once", lambda _: False)
    with running(settings_at(tmp_path)) as server:
        position = server.deliver(body("message.sent", "msg_1", sequence=1)).json()["position"]
        answer, unknown = server.get("/messages/msg_1"), server.get("/messages/msg_2")
        listed = server.get("/messages").json()["items"]

    assert (answer.status_code, answer.headers["etag"], answer.json()["status"]) == (200, f'"{position}"', "sent")
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "nothing is known of message 'msg_2'")
    assert listed == []


def test_a_rebuild_that_was_cut_off_is_told_with_how_far_it_came(fresh: Running) -> None:
    recorded(fresh, body("message.sent", "msg_1", sequence=1))
    rebuild = fresh.service.read_models.claim_rebuild("message-status")
    rebuild.pause()
    with pytest.raises(RebuildPaused):
        rebuild.run()

    (told, _) = fresh.get("/projections").json()["items"]

    assert (told["state"], told["rebuild"]) == (
        "live",
        {"done": 0, "total": 1, "eventsPerSecond": 0.0, "secondsLeft": None},
    )
    assert "ledger_rebuild_done_ratio{" not in fresh.get("/metrics").text


def test_a_rebuild_may_begin_while_the_one_before_it_still_tidies_up(
    fresh: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(fresh, body("message.sent", "msg_1", sequence=1))
    read_models = fresh.service.read_models
    read_models.claim_rebuild("message-status").run()
    begun: list[Rebuild] = []

    def begin_another_then_drop(connection: Connection, table: str) -> list[str]:
        if not begun:
            begun.append(read_models.claim_rebuild("message-status"))
        return index_names(connection, table)

    # There is no other way to begin at this very moment.
    monkeypatch.setattr("projections.generations.index_names", begin_another_then_drop)
    read_models.claim_rebuild("message-status").run()
    begun[0].run()

    assert told(fresh, "/projections")["items"][0]["state"] == "live"
    assert told(fresh, "/messages/msg_1")["status"] == "sent"


def test_a_server_whose_projections_are_dead_is_not_ready(fresh: Running) -> None:
    assert fresh.get("/readyz").json() == {"status": "ready", "reasons": [], "warnings": []}

    runner = fresh.service.read_models._runner  # noqa: SLF001 - a fault is injected
    assert runner is not None
    runner.stop()
    until(lambda: fresh.get("/readyz").status_code == 503)

    assert "projecting fails with a runner that shows no sign of life" in fresh.get("/readyz").json()["reasons"]


def test_a_status_is_readable_soon_after_its_webhook_is_answered(fresh: Running) -> None:
    for number in range(20):
        fresh.deliver(body("message.sent", f"msg_{number}", sequence=1))
        answered_s = time.monotonic()
        until(lambda number=number: fresh.get(f"/messages/msg_{number}").status_code == 200)  # type: ignore[misc]
        assert time.monotonic() - answered_s < 2


@pytest.mark.parametrize(
    "path",
    [
        "/messages",
        "/messages?status=failed",
        "/conversations",
        "/conversations/conv_1",
        "/conversations/conv_1/messages",
    ],
)
def test_while_a_read_model_is_far_behind_nothing_found_is_not_told_as_an_answer(
    store_url: str, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    with running(settings_at(store_url)) as server:
        before = server.get(path)
        monkeypatch.setattr(Runner, "pass_once", lambda _runner: False)
        monkeypatch.setattr(health, "LAG_S_MAX", -1.0)
        server.deliver(body("message.inbound", "msg_1", conversationId="conv_1"))
        behind = server.get(path)
        at_the_end = server.get("/messages?cursor=" + write_cursor(AfterMessage(0, 0, 0, (9,))))

    assert before.status_code in (200, 404)
    assert (behind.status_code, behind.headers["retry-after"]) == (503, "5")
    assert behind.json()["type"].endswith("not-found-yet")
    assert ", which is 1 event behind the log" in behind.json()["detail"]
    assert (at_the_end.status_code, at_the_end.json()) == (200, {"items": [], "next": None})
