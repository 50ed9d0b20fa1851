"""Lists longer than a page are shown to their end, each line once; and the page of operations is told what happens, live."""

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from projections import health
from projections.errors import RebuildPaused
from projections.runner import Runner
from tests.api.running import running, settings_at, until
from tests.builders import append_unreadable, send_body
from tests.console.visitors import ORDER, Visitor, deliver, signed_in

TEXTS, CUSTOMERS, RECIPIENTS = 101, 51, 110
"""One more than a page of a conversation, one more than a page of conversations, and three pages of messages."""

LISTS = ("", "/messages", "/stuck", "/failures", "/conversations", f"/search?q={ORDER}")


def pages(visitor: Visitor, path: str) -> Iterator[str]:
    """A page, and each that follows."""
    while path:
        html = visitor.get(path).text
        yield html
        path = unescape(next(iter(re.findall(r'href="([^"]+)" rel="next"', html)), ""))


def test_lists_go_on_to_their_end_and_nothing_stands_in_them_twice(tmp_path: Path) -> None:
    sent = [f"msg_out_{number}" for number in range(RECIPIENTS)]
    with running(settings_at(tmp_path)) as server:
        assert server.post("/sends", send_body(sent, "idem_many", "order_many")).status_code == 202
        for number in range(TEXTS):
            deliver(server, "message.inbound", f"msg_in_{number}", conversationId="conv_0", body=f"({number})")
        for number in range(1, CUSTOMERS):
            deliver(server, "message.inbound", f"msg_of_{number}", conversationId=f"conv_{number}")
        until(lambda: all(each.lag_events == 0 for each in server.service.read_models.projections()))
        visitor = signed_in(server, "reader")
        messages = list(pages(visitor, "/console/messages?reference=order_many"))
        conversations = list(pages(visitor, "/console/conversations"))
        texts = list(pages(visitor, "/console/conversations/conv_0"))

    assert (len(messages), len(conversations), len(texts)) == (3, 2, 2)
    assert sorted(found(messages, r'href="/console/messages/(\w+)"')) == sorted(sent)
    assert found(conversations, r'href="/console/conversations/(\w+)"') == [f"conv_{n}" for n in range(50, -1, -1)]
    assert found(texts, r"<bdi>\((\d+)\)</bdi>") == [str(number) for number in range(TEXTS)]


def found(htmls: list[str], pattern: str) -> list[str]:
    return [each for html in htmls for each in re.findall(pattern, html)]


def test_what_is_recorded_and_how_far_a_rebuild_is_are_told_while_they_happen(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        deliver(server, "message.sent", "msg_1", sequence=1)
        until(lambda: all(each.lag_events == 0 for each in server.service.read_models.projections()))
        visitor = signed_in(server, "reader")
        rebuild = server.service.read_models.claim_rebuild("message-status")
        with server.http.stream("GET", "/console/operations/stream", headers={"Cookie": visitor.cookie}) as stream:
            beats = beats_of(stream.iter_lines())
            during = next(beats)
            deliver(server, "message.sent", "msg_2", sequence=1)
            rebuild.run()
            after = next(beat for beat in beats if beat["states"]["message-status-state"] == "live")

    assert during["states"] == {"message-status-state": "rebuilding", "inbound-conversations-state": "live"}
    assert re.fullmatch(r"0 of \d events, 0/s.*", during["texts"]["message-status-progress"])
    assert (during["bars"], after["bars"]["message-status-bar"]) == (
        {"message-status-bar": 0, "inbound-conversations-bar": -1},
        -1,
    )
    assert [(beat["texts"]["events"], beat["texts"]["outcome-recorded"]) for beat in (during, after)] == [
        ("1", "1"),
        ("2", "2"),
    ]
    assert (during["paths"]["rate-line"], after["paths"]["rate-line"][:1]) == ("", "M")


def beats_of(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    return (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))


def test_while_the_read_models_are_far_behind_no_page_says_that_nothing_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runner, "pass_once", lambda _: False)
    monkeypatch.setattr(health, "LAG_S_MAX", -1.0)
    with running(settings_at(tmp_path)) as server:
        deliver(server, "message.sent", "msg_1", sequence=1, externalReference=ORDER)
        visitor = signed_in(server, "reader")
        lists = [visitor.text(f"/console{path}") for path in LISTS]
        found = visitor.get("/console/search", q="msg_1")
        unknown = visitor.text("/console/search?q=order_nobody")
        front, operations = visitor.text("/console"), visitor.get("/console/operations").text

    assert [text.count("The lists are 1 event behind the log") for text in lists] == [1] * len(LISTS)
    assert "Not found yet" in unknown
    assert "nothing under that name yet" in unknown
    assert "Nothing found" not in unknown
    assert re.search(r"1 event behind the log, the first of them recorded \d+\.\d s ago", operations)
    assert found.headers["location"] == "/console/messages/msg_1"
    assert "0 stuck as far as is known" in front
    assert re.findall(r'data-is="([a-z ]+)"', operations) == ["catching up", "catching up"]


def test_a_rebuild_that_was_cut_off_is_seen_among_the_operations(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        deliver(server, "message.sent", "msg_1", sequence=1)
        rebuild = server.service.read_models.claim_rebuild("message-status")
        rebuild.pause()
        with pytest.raises(RebuildPaused):
            rebuild.run()
        words = signed_in(server, "reader").text("/console/operations")

    assert "message-status live, rebuild cut off" in words
    assert "A rebuild was cut off at 0 of 1 event. Rebuilding goes on there." in words
    assert "To drop what it had built: ledger rebuild message-status --cancel" in words
    assert "`" not in words


def test_a_rebuild_that_runs_is_a_refusal_that_leads_to_the_operations(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        server.service.read_models.claim_rebuild("message-status")
        refused = signed_in(server, "admin").post("/console/operations/rebuild", name="message-status")

    assert (refused.status_code, '<a class="button" href="/console/operations">' in refused.text) == (409, True)


def test_a_conversation_of_one_message_is_found_as_one(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        deliver(server, "message.inbound", "in_1", conversationId="conv_1", **{"from": "+15557654321"})
        until(lambda: all(each.lag_events == 0 for each in server.service.read_models.projections()))
        found = signed_in(server, "reader").text("/console/search?q=%2B15557654321")

    assert "Conversation conv_1 1 message " in found
    assert "1 messages" not in found


def test_a_read_model_that_there_is_not_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        refused = signed_in(server, "admin").post("/console/operations/rebuild", name="no-such")

    assert refused.status_code == 404
    assert "there is no read model no-such: expected message-status or inbound-conversations" in refused.text


def test_parked_events_lead_to_the_command_that_tries_them_again(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        append_unreadable(server.service.ledger, "msg_1", version=1)
        server.service.read_models.wake()
        until(lambda: all(each.lag_events == 0 for each in server.service.read_models.projections()))
        words = signed_in(server, "reader").text("/console/operations")

    assert "Parked 1. Why: ledger projections. To try again: ledger projections retry message-status" in words
