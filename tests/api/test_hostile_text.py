"""Attack 21 in the log output: whatever strangers write, a line is a line, and none of it is told. And what no encoder takes."""

import json
from pathlib import Path

import pytest

from api.console import WAYS
from api.console.doorway import Page
from api.http.routes import ROUTES
from api.logs import configure_logs
from tests import surrogates
from tests.api.running import KEYS, Running, as_json, key_of, running, settings_at, signed, until
from tests.api.wire import request
from tests.builders import body
from tests.console.visitors import signed_in

HOSTILE = (
    "<script>alert(1)</script>",
    "{{7*7}}",
    "=cmd|'/c calc'!A1",
    "\x1b[31m",
    "a\r\nforged: 1",
    "\u202e",
    "\0",
    "\ud800",
)


def test_case_21_hostile_text_is_in_no_line_of_the_log(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    configure_logs("debug", as_json=True)
    with running(settings_at(tmp_path)) as server:
        for sequence, text in enumerate(HOSTILE):
            raw = body("message.failed", f"planted{text}", sequence=sequence, errorMessage=text, note="planted")
            assert server.deliver(raw).status_code == 202
            assert server.deliver(b"planted " + text.encode("utf-8", "surrogatepass")).status_code == 202
            refused = {**signed(raw), "X-RedCloud-Signature": "planted"}
            with server.wire() as wire:
                assert wire.send(request("POST", "/webhooks/red-cloud", refused, raw)).answer().status == 401
        server.get("/messages/planted%0D%0Aforged/history?planted=%1B%5B31m")
        server.get("/messages?phone=planted%0D%0A", **{"X-Request-Id": "planted<script>"})

    lines = capsys.readouterr().err.splitlines()
    assert {json.loads(line)["event"] for line in lines} >= {"a delivery was refused", "answered"}
    assert [line for line in lines if "planted" in line or "script" in line or "\x1b" in line] == []


@pytest.fixture(scope="module")
def halves(server: Running) -> Running:
    """A server that was told half of a surrogate pair everywhere."""
    assert server.post("/sends", surrogates.SEND).status_code == 202
    for raw in surrogates.WEBHOOKS:
        assert server.deliver(raw).status_code == 202
    until(lambda: all(each.lag_events == 0 for each in server.service.read_models.projections()))
    return server


@pytest.mark.parametrize("key", KEYS)
def test_half_of_a_surrogate_pair_is_shown_by_every_endpoint(halves: Running, key: str) -> None:
    (quarantined,) = halves.get("/quarantine", "admin").json()["items"]
    asked = [
        (route.method, target)
        for route in ROUTES
        if route.path != "/feed/stream"
        for target in surrogates.targets(route.path, id=(quarantined["quarantineId"],))
    ]

    statuses = {each: halves.ask(*each, key, {}).status_code for each in asked}

    assert {each: status for each, status in statuses.items() if status >= 500} == {}
    assert key != "admin" or sum(status == 200 for status in statuses.values()) > len(ROUTES)


@pytest.mark.parametrize("key", ["reader", "masked", "admin"])
def test_half_of_a_surrogate_pair_is_shown_by_every_page(halves: Running, key: str) -> None:
    visitor = signed_in(halves, key)
    pages = [way.path for way in WAYS if isinstance(way, Page) and way.path != "/console/operations/stream"]
    asked = [target for path in pages for target in surrogates.targets(path)]
    asked += [f"/console/search?q={each}" for ids in surrogates.IDS.values() for each in ids]

    statuses = {target: visitor.get(target).status_code for target in asked}

    assert {target: status for target, status in statuses.items() if status >= 500} == {}
    assert sum(status == 200 for status in statuses.values()) > len(pages)


def test_half_of_a_surrogate_pair_in_a_send_is_answered_and_read_back(server: Running) -> None:
    key, request = "idem_half_again", {"text": f"Hi {surrogates.HALF}"}
    response = {"results": [], "errors": [{"message": f"no {surrogates.HALF}"}]}
    handed_over = as_json({"idempotencyKey": key, "request": request, "response": response})

    answers = [server.post("/sends", handed_over), server.post("/sends", handed_over)]

    assert [answer.status_code for answer in answers] == [202, 200]
    assert [answer.json()["rejected"] for answer in answers] == [[{"message": "no \ufffd"}]] * 2
    read = server.get(f"/sends/{key}").json()
    assert (read["request"], read["rejected"]) == ({"text": "Hi \ufffd"}, [{"message": "no \ufffd"}])


def test_an_error_that_nobody_expected_says_that_it_closes_the_connection(
    fresh: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh.service.ledger, "send", lambda _key: 1 // 0)
    with fresh.wire() as wire:
        answer = wire.send(request("GET", "/sends/a", {"Authorization": f"Bearer {key_of('reader')}"})).answer()
        assert wire.is_closed()

    assert (answer.status, answer.headers["connection"]) == (500, "close")
