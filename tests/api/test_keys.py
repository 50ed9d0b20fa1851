"""API keys: written with an expiry, made, revoked and replaced while the server runs, and nothing outlives its key."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from api.access import Access, ApiKey, Scope, sha256_of
from api.errors import Unauthenticated
from api.keys import entry_of, new_key, read_keys, warnings_of
from ledger.durations import DAY_US
from ledger.times import read_rfc3339
from tests.api.program import Program, program
from tests.api.running import SECRETS, key_of, running, settings_at, signed, until
from tests.builders import body
from tests.console.visitors import COOKIE, Visitor, signed_in

END_OF_JANUARY_US = read_rfc3339("2027-02-01T00:00:00Z") or 0


def key(expires_at_us: int | None = None, name: str = "anna", text: str = "secret") -> ApiKey:
    return ApiKey(name, frozenset({Scope.READ}), sha256_of(text), expires_at_us)


@pytest.mark.parametrize(
    "entry, expected",
    [
        ("anna:read:secret", key()),
        ("anna:read@2027-01-31:secret", key(END_OF_JANUARY_US)),
        ("anna:read@2027-02-01T00:00:00Z:secret", key(END_OF_JANUARY_US)),
        ("anna:read@2027-02-01t01:30:00.5+01:30:secret", key(END_OF_JANUARY_US + 500_000)),
        (f"anna:read@2027-01-31:sha256:{sha256_of('secret').hex()}", key(END_OF_JANUARY_US)),
        ("anna:read:s@2027-01-31:x", key(text="s@2027-01-31:x")),
    ],
)
def test_an_entry_may_say_until_when_it_is_valid(entry: str, expected: ApiKey) -> None:
    assert read_keys(entry) == (expected,)


@pytest.mark.parametrize(
    "entry",
    [
        "anna:read@:hidden",
        "anna:read@tomorrow:hidden",
        "anna:read@2027-02-30:hidden",
        "anna:read@2027-01-31T10:00:hidden",
        "anna:read@2027-01-31T25:00:00Z:hidden",
        "anna@2027-01-31:read:hidden",
        "anna:read@hidden",
        "loopback:read:hidden",
        "nobody:read:hidden",
        "server:read:hidden",
    ],
)
def test_an_entry_that_makes_no_sense_is_refused_without_showing_it(entry: str) -> None:
    with pytest.raises(ValueError, match=r"^entry 1 ") as refused:
        read_keys(entry)

    assert "hidden" not in str(refused.value)


def test_a_key_is_valid_to_the_last_moment_of_its_day_and_then_as_a_wrong_one() -> None:
    now_us = END_OF_JANUARY_US - 1
    access = Access(read_keys("anna:read@2027-01-31:secret"), now_us=lambda: now_us)

    caller = access.caller_with("secret", "192.0.2.1", 0.0)
    assert (caller.name, access.still(caller)) == ("anna", caller)

    now_us += 1
    assert access.still(caller) is None
    with pytest.raises(Unauthenticated) as expired:
        access.caller_with("secret", "192.0.2.1", 0.0)
    with pytest.raises(Unauthenticated) as wrong:
        access.caller_with("wrong", "192.0.2.1", 0.0)
    assert str(expired.value) == str(wrong.value)


def test_who_was_let_in_is_still_in_with_the_scopes_of_now_alone() -> None:
    caller = Access((key(),)).caller_with("secret", "192.0.2.1", 0.0)
    masked = ApiKey("anna", frozenset({Scope.MASKED}), sha256_of("secret"))

    now = Access((masked,)).still(caller)
    assert now is not None
    assert now.is_masked
    assert Access((key(text="another"),)).still(caller) is None
    assert Access(()).still(caller) is None


def test_a_fresh_key_and_its_entry_fit_each_other_and_are_never_the_same_again() -> None:
    made = new_key()
    entry = entry_of("anna", [Scope.READ, Scope.WRITE], "2027-01-31", made)

    assert re.fullmatch(r"ledger_[A-Za-z0-9_-]{43}", made)
    assert made not in entry
    assert read_keys(entry) == (
        ApiKey("anna", frozenset({Scope.READ, Scope.WRITE}), sha256_of(made), END_OF_JANUARY_US),
    )
    assert new_key() != made


def test_who_runs_a_server_is_warned_of_keys_that_are_at_their_end() -> None:
    now_us = END_OF_JANUARY_US
    keys = [key(now_us, "gone"), key(now_us + 14 * DAY_US, "going"), key(now_us + 15 * DAY_US, "later"), key(None)]

    gone, going = warnings_of(keys, now_us)

    assert gone.startswith("the API key 'gone' expired at 2027-02-01T00:00:00.000000Z and opens nothing")
    assert going.startswith("the API key 'going' expires at 2027-02-15T00:00:00.000000Z")


def test_who_runs_a_server_is_warned_of_a_key_that_can_be_guessed() -> None:
    keys = read_keys(f"short:read:k,long:read:{new_key()},hashed:read:sha256:{sha256_of('k').hex()}")

    assert [said[:24] for said in warnings_of(keys, 0)] == ["the API key 'short' has "]


@pytest.mark.parametrize("name", ["a:b", "", "a b", "a" * 65])
def test_a_name_that_no_entry_can_have_is_named_as_what_is_wrong(name: str) -> None:
    with pytest.raises(ValueError, match=r"^the name '"):
        entry_of(name, [Scope.READ], None, new_key())


def test_an_expired_key_is_answered_as_a_wrong_one_and_its_days_are_told(tmp_path: Path) -> None:
    now_us = time.time_ns() // 1_000
    keys = (
        key(now_us - 1, "gone", "gone"),
        key(now_us + 3 * DAY_US, "going", "going"),
        key(None, "forever", "forever"),
    )
    with running(settings_at(tmp_path, api_keys=keys)) as server:

        def ask(text: str) -> httpx2.Response:
            return server.http.get("/feed", headers={"Authorization": f"Bearer {text}"})

        gone, wrong, going = ask("gone"), ask("wrong"), ask("going")
        signing_in = Visitor(server).post("/console/sign-in", key="gone")
        metrics = server.http.get("/metrics").text

    assert (gone.status_code, gone.json()) == (401, wrong.json())
    assert (going.status_code, signing_in.status_code) == (200, 401)
    left = dict(re.findall(r'^ledger_api_key_left_days\{key="(\w+)"\} (\S+)$', metrics, re.MULTILINE))
    assert {name: round(float(days), 2) for name, days in left.items()} == {"gone": -0.0, "going": 3.0}


def test_a_session_and_a_stream_end_with_their_key(tmp_path: Path) -> None:
    now_us = time.time_ns() // 1_000
    with running(settings_at(tmp_path, api_keys=(key(now_us + DAY_US, "reader", key_of("reader")),))) as server:
        visitor = signed_in(server, "reader")
        assert visitor.get("/console").status_code == 200
        with server.http.stream("GET", "/feed/stream", headers={"Authorization": f"Bearer {key_of('reader')}"}) as feed:
            received = feed.iter_raw()
            assert next(received) == b": connected\n\n"
            object.__setattr__(server.service.access, "now_us", lambda: now_us + DAY_US)
            assert list(received) == []

        assert visitor.get("/console").headers["location"] == "/console/sign-in?ended=session"
        assert server.get("/feed").status_code == 401


class Hung:
    """A server whose file of settings is changed under it."""

    def __init__(self, server: Program, file: Path) -> None:
        self.server, self.file = server, file

    def write(self, *, keys: str, secrets: str) -> None:
        """Other keys and secrets, which it is told to read."""
        lines = [f"LEDGER_API_KEYS={keys}", f"LEDGER_WEBHOOK_SECRETS={secrets}", "LEDGER_REPLAY_WINDOW_S=600"]
        self.file.write_text("\n".join(lines) + "\n")
        os.kill(self.server.pid, signal.SIGHUP)

    def status(self, text: str) -> int:
        """What a key gets."""
        with httpx2.Client(base_url=f"http://127.0.0.1:{self.server.port}", trust_env=False) as http:
            return http.get("/feed", headers={"Authorization": f"Bearer {text}"}).status_code

    def deliver(self, secret: str) -> int:
        """What a webhook gets."""
        raw = body("message.sent", f"msg_{secret}", sequence=1)
        with self.server.http as http:
            return http.post("/webhooks/red-cloud", content=raw, headers=signed(raw, secret=secret)).status_code

    def logged(self, event: str) -> list[str]:
        """Lines of its log."""
        return [line for line in self.server.said if f'"event": "{event}' in line]


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[Hung]:
    """A process whose keys and secrets are in a file alone."""
    file = tmp_path / "ledger.env"
    file.write_text(
        f"LEDGER_API_KEYS=old:read:old-key,admin:admin:{key_of('admin')}\nLEDGER_WEBHOOK_SECRETS={secret('main')}\n"
    )
    url, none = f"sqlite:///{tmp_path}/ledger.db", None
    with program(
        url, tmp_path / "log", LEDGER_ENV_FILE=str(file), LEDGER_API_KEYS=none, LEDGER_WEBHOOK_SECRETS=none
    ) as server:
        yield Hung(server, file)


def secret(name: str) -> str:
    return f"{name}:{SECRETS[name].decode()}"


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGHUP")
def test_on_sighup_keys_and_secrets_are_replaced_and_nonsense_changes_nothing(hung: Hung) -> None:
    admin = f"admin:admin:{key_of('admin')}"
    port = hung.server.port
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as http:
        signed_in_there = http.post(
            "/console/sign-in", data={"key": "old-key"}, headers={"Origin": f"http://127.0.0.1:{port}"}
        )
        cookie = COOKIE.findall(signed_in_there.headers["set-cookie"])[0]
        http.cookies.clear()
        with http.stream("GET", "/feed/stream", headers={"Authorization": "Bearer old-key"}) as feed:
            received = feed.iter_raw()
            assert next(received) == b": connected\n\n"

            hung.write(keys=f"new:read:new-key,{admin}", secrets=secret("old"))
            until(lambda: hung.status("new-key") == 200)

            assert list(received) == []
        assert hung.status("old-key") == 401
        assert http.get("/console", headers={"Cookie": cookie}).headers["location"] == "/console/sign-in?ended=session"
    assert (hung.deliver("main"), hung.deliver("old")) == (401, 202)

    hung.write(keys=f"new:raed:new-key,{admin}", secrets=secret("old"))
    until(lambda: len(hung.logged("secrets and keys stay as they were")) == 1)
    hung.write(keys="", secrets=secret("old"))
    until(lambda: len(hung.logged("secrets and keys stay as they were")) == 2)

    assert hung.status("new-key") == 200
    refusals = hung.logged("secrets and keys stay as they were")
    assert "LEDGER_API_KEYS: entry 1 has an unknown scope" in refusals[0]
    assert "restart the server to run it without keys" in refusals[1]
    (told,) = hung.logged("secrets and keys were read again")
    (later,) = hung.logged("settings that changed as well count from the next start on")
    assert '"settings": ["LEDGER_REPLAY_WINDOW_S"]' in later
    assert '"added": ["key new", "secret old"]' in told
    assert [
        word for word in ("new-key", "old-key", *(each.decode() for each in SECRETS.values())) if word in told
    ] == []
    with hung.server.http as admin_http:
        items = admin_http.get("/audit?act=reload-keys").json()["items"]
    assert [(each["holder"], each["way"], each["outcome"]) for each in items] == [
        ("server", "signal", "refused"),
        ("server", "signal", "refused"),
        ("server", "signal", "done"),
    ]
    assert items[-1]["result"] == {
        "secrets": ["old"],
        "keys": ["new", "admin"],
        "added": ["key new", "secret old"],
        "removed": ["key old", "secret main"],
    }
