"""Attacks 24 and 26: who may ask what. Every route with every kind of key, and the loopback of a server without keys."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.requests import HTTPConnection
from structlog.testing import capture_logs

from api.access import KEY_UNKNOWN, Access, ApiKey, Scope, sha256_of
from api.attempts import ADDRESSES_MAX, ATTEMPTS_MAX, FailedAttempts
from api.errors import TooManyFailures, Unauthenticated
from api.http.routes import ROUTES
from api.http.routing import Guarded
from tests.api.running import KEYS, WEBHOOKS, Running, key_of, running, settings_at, until
from tests.builders import body, send_body

KEY_NEEDED = {
    "type": "docs/HTTP.md#problem-unauthenticated",
    "title": "No API key that is known here",
    "status": 401,
    "detail": "an API key is needed: Authorization: Bearer <key>",
}
MAY = {
    Scope.WRITE: {"writer", "admin"},
    Scope.READ: {"reader", "admin"},
    Scope.MASKED: {"reader", "masked", "admin"},
    Scope.ADMIN: {"admin"},
}
EXACT_BYTES = "/messages/{messageId}/history/{version}/body"
GUARDED = [route for route in ROUTES if isinstance(route, Guarded)]


def path_of(route: Guarded) -> str:
    """A path of the route, about things that do not exist."""
    return "/".join("x" if part.startswith("{") else part for part in route.path.split("/"))


def status_for(server: Running, route: Guarded, key: str) -> int:
    """What the holder of a key gets; of a stream only its beginning is awaited."""
    headers = {"Authorization": f"Bearer {key_of(key)}"}
    with server.http.stream(route.method, path_of(route), headers=headers) as answer:
        return answer.status_code


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("route", GUARDED, ids=lambda route: f"{route.method} {route.path}")
def test_case_24_a_key_opens_exactly_the_routes_of_its_scopes(server: Running, route: Guarded, key: str) -> None:
    may = key in MAY[route.scope] and not (route.path == EXACT_BYTES and key == "masked")

    assert (status_for(server, route, key) == 403) is not may


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Bearer", "Basic eDp5", "é", "Bearer é"])
@pytest.mark.parametrize("route", GUARDED, ids=lambda route: f"{route.method} {route.path}")
def test_case_24_without_a_good_key_every_guarded_route_answers_the_same_401(
    server: Running, route: Guarded, authorization: str | None
) -> None:
    headers = [] if authorization is None else [(b"authorization", authorization.encode())]
    answer = server.http.request(route.method, path_of(route), headers=headers)

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="ledger"')
    is_key = authorization in {"Bearer wrong", "Bearer é"}
    assert answer.json() == (KEY_NEEDED | {"detail": KEY_UNKNOWN} if is_key else KEY_NEEDED)


def test_a_missing_scope_is_told_with_the_name_of_the_key_and_nothing_of_its_text(server: Running) -> None:
    answer = server.get("/feed", "writer")

    assert answer.json() == {
        "type": "docs/HTTP.md#problem-forbidden",
        "title": "The key lacks a scope",
        "status": 403,
        "detail": "the key 'writer' does not have the scope 'read' (or 'masked')",
    }


def test_a_key_in_the_url_or_given_twice_is_no_key(server: Running) -> None:
    key = f"Bearer {key_of('reader')}"

    assert server.http.get(f"/feed?key={key_of('reader')}&access_token={key_of('reader')}").status_code == 401
    assert server.http.get("/feed", headers=[("Authorization", key), ("Authorization", key)]).status_code == 401


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/nowhere", WEBHOOKS])
def test_what_is_open_needs_no_key(server: Running, path: str) -> None:
    assert server.http.get(path).status_code in {200, 404, 405}


def test_the_scope_masked_sees_neither_numbers_nor_bodies(server: Running, message_id: str) -> None:
    secret = {"from": "+15557654321", "to": "+15551234567", "body": "a private word", "conversationId": message_id}
    server.post("/sends", send_body([message_id], f"idem_{message_id}"))
    server.deliver(b"+15557654321 a private word")
    last = server.deliver(body("message.inbound", f"{message_id}_in", **secret)).json()["position"]
    assert server.get(f"/messages/{message_id}_in?waitFor={last}").status_code == 200
    paths = [
        f"/messages/{message_id}_in/history",
        f"/messages/{message_id}/history",
        f"/messages/{message_id}_in",
        f"/messages/{message_id}",
        f"/sends/idem_{message_id}",
        "/messages",
        "/feed",
    ]
    later = ["/conversations", f"/conversations/{message_id}", f"/conversations/{message_id}/messages"]
    until(lambda: "5557654321" in server.get(later[0]).text)
    version_1 = f"/messages/{message_id}_in/history/1/body"

    for path in [*paths, *later]:
        assert is_personal(server.get(path).text)
    for path in [*paths, *later, version_1, "/quarantine", "/metrics", "/readyz"]:
        assert not is_personal(server.get(path, "masked").text)
    assert server.get(paths[0], "masked").json()["events"][0]["body"] is None
    assert server.get(paths[4], "masked").json()["messages"][0]["to"] == "4567"
    assert server.get(version_1, "masked").json() == {
        "type": "docs/HTTP.md#problem-forbidden",
        "title": "The key lacks a scope",
        "status": 403,
        "detail": "a key with the scope 'masked' may not read exact bytes",
    }


def is_personal(text: str) -> bool:
    return any(word in text for word in ("5557654321", "5551234567", "a private word"))


def test_a_key_kept_as_sha256_opens_and_its_digest_does_not(tmp_path: Path) -> None:
    digest = sha256_of("prefix_secret_ü")
    with running(settings_at(tmp_path, api_keys=(ApiKey("hashed", frozenset({Scope.READ}), digest),))) as server:
        assert (
            server.http.get("/feed", headers={b"Authorization": "Bearer prefix_secret_ü".encode()}).status_code == 200
        )
        assert server.http.get("/feed", headers={"Authorization": f"Bearer {digest.hex()}"}).status_code == 401


def test_a_server_without_keys_answers_loopback_whatever_it_asks(tmp_path: Path) -> None:
    with running(settings_at(tmp_path, api_keys=())) as server:
        answers = [server.get(path, None) for path in ("/feed", "/quarantine")]
        named = server.http.get("/feed", headers={"Host": "LOCALHOST:8080"})
        forged = server.http.get("/feed", headers={"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"})

    assert [answer.status_code for answer in [*answers, named, forged]] == [200, 200, 200, 200]


ELSEWHERE = [
    {"Host": "ledger.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "evil.example:127"},
    {"Host": "localhost", "Origin": "https://evil.example"},
    {"Host": "localhost", "Origin": "null"},
]


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
def test_a_server_without_keys_answers_no_page_of_another_place_in_a_local_browser(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    with running(settings_at(tmp_path, api_keys=())) as server:
        answer = server.http.get("/feed", headers=headers)

    assert answer.status_code == 401
    assert answer.json()["detail"] == "no API keys are set (LEDGER_API_KEYS), so only loopback is answered"


def connection(peer: str, **headers: str) -> HTTPConnection:
    """A request as it looks behind the socket."""
    raw = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "client": (peer, 1234), "headers": raw})


@pytest.mark.parametrize("peer, is_answered", [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False), ("?", False)])
def test_case_26_what_a_request_says_of_its_origin_does_not_make_it_local(peer: str, *, is_answered: bool) -> None:
    asked = connection(peer, host="localhost", x_forwarded_for="127.0.0.1", forwarded="for=127.0.0.1", x_real_ip="::1")
    keyless = Access(())

    if is_answered:
        assert keyless.caller(asked).may(Scope.ADMIN)
    else:
        with pytest.raises(Unauthenticated):
            keyless.caller(asked)


def test_case_26_the_server_takes_the_peer_from_the_socket_alone(tmp_path: Path) -> None:
    """With uvicorn's default a forged header from loopback, which is what a proxy is, would name any client."""
    with running(settings_at(tmp_path, api_keys=())) as server:
        statuses = [
            server.http.get("/feed", headers={"X-Forwarded-For": claimed, "X-Forwarded-Proto": "https"}).status_code
            for claimed in ("127.0.0.1", "192.0.2.1", "garbage")
        ]

    assert statuses == [200, 200, 200]


def test_who_guesses_keys_is_told_to_wait_and_a_good_key_is_not(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server, capture_logs() as lines:
        wrong = {"Authorization": "Bearer prefix_guess"}
        statuses = [server.http.get("/feed", headers=wrong).status_code for _ in range(ATTEMPTS_MAX)]
        refused = next(
            answer
            for answer in iter(lambda: server.http.get("/feed", headers=wrong), None)
            if answer.status_code != 401
        )

        assert statuses == [401] * ATTEMPTS_MAX
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["type"] == "docs/HTTP.md#problem-too-many-failed-attempts"
        assert server.get("/feed").status_code == 200
        assert server.http.get("/feed").status_code == 401
        unsigned = [server.http.post(WEBHOOKS, content=b"{}").status_code for _ in range(2)]
        assert unsigned == [401, 401]
    told = [line for line in lines if line["event"] == "wrong API keys come again and again"]
    assert told[0]["address"] == "127.0.0.1"
    assert "guess" not in str(told)


def test_failures_are_forgiven_one_a_second() -> None:
    attempts = FailedAttempts()

    assert [attempts.wait_s("192.0.2.1", 0.0) for _ in range(ATTEMPTS_MAX + 2)] == [0.0] * ATTEMPTS_MAX + [1.0, 1.0]
    assert attempts.wait_s("192.0.2.1", 0.75) == 0.25
    assert [attempts.wait_s("192.0.2.1", 1.0) for _ in range(2)] == [0.0, 1.0]


def test_addresses_are_counted_apart_and_the_networks_of_ipv6_together() -> None:
    attempts = FailedAttempts()
    for number in range(ATTEMPTS_MAX):
        attempts.wait_s(f"2001:db8::{number:x}", 0.0)

    assert attempts.wait_s("2001:db8::ffff%eth0", 0.0) > 0
    assert attempts.wait_s("2001:db8:0:1::1", 0.0) == 0
    assert attempts.wait_s("192.0.2.1", 0.0) == 0


def test_no_more_addresses_are_remembered_than_memory_is_given_for() -> None:
    attempts = FailedAttempts()
    for number in range(ADDRESSES_MAX * 2):
        attempts.wait_s(f"192.0.{number // 256}.{number % 256}", 0.0)

    assert len(attempts) == ADDRESSES_MAX


def test_threads_that_count_at_once_count_every_failure() -> None:
    turns_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            attempts = FailedAttempts()
            with ThreadPoolExecutor(8) as threads:
                waits = list(threads.map(attempts.wait_s, ["192.0.2.1"] * 4 * ATTEMPTS_MAX, [0.0] * 4 * ATTEMPTS_MAX))
            assert waits.count(0.0) == ATTEMPTS_MAX
    finally:
        sys.setswitchinterval(turns_s)


def test_a_key_is_looked_at_before_the_failures_of_its_address() -> None:
    access = Access((ApiKey("reader", frozenset({Scope.READ}), sha256_of("good")),))
    for _ in range(ATTEMPTS_MAX):
        access.failed_attempts.wait_s("192.0.2.1", 0.0)
    with pytest.raises(TooManyFailures):
        access.caller_with("wrong", "192.0.2.1", 0.0)

    assert access.caller_with("good", "192.0.2.1", 0.0).name == "reader"
