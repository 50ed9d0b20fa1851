"""Who gets into the console, how they stay in, and how they get out."""

from pathlib import Path

import pytest

from api.access import Caller, Scope
from api.console.sessions import IDLE_S, LASTS_S, SESSIONS_MAX, Sessions
from tests.api.running import Running, key_of, running, settings_at
from tests.console.visitors import Visitor, signed_in, words_of

ANNA = Caller("anna", frozenset({Scope.READ}))


def test_without_a_session_every_page_leads_to_the_sign_in_and_back(ledger_with_messages: Running) -> None:
    nobody = Visitor(ledger_with_messages)

    answer = nobody.get("/console/messages/a%2Fb?x=1")

    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/console/sign-in?next=%2Fconsole%2Fmessages%2Fa%252Fb%3Fx%3D1",
    )
    assert (
        nobody.post(answer.headers["location"].partition("?")[0], key=key_of("reader"), next="/console/stuck").headers[
            "location"
        ]
        == "/console/stuck"
    )


def test_who_was_in_learns_that_the_session_has_ended_and_that_a_form_was_not_heeded(
    ledger_with_messages: Running,
) -> None:
    gone = Visitor(ledger_with_messages, "ledger_console=gone")

    page = gone.get("/console/messages?status=failed").headers["location"]
    form = gone.post("/console/operations/rebuild", name="message-status").headers["location"]

    assert page == "/console/sign-in?next=%2Fconsole%2Fmessages%3Fstatus%3Dfailed&ended=session"
    assert form == "/console/sign-in?next=%2Fconsole%2Foperations&ended=form"
    nobody = Visitor(ledger_with_messages)
    assert "Your session has ended. Sign in to go on where you were." in nobody.text(page)
    assert "Your session has ended, and nothing was done." in nobody.text(form)
    assert "has ended" not in nobody.text("/console/sign-in?ended=nonsense")


def test_the_cookie_holds_no_key_and_stays_in_the_console(ledger_with_messages: Running) -> None:
    answer = Visitor(ledger_with_messages).post("/console/sign-in", key=key_of("reader"))
    cookie = answer.headers["set-cookie"]

    assert key_of("reader") not in cookie
    assert {"Path=/console", "HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert "Secure" not in cookie


def test_the_cookie_is_secure_where_the_browser_came_over_https(ledger_with_messages: Running) -> None:
    origin = f"https://127.0.0.1:{ledger_with_messages.port}"

    answer = Visitor(ledger_with_messages).post("/console/sign-in", origin, key=key_of("reader"))

    assert answer.headers["set-cookie"].endswith("; Secure")


@pytest.mark.parametrize("key", ["", "wrong", "wröng", key_of("reader")[:-1]])
def test_a_wrong_key_is_told_so(ledger_with_messages: Running, key: str) -> None:
    answer = Visitor(ledger_with_messages).post("/console/sign-in", key=key)

    assert answer.status_code == 401
    assert "No such key" in answer.text
    assert "set-cookie" not in answer.headers


def test_a_key_that_may_only_write_is_refused_in_clear_words(ledger_with_messages: Running) -> None:
    answer = Visitor(ledger_with_messages).post("/console/sign-in", key=key_of("writer"))

    assert answer.status_code == 403
    assert "may hand over sends, but not read" in words_of(answer.text)


def test_who_guesses_keys_is_told_to_wait(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        guesser = Visitor(server)
        statuses = [guesser.post("/console/sign-in", key=f"guess {number}").status_code for number in range(110)]

        assert (statuses[0], statuses[-1]) == (401, 429)
        assert guesser.post("/console/sign-in", key=key_of("reader")).status_code == 303


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/messages", "/console/\r\nX: y", "/consoles"]
)
def test_signing_in_never_leads_out_of_the_console(ledger_with_messages: Running, target: str) -> None:
    answer = Visitor(ledger_with_messages).post("/console/sign-in", key=key_of("reader"), next=target)

    assert answer.headers["location"] == "/console"


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "http://127.0.0.1:1"])
@pytest.mark.parametrize(
    "path", ["/console/sign-in", "/console/sign-out", "/console/operations/rebuild", "/console/quarantine/replay"]
)
def test_a_form_of_another_page_does_nothing(ledger_with_messages: Running, path: str, origin: str | None) -> None:
    visitor = signed_in(ledger_with_messages, "admin")

    answer = visitor.post(path, origin, key=key_of("reader"), name="message-status")

    assert (answer.status_code, answer.headers.get("set-cookie")) == (403, None)
    assert visitor.get("/console").status_code == 200


def test_signing_out_ends_the_session_itself(ledger_with_messages: Running) -> None:
    visitor = signed_in(ledger_with_messages, "reader")
    session = visitor.cookie

    assert visitor.post("/console/sign-out").status_code == 303
    assert Visitor(ledger_with_messages, session).get("/console").status_code == 303


def test_a_reader_neither_rebuilds_nor_sees_the_quarantine(reader: Visitor) -> None:
    assert reader.get("/console/quarantine").status_code == 403
    assert reader.post("/console/quarantine/replay").status_code == 403
    assert reader.post("/console/operations/rebuild", name="message-status").status_code == 403
    assert "Rebuild" not in reader.text("/console/operations")


def test_without_keys_this_machine_needs_no_sign_in_and_no_other_gets_in(tmp_path: Path) -> None:
    with running(settings_at(tmp_path, api_keys=())) as server:
        visitor = Visitor(server)
        assert visitor.get("/console").status_code == 200
        assert server.http.get("/console", headers={"Host": "evil.example"}).status_code == 401


def test_a_session_ends_when_it_is_idle_or_old() -> None:
    sessions = Sessions()
    idle, busy = sessions.begin(ANNA, 0), sessions.begin(ANNA, 0)

    for now_s in range(0, int(LASTS_S) + 1, int(IDLE_S) // 2):
        assert sessions.caller(busy, now_s) == ANNA

    assert sessions.caller(idle, IDLE_S + 1) is None
    assert sessions.caller(busy, LASTS_S + 1) is None
    assert sessions.caller("made up", 0) is None


def test_the_session_seen_longest_ago_makes_room() -> None:
    sessions = Sessions()
    first, second = sessions.begin(ANNA, 0), sessions.begin(ANNA, 1)
    sessions.caller(first, 2)

    for _ in range(SESSIONS_MAX - 1):
        sessions.begin(ANNA, 3)

    assert len(sessions) == SESSIONS_MAX
    assert (sessions.caller(first, 4), sessions.caller(second, 4)) == (ANNA, None)
