"""docs/deploy/reverse-proxy.md: the real nginx, with the very file, between a client with TLS and a real server."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from tests.api.running import WEBHOOKS, Running, key_of, running, settings_at, signed, until
from tests.api.wire import request
from tests.builders import body
from tests.deploy.proxy import INSIDE, NAME, OUTSIDE, Proxy, proxied
from tests.pages import block, replaced

PAGE = "docs/deploy/reverse-proxy.md"
PHONE = "+15551234567"
ODD = b'{ "eventType":"message.sent",\r\n\t"messageId" : "msg_odd", "sequence":2,"text":"\xc3\xa9 \\u00e9 %2F\\u0000" }\n\n'
"""White space, escapes and line ends that anything which reads and writes JSON anew would change."""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(settings_at(tmp_path_factory.mktemp("ledger"))) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(ledger: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxied(tmp_path_factory.mktemp("nginx"), f"127.0.0.1:{ledger.port}") as nginx:
        yield nginx


@pytest.fixture
def provider(proxy: Proxy) -> Iterator[httpx2.Client]:
    """Red Cloud, from the Internet."""
    with proxy.http(OUTSIDE) as client:
        yield client


@pytest.fixture
def reader(proxy: Proxy) -> Iterator[httpx2.Client]:
    """Somebody in the company, with a key."""
    with proxy.http(INSIDE, key_of("admin")) as client:
        yield client


def test_a_signed_webhook_goes_through_tls_byte_for_byte(provider: httpx2.Client, reader: httpx2.Client) -> None:
    answer = provider.post(WEBHOOKS, content=ODD, headers=signed(ODD))

    assert (answer.status_code, answer.json()["outcome"]) == (202, "recorded")
    assert reader.get("/messages/msg_odd/history/1/body").content == ODD


def test_a_changed_byte_is_refused_behind_the_proxy_as_before_it(provider: httpx2.Client) -> None:
    assert provider.post(WEBHOOKS, content=ODD + b" ", headers=signed(ODD)).status_code == 401


def test_the_largest_body_that_the_ledger_takes_passes(provider: httpx2.Client) -> None:
    frame = body("message.sent", "msg_large", sequence=2, text="")
    largest = body("message.sent", "msg_large", sequence=2, text="x" * (256 * 1024 - len(frame)))

    assert provider.post(WEBHOOKS, content=largest, headers=signed(largest)).status_code == 202


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(proxy: Proxy, ledger: Running) -> None:
    before = received(ledger)
    with proxy.wire() as wire:
        answer = wire.send(request("POST", WEBHOOKS, {"Host": NAME, "Content-Length": "262145"})).answer()

    assert answer.status == 413
    assert received(ledger) == before


@pytest.mark.parametrize("slow, change", [("head", "client_header_timeout 10s"), ("body", "client_body_timeout   10s")])
def test_a_slow_client_is_cut_off_by_nginx_and_costs_the_ledger_nothing(
    slow: str, change: str, ledger: Running, tmp_path_factory: pytest.TempPathFactory
) -> None:
    impatient = {change: change.replace("10s", "200ms")}
    before = received(ledger)
    begun = request("POST", WEBHOOKS, {"Host": NAME, "Content-Length": "100"}, b"{" if slow == "body" else None)
    folder = tmp_path_factory.mktemp("impatient")
    with proxied(folder, f"127.0.0.1:{ledger.port}", **impatient) as nginx, nginx.wire() as wire:
        wire.send(begun if slow == "body" else begun[:-2])
        assert wire.is_closed()

    assert received(ledger) == before
    assert "408" in nginx.log()


def test_each_event_of_the_feed_s_stream_comes_at_once(
    proxy: Proxy, provider: httpx2.Client, reader: httpx2.Client
) -> None:
    fact = body("message.queued", "msg_streamed", sequence=1)
    with reader.stream("GET", "/feed/stream") as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": connected"
        provider.post(WEBHOOKS, content=fact, headers=signed(fact))
        # Were it buffered, nothing would come before the buffer is full, and the client would give up.
        assert next(line for line in lines if "msg_streamed" in line).startswith("data: ")


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/console", "/messages/msg_odd", "/feed", "/openapi.json"])
def test_from_outside_there_is_the_webhook_and_nothing_else(
    path: str, provider: httpx2.Client, reader: httpx2.Client
) -> None:
    forged = {"X-Forwarded-For": INSIDE, "X-Real-IP": INSIDE, "Forwarded": f"for={INSIDE}"}

    assert provider.get(path, headers=forged).status_code == 403
    assert reader.get(path).status_code != 403


def test_inside_a_key_is_needed_whatever_address_is_forged(proxy: Proxy) -> None:
    with proxy.http(INSIDE) as client:
        answers = [client.get("/messages", headers={"X-Forwarded-For": "127.0.0.1", "Host": host}) for host in HOSTS]

    assert [answer.status_code for answer in answers] == [401] * len(HOSTS)


HOSTS = (NAME, "localhost", "127.0.0.1")


def test_ids_with_encoded_slashes_and_a_doubled_slash_reach_the_ledger_as_they_are(
    proxy: Proxy, provider: httpx2.Client, reader: httpx2.Client
) -> None:
    fact = body("message.sent", "a/b c%2F", sequence=1)
    provider.post(WEBHOOKS, content=fact, headers=signed(fact))

    assert reader.get("/messages/a%2Fb%20c%252F/history").json()["messageId"] == "a/b c%2F"
    doubled = request("POST", f"/{WEBHOOKS}", {"Host": NAME, **signed(fact)}, fact)
    with proxy.wire() as wire:
        assert wire.send(doubled).answer().json()["type"].endswith("#problem-not-found")


def test_a_request_has_one_id_in_the_answer_and_in_both_logs_and_it_is_never_a_stranger_s(
    proxy: Proxy, provider: httpx2.Client
) -> None:
    strange = {**signed(b"{}"), "X-RedCloud-Signature": "no digits", "X-Request-Id": "chosen-by-a-stranger"}
    with capture_logs([merge_contextvars]) as logged:
        answer = provider.post(WEBHOOKS, content=b"{}", headers=strange)

    request_id = answer.headers["X-Request-Id"]
    assert [(line["event"], line["request_id"]) for line in logged] == [("a delivery was refused", request_id)]
    assert request_id != strange["X-Request-Id"]
    until(lambda: re.search(rf'" 401 .* {request_id}$', proxy.log(), re.MULTILINE) is not None)


def test_no_log_of_the_proxy_holds_a_phone_number(proxy: Proxy, reader: httpx2.Client) -> None:
    answer = reader.get("/messages", params={"phone": PHONE})

    assert answer.status_code == 200
    until(lambda: answer.headers["X-Request-Id"] in proxy.log())
    assert PHONE[1:] not in proxy.log()


def test_people_sign_in_to_the_console_and_their_cookie_stays_on_tls(reader: httpx2.Client) -> None:
    del reader.headers["Authorization"]
    form = {"key": key_of("reader")}
    signed_in = reader.post("/console/sign-in", data=form, headers={"Origin": f"https://{NAME}"})
    from_elsewhere = reader.post("/console/sign-in", data=form, headers={"Origin": "https://evil.example.com"})

    assert (signed_in.status_code, from_elsewhere.status_code) == (303, 403)
    assert "; Secure" in signed_in.headers["Set-Cookie"]


def test_while_the_ledger_is_away_the_provider_is_told_something_that_it_tries_again_after(tmp_path: Path) -> None:
    fact, nothing_listens = body("message.sent", "msg_1", sequence=1), "127.0.0.1:9"
    with proxied(tmp_path, nothing_listens) as nginx, nginx.http(OUTSIDE) as client:
        assert client.post(WEBHOOKS, content=fact, headers=signed(fact)).status_code == 502


def received(ledger: Running) -> dict[str, float]:
    """How many requests the ledger has answered so far, each kind."""
    lines = [line for line in ledger.http.get("/metrics").text.splitlines() if "_total" in line and line[0] != "#"]
    webhooks = [line.rpartition(" ") for line in lines if line.startswith("ledger_webhooks")]
    return {name: float(value) for name, _, value in webhooks}


def test_the_page_s_commands_put_the_file_in_its_place_and_nginx_goes_on_with_it(
    ledger: Running, tmp_path: Path
) -> None:
    with proxied(tmp_path, f"127.0.0.1:{ledger.port}") as nginx:
        conf = replaced((tmp_path / "ledger.conf").read_text(), {"/access.log": "/other.log"})
        (tmp_path / "docs" / "deploy").mkdir(parents=True)
        (tmp_path / "docs" / "deploy" / "nginx.conf").write_text(conf)
        nginx.run(replaced(block(PAGE, "nginx-install"), {"/etc/nginx/conf.d/": f"{tmp_path}/"}))

        until(lambda: is_logged_in(tmp_path / "other.log", nginx))


def is_logged_in(log: Path, nginx: Proxy) -> bool:
    with nginx.http() as client:
        return client.get("/livez").status_code == 200 and log.exists() and "/livez" in log.read_text()
