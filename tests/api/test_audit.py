"""Who did or saw what: every way in, with every kind of key, leaves an entry where it owes one, and none elsewhere.

The tables are made from the program's own tables of routes and pages, so that none that is added can be forgotten.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from api.audit.acts import LEAVES, Act, Leaves
from api.audit.asked import SUBJECT_CHARACTERS_MAX, asked_in_short, subject_in_short
from api.console import WAYS
from api.console.doorway import Action, Door, Page
from api.http.routes import ROUTES
from api.http.routing import Guarded
from api.http.seldom import EVERY_S
from ledger.audit.entries import AuditEntry
from ledger.audit.trail import AuditQuestion, AuditTrail
from ledger.ledger import Ledger
from ledger.verification.trail_walk import verify_trail
from tests.api.program import program
from tests.api.running import KEYS, Running, as_json, key_of, running, settings_at, until
from tests.api.test_feed import stream
from tests.builders import body, delivered, fact, send_body
from tests.console.visitors import Visitor, signed_in
from tests.damaging import damage_table

PHONE, OUR_NUMBER, WORDS = "+15557654321", "+15551234567", "a private word"
PERSONAL = ("5557654321", "5551234567", WORDS)
QUARANTINED = "8a8de823d5ed3e12746a62ef169bcf37"  # the SHA-256 of "?", cut
IDS = {
    "messageId": "msg_in",
    "version": "1",
    "conversationId": "conv_1",
    "idempotencyKey": "idem_1",
    "name": "message-status",
}
GUARDED = [route for route in ROUTES if isinstance(route, Guarded)]
PAGES = [way for way in WAYS if isinstance(way, Page | Action)]
PAGES_BY_ID = {"/console/message": "msg_in", "/console/event": "msg_in", "/console/event/body": "msg_in"} | {
    "/console/conversation": "conv_1",
    "/console/send": "idem_1",
}
PAGES_WITHOUT_ITEMS = {"/console/stuck"}
"""In a ledger whose messages have just come nothing is stuck."""


def stock(server: Running) -> None:
    """A message of each direction with a number and a text, one that failed, and a delivery that cannot be read."""
    parties = {"from": PHONE, "to": OUR_NUMBER, "conversationId": "conv_1", "numberId": "num_abc123"}
    assert server.post("/sends", send_body(["msg_out"], "idem_1")).is_success
    server.deliver(body("message.inbound", "msg_in", body=WORDS, **parties))
    server.deliver(body("message.failed", "msg_out", sequence=1, errorCode=f"{PHONE} is off"))
    server.deliver(b"?")
    until(lambda: all(each.lag_events == 0 for each in server.service.read_models.projections()))


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(settings_at(tmp_path_factory.mktemp("stocked"))) as server:
        stock(server)
        yield server


@pytest.fixture(scope="module")
def visitors(stocked: Running) -> dict[str, Visitor]:
    """Those who can sign in."""
    return {name: signed_in(stocked, name) for name in KEYS if name != "writer"}


def entries(server: Running, question: AuditQuestion | None = None) -> list[AuditEntry]:
    """The trail, oldest first, without what streams note after their end."""
    found = server.service.trail.entries(question or AuditQuestion(), limit=1_000)
    return [each.entry for each in reversed(found) if each.entry.outcome != "ended"]


def path_of(path: str) -> str:
    """The path of something that is there."""
    return re.sub(r"{(\w+)(?::path)?}", lambda found: IDS.get(found[1], QUARANTINED), path)


def ask(server: Running, route: Guarded, key: str) -> tuple[int, str]:
    """The status and the body of an answer; of a stream what comes first."""
    if route.path == "/feed/stream" and key != "writer":
        with stream(server, Authorization=f"Bearer {key_of(key)}") as events:
            return 200, str([events.event(), events.event()])
    content = send_body(["msg_out"], "idem_1") if route.path == "/sends" else b""
    answer = server.ask(route.method, path_of(route.path), key, {}, content)
    return answer.status_code, answer.text


def is_personal(answer: str) -> bool:
    return any(word in answer for word in PERSONAL)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("route", GUARDED, ids=lambda route: f"{route.method} {route.path}")
def test_an_answer_leaves_an_entry_where_it_shows_or_does_something(stocked: Running, route: Guarded, key: str) -> None:
    before = len(entries(stocked))

    status, answer = ask(stocked, route, key)

    left = entries(stocked)[before:]
    assert not (is_personal(answer) and not left), "somebody saw what the trail does not know of"
    assert not (is_personal(answer) and LEAVES[route.act] is Leaves.NOTHING)
    owed = LEAVES[route.act] is Leaves.ALWAYS or (LEAVES[route.act] is Leaves.WHEN_SHOWN and key in {"reader", "admin"})
    if status == 403:
        assert [(each.holder, each.act, each.outcome, each.subject) for each in left] == [
            (key, route.act, "forbidden", None)
        ]
    else:
        assert [(each.holder, each.way, each.act, each.outcome) for each in left] == (
            [(key, "http", route.act, "done")] if owed else []
        )
    if status == 200 and left and ('"items":' in answer or '"events":' in answer):
        told = json.loads(answer)
        assert left[0].result["items"] == len(told.get("items", told.get("events")))


@pytest.mark.parametrize("path", ["/feed/stream", "/messages"])
def test_the_head_of_an_answer_shows_nothing_and_leaves_no_entry(stocked: Running, path: str) -> None:
    before = len(entries(stocked))

    assert stocked.ask("HEAD", path, "reader", {}).status_code == 200
    assert len(entries(stocked)) == before


@pytest.mark.parametrize(
    "path", ["/messages?status=sent", "/conversations?participant=%2B15550000000", "/feed?after={end}", "/quarantine"]
)
def test_an_answer_without_items_shows_nothing_and_leaves_no_entry(fresh: Running, path: str) -> None:
    end = fresh.get("/feed").json()["next"]

    answer = fresh.get(path.format(end=end), "admin")

    assert (answer.status_code, answer.json().get("items", answer.json().get("events"))) == (200, [])
    assert entries(fresh) == []


@pytest.mark.parametrize(
    "path, holders",
    [
        ("/messages?phone=%2B15557654321", ["masked"]),
        ("/conversations?participant=%2B15557654321", ["masked"]),
        ("/messages?phone=%2B15550000000", []),
        ("/messages?status=received", []),
    ],
)
def test_a_masked_key_that_finds_something_by_a_number_has_had_it_confirmed(
    stocked: Running, path: str, holders: list[str]
) -> None:
    before = len(entries(stocked))

    assert (stocked.get(path, "masked").json()["items"] != []) == ("0000" not in path)
    left = entries(stocked)[before:]
    assert [each.holder for each in left] == holders
    assert PHONE[1:] not in str(left)


@pytest.mark.parametrize("key", [name for name in KEYS if name != "writer"])
@pytest.mark.parametrize("way", PAGES, ids=lambda way: f"{type(way).__name__} {way.path}")
def test_a_page_leaves_an_entry_where_it_shows_or_does_something(
    stocked: Running, visitors: dict[str, Visitor], way: Page | Action, key: str
) -> None:
    visitor = visitors[key]
    before = len(entries(stocked))

    if isinstance(way, Action):
        answer = visitor.post(way.path, name="inbound-conversations")
    elif way.path == "/console/operations/stream":
        with stocked.http.stream("GET", way.path, headers={"Cookie": visitor.cookie}) as streaming:
            answer = httpx2.Response(streaming.status_code, text=next(streaming.iter_text()))
    else:
        query = {"id": PAGES_BY_ID.get(way.path, ""), "version": "1", "q": PHONE}
        asked = {name: query[name] for name in getattr(way, "asks", ()) if name in query}
        answer = visitor.get(path_of(way.path), **asked)

    left = entries(stocked)[before:]
    is_shown = is_personal(answer.text.replace(PHONE, "") if way.path.endswith("/search") else answer.text)
    assert not (is_shown and not left), "somebody saw what the trail does not know of"
    assert not (is_shown and LEAVES[way.act] is Leaves.NOTHING)
    is_confirmed = way.path.endswith("/search")  # by the number that it was searched for
    is_owed_if_shown = (key in {"reader", "admin"} or is_confirmed) and way.path not in PAGES_WITHOUT_ITEMS
    owed = LEAVES[way.act] is Leaves.ALWAYS or (LEAVES[way.act] is Leaves.WHEN_SHOWN and is_owed_if_shown)
    if answer.status_code == 403:
        assert [(each.holder, each.act, each.outcome) for each in left] == [(key, way.act, "forbidden")]
    else:
        assert answer.status_code in {200, 303, 404}
        assert [(each.holder, each.way, each.act, each.outcome) for each in left] == (
            [(key, "console", way.act, "done")] if owed else []
        )


def test_every_act_of_a_route_or_page_is_explained() -> None:
    doors = [way.act for way in WAYS if isinstance(way, Door) and way.act]

    assert set(LEAVES) == set(Act)
    assert {LEAVES[act] for act in doors} == {Leaves.ALWAYS}


def test_an_entry_says_who_what_about_what_asked_how_and_with_which_request(stocked: Running) -> None:
    query = "phone=%2B15557654321&direction=inbound&updatedAfter=2024-01-01T00:00:00%2B01:00&limit=7"
    stocked.get(f"/messages?{query}", **{"X-Request-Id": "mine-1"})
    stocked.get("/messages/msg_in/history/1/body", **{"X-Request-Id": "mine-2"})
    listed, read = entries(stocked)[-2:]

    assert (listed.holder, listed.way, listed.act, listed.subject) == ("reader", "http", "list-messages", None)
    assert listed.asked == {
        "phone": "…4321",
        "direction": "inbound",
        "updatedAfter": "2024-01-01T00:00:00+01:00",
        "limit": "7",
    }
    assert (listed.outcome, listed.result, listed.request_id) == ("done", {"items": 1}, "mine-1")
    assert (read.act, read.subject, read.asked, read.request_id) == ("read-body", "msg_in", {"version": "1"}, "mine-2")


def test_what_is_not_there_or_is_known_already_shows_nothing_and_leaves_nothing(stocked: Running) -> None:
    etag = stocked.get("/messages/msg_in").headers["etag"]
    before = len(entries(stocked))

    assert stocked.get("/messages/nothing").status_code == 404
    assert stocked.get("/messages?limit=x").status_code == 400
    assert stocked.get("/messages/msg_in", **{"If-None-Match": etag}).status_code == 304
    assert stocked.http.get("/messages/msg_in").status_code == 401

    assert len(entries(stocked)) == before


def test_an_administrative_act_that_fails_is_an_entry_with_why(stocked: Running) -> None:
    rebuild = stocked.service.read_models.claim_rebuild("message-status")
    stocked.post("/projections/message-status/rebuild", key="admin")
    rebuild.run()
    stocked.post("/projections/+15557654321/rebuild", key="admin")
    running_already, unknown = entries(stocked, AuditQuestion(act="rebuild"))[-2:]

    assert (running_already.subject, running_already.outcome) == ("message-status", "rebuild-running")
    assert (unknown.subject, unknown.outcome) == (None, "not-found")


def test_a_refused_attempt_tells_nothing_of_what_was_in_its_address(stocked: Running) -> None:
    stocked.get(f"/messages/{key_of('reader')}?asOf=%2B15557654321", "writer")

    refused = entries(stocked)[-1]
    assert (refused.holder, refused.act, refused.outcome) == ("writer", "read-message", "forbidden")
    assert (refused.subject, refused.asked) == (None, {})


def test_signing_in_and_out_are_acts_and_guesses_are_not(stocked: Running) -> None:
    before = len(entries(stocked))
    visitor = signed_in(stocked, "reader")
    visitor.post("/console/sign-out")
    visitor.post("/console/sign-out")
    Visitor(stocked).post("/console/sign-in", key="wrong")
    Visitor(stocked).post("/console/sign-in", key=key_of("writer"))

    assert [(each.holder, each.act, each.outcome) for each in entries(stocked)[before:]] == [
        ("reader", "sign-in", "done"),
        ("reader", "sign-out", "done"),
        ("writer", "sign-in", "forbidden"),
    ]


def test_a_stream_is_on_disk_before_its_first_byte_and_its_end_is_told(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        server.deliver(body("message.sent", "msg_1", sequence=1))
        server.deliver(body("message.sent", "msg_2", sequence=1))
        with stream(server, Last_Event_ID=server.get("/feed?limit=1").json()["next"]) as events:
            opened = entries(server)[-1]
            events.event()
        until(lambda: _newest(server).outcome == "ended")

    assert (opened.act, opened.outcome, opened.result) == ("follow-feed", "done", {})
    assert opened.asked.keys() == {"Last-Event-ID"}
    assert (_newest(server).act, _newest(server).result) == ("follow-feed", {"items": 1})


def test_a_stream_ends_in_order_where_the_trail_takes_no_more(fresh: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs() as told, stream(fresh) as events:
        assert events.line() == ": connected"
        monkeypatch.setattr("ledger.audit.writer.WAITING_MAX", 0)
        fresh.service.closing.set()
        until(lambda: fresh.service.open_streams == 0)

    assert [each for each in told if each["log_level"] == "error"] == []


def _newest(server: Running) -> AuditEntry:
    return server.service.trail.entries(AuditQuestion(), limit=1)[0].entry


def test_the_trail_is_read_back_page_by_page_and_reading_it_is_an_entry(stocked: Running) -> None:
    for number in range(5):
        stocked.get("/messages/msg_in", **{"X-Request-Id": f"paged-{number}"})
    seen: list[str] = []
    address: str | None = "/audit?holder=reader&act=read-message&subject=msg_in&limit=2"
    while address is not None:
        page = stocked.get(address, "admin").json()
        assert len(page["items"]) <= 2
        seen += [each["requestId"] for each in page["items"]]
        address = page["next"] and f"{address.partition('&cursor')[0]}&cursor={page['next']}"

    assert seen[:5] == [f"paged-{number}" for number in (4, 3, 2, 1, 0)]
    assert len(seen) == len(entries(stocked, AuditQuestion("reader", "read-message", "msg_in")))
    assert _newest(stocked).act == "read-audit"


def test_a_last_page_of_the_trail_that_is_full_leads_nowhere(fresh: Running) -> None:
    fresh.deliver(body("message.sent", "msg_1", sequence=1))
    for _ in range(3):
        fresh.get("/messages/msg_1/history")

    nexts = {
        limit: fresh.get(f"/audit?act=read-history&limit={limit}", "admin").json()["next"] is None
        for limit in (2, 3, 4)
    }

    assert nexts == {2: False, 3: True, 4: True}


def test_an_item_of_the_trail_has_the_shape_of_the_contract(fresh: Running) -> None:
    fresh.deliver(body("message.sent", "msg_1", sequence=1))
    fresh.get("/messages/msg_1/history", **{"X-Request-Id": "mine"})

    (item,) = fresh.get("/audit?act=read-history", "admin").json()["items"]

    assert re.fullmatch("[0-9a-f]{64}", item.pop("hash"))
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT[0-9:.]+Z", item.pop("at"))
    assert item == {
        "number": 1,
        "holder": "reader",
        "way": "http",
        "act": "read-history",
        "subject": "msg_1",
        "asked": {},
        "outcome": "done",
        "result": {"items": 1},
        "requestId": "mine",
    }


@pytest.mark.parametrize(
    "query", ["act=x", "since=yesterday", "cursor=x", "limit=0", "cursor=YXVkaXQAeA", "holder=a&holder=b", "who=anna"]
)
def test_a_question_that_makes_no_sense_is_refused(stocked: Running, query: str) -> None:
    assert stocked.get(f"/audit?{query}", "admin").status_code == 400


def test_without_keys_the_reader_is_loopback(tmp_path: Path) -> None:
    with running(settings_at(tmp_path, api_keys=())) as server:
        server.deliver(body("message.sent", "msg_1", sequence=1))
        server.get("/feed", None)
        server.http.post("/console/sign-in", headers={"Origin": f"http://127.0.0.1:{server.port}"})

        assert [(each.holder, each.act) for each in entries(server)] == [("loopback", "read-feed")]


def test_what_the_trail_cannot_take_is_not_shown_and_webhooks_are_taken_all_the_same(store_url: str) -> None:
    with running(settings_at(store_url)) as server:
        server.deliver(body("message.sent", "msg_1", sequence=1))
        with server.service.trail.database.writing() as connection:
            connection.execute(text("ALTER TABLE audit_entries RENAME TO elsewhere"))
        refused = [server.get(path) for path in ("/feed", "/messages/msg_1/history")]
        delivered = server.deliver(body("message.delivery", "msg_1", sequence=2))
        masked = server.get("/feed", "masked")
        warnings = server.http.get("/readyz").json()["warnings"]
        with server.service.trail.database.writing() as connection:
            connection.execute(text("ALTER TABLE elsewhere RENAME TO audit_entries"))
        again = server.get("/feed")

    assert [(each.status_code, "msg_1" in each.text) for each in refused] == [(503, False), (503, False)]
    assert refused[0].json()["type"] == "docs/HTTP.md#problem-store-unavailable"
    assert (delivered.status_code, masked.status_code, again.status_code) == (202, 200, 200)
    (warning,) = [
        each for each in warnings if each.startswith("whoever reads is refused: the audit trail cannot be written")
    ]
    # Anybody may ask, and what PostgreSQL says may name hosts and users.
    assert ("audit_entries" in warning) == store_url.startswith("sqlite")


def test_where_the_trail_is_gone_readiness_says_that_nobody_can_read_and_until_when(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        server.deliver(body("message.sent", "msg_1", sequence=1))
        place = Path(server.service.trail.database.file or "")
        away = place.rename(place.with_suffix(".away"))
        refused = server.get("/feed")
        (warning,) = server.http.get("/readyz").json()["warnings"]
        away.rename(place)
        again = server.get("/feed")

        assert (refused.status_code, again.status_code) == (503, 200)
        assert warning.startswith("whoever reads is refused: the audit trail cannot be written: ")
        assert str(place) in warning
        assert server.http.get("/readyz").json()["warnings"] == []


def test_many_who_are_refused_leave_a_line_a_second_of_the_log(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        server.deliver(body("message.sent", "msg_1", sequence=1))
        place = Path(server.service.trail.database.file or "")
        place.rename(place.with_suffix(".away"))
        began_s = time.monotonic()
        with capture_logs() as told:
            statuses = {server.get("/feed").status_code for _ in range(40)}
        lasted_s = time.monotonic() - began_s
        place.with_suffix(".away").rename(place)

    lines = [each for each in told if each["event"] == "a request could not be answered"]
    assert statuses == {503}
    assert 1 <= len(lines) <= lasted_s / EVERY_S + 1
    assert {(each["reason"], each["log_level"]) for each in lines} == {("store-unavailable", "error")}


def test_a_damaged_trail_needs_an_operator_and_is_named(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        server.deliver(body("message.sent", "msg_1", sequence=1))
        server.get("/feed")
        place = Path(server.service.trail.database.file or "")
    damage_table(place, "audit_entries")
    with running(settings_at(tmp_path)) as server:
        refused = server.get("/feed")
        taken = server.deliver(body("message.sent", "msg_2", sequence=1))
        warnings = server.http.get("/readyz").json()["warnings"]

    assert (refused.status_code, refused.json()["type"]) == (503, "docs/HTTP.md#problem-operator-needed")
    assert taken.status_code == 202
    assert any("move this audit trail away" in each for each in warnings)


def test_two_servers_of_one_ledger_write_one_trail(postgres_url: str) -> None:
    with running(settings_at(postgres_url)) as one, running(settings_at(postgres_url)) as other:
        one.deliver(body("message.sent", "msg_1", sequence=1))

        def read(number: int) -> int:
            return (one, other)[number % 2].get("/feed", **{"X-Request-Id": f"r-{number}"}).status_code

        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(read, range(40))) == {200}
        verified = verify_trail(one.service.trail)
        ids = {each.request_id for each in entries(other)}

    assert (verified.entries, verified.findings) == (40, ())
    assert ids == {f"r-{number}" for number in range(40)}


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with request.getfixturevalue("postgres").fresh_database() as url:
        yield url


def test_after_kill_9_every_answer_that_was_given_has_its_entry(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    answered: list[str] = []
    enough = threading.Event()
    with Ledger.open(url) as ledger:
        ledger.commit([fact(delivered())])
    with program(url, tmp_path / "log") as server:

        def read(reader: int) -> None:
            with server.http as http:
                for number in range(10_000):
                    request_id = f"{reader}-{number}"
                    http.get("/feed", headers={"X-Request-Id": request_id}).raise_for_status()
                    answered.append(request_id)
                    if len(answered) > 20:
                        enough.set()

        def read_until_killed(reader: int) -> None:
            try:
                read(reader)
            except httpx2.TransportError:
                return

        with ThreadPoolExecutor(4) as threads:
            for reader in range(4):
                threads.submit(read_until_killed, reader)
            assert enough.wait(30)
            server.kill()

    with Ledger.open_existing(url) as ledger, closing(AuditTrail.open(ledger)) as trail:
        kept = {each.entry.request_id for each in trail.entries(AuditQuestion(act="read-feed"), limit=100_000)}
        verified = verify_trail(trail)

    assert set(answered) - kept == set()
    assert len(kept) - len(answered) <= 4  # whose answers were cut off
    assert verified.findings == ()


def test_what_was_asked_is_kept_in_short() -> None:
    asked = {
        "phone": "+1 (555) 765-4321",
        "reference": "order_789",
        "key": "ledger_q3vZqk2cVbJ0u7XrQm1T9aWnE5yHsLdPfGtRiOoUeKx",
        "since": "2026-11-23T16:00:00Z",
        "asOf": "0-1234567",
        "text": "\x1b[2J\0",
        "nothing": None,
        "version": 3,
    }

    assert asked_in_short(asked) == {
        "phone": "…4321",
        "reference": "order_789",
        "key": "ledger_q3vZqk2cVbJ0u7Xr…",
        "since": "2026-11-23T16:00:00Z",
        "asOf": "0-1234567",
        "text": "␛[2J␀",
        "version": 3,
    }


def test_an_id_is_kept_whole_unless_it_is_longer_than_any_of_red_cloud_s() -> None:
    assert subject_in_short("+15557654321/🙂") == "+15557654321/🙂"
    assert len(subject_in_short("x" * 10_000)) == SUBJECT_CHARACTERS_MAX
    assert subject_in_short("a\0b") == "a␀b"


def test_json_bodies_are_not_part_of_an_entry(stocked: Running) -> None:
    assert as_json([each.result for each in entries(stocked)]).find(WORDS.encode()) == -1
