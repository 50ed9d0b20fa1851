"""Whatever comes from the network, the answer is never a 5xx but for 503, and a refusal is always a problem."""

from urllib.parse import quote_from_bytes

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.http.routes import ROUTES
from api.http.routing import Guarded, Open
from tests.api.running import KEYS, WEBHOOKS, Running, as_json, key_of
from tests.api.wire import request
from tests.console.visitors import signed_in

on_one_server = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

TEXTS = st.text() | st.text(st.characters(categories=["Cs"]) | st.characters())
"""With halves of surrogate pairs, which JSON can write and no encoder takes."""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.sampled_from(["message.sent", "+1555", ""]),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXTS, children, max_size=4),
    max_leaves=20,
)
KINDS = ["message.queued", "message.sent", "message.delivery", "message.failed", "message.inbound", "message.read", ""]
WEBHOOK_BODIES = st.fixed_dictionaries(
    {},
    optional={
        "eventType": st.sampled_from(KINDS) | VALUES,
        "messageId": st.sampled_from(["fuzz_1", "fuzz_2"]) | st.text(max_size=600) | VALUES,
        "note": VALUES,
        "errorCode": VALUES,
        "sequence": st.integers(-2, 5) | st.integers() | VALUES,
        "externalReference": VALUES,
        "occurredAt": st.text("0123456789-:TZ+.", max_size=30) | VALUES,
        "conversationId": VALUES,
        "from": VALUES,
        "to": VALUES,
        "body": VALUES,
        "media": VALUES,
    },
)
SENDS = st.fixed_dictionaries(
    {},
    optional={
        "idempotencyKey": st.sampled_from(["fuzz_1", "fuzz_2", "fuzz_3"]) | st.text(max_size=20) | VALUES,
        "request": st.dictionaries(st.sampled_from(["sendFrom", "externalReference", "to", "text"]), VALUES) | VALUES,
        "response": st.fixed_dictionaries(
            {"results": st.lists(st.dictionaries(st.sampled_from(["to", "messageId", "status"]), VALUES), max_size=3)},
            optional={"errors": st.lists(VALUES, max_size=3) | VALUES},
        )
        | VALUES,
    },
)
HEADER_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=80)
SEGMENTS = st.sampled_from(["fuzz_1", "fuzz_2", "0", "1", ".."]) | st.binary(max_size=20).map(quote_from_bytes)
VALUES_ASKED = st.binary(max_size=20).map(quote_from_bytes) | st.sampled_from(
    ["1", "50", "0-1", "2024-11-23T16:00:00Z"]
)


def queried(route: Guarded | Open) -> list[str]:
    return [parameter.name for parameter in route.description.parameters if parameter.place == "query"]


def targets(route: Guarded | Open) -> st.SearchStrategy[str]:
    """A path with any values in it, and any of its parameters with any value; seldom one that it does not have."""
    parts = [SEGMENTS if part.startswith("{") else st.just(part) for part in route.path.split("/")]
    pairs = st.lists(st.tuples(st.sampled_from([*queried(route) * 4, "x"]), VALUES_ASKED), max_size=3)
    query = pairs.map(lambda each: "&".join(f"{name}={value}" for name, value in each))
    return st.tuples(st.tuples(*parts).map("/".join), query).map("?".join)


TARGETS = st.one_of([targets(route) for route in ROUTES if route.path != "/feed/stream"])


READING = [(route.path, name) for route in ROUTES for name in queried(route) if route.path != "/feed/stream"]


@pytest.mark.parametrize("path, name", READING, ids=["?".join(each) for each in READING])
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(value=st.binary(max_size=30) | st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_in_any_query_parameter_are_an_answer_or_400(
    server: Running, path: str, name: str, value: bytes
) -> None:
    target = f"{path}?{name}={quote_from_bytes(value)}".replace("{messageId}", "fuzz_1").replace(
        "{conversationId}", "c"
    )

    answer = server.get(target, "admin")

    assert is_well_answered(answer)
    assert answer.status_code in {200, 304, 400, 404, 504}


def is_well_answered(answer: httpx2.Response) -> bool:
    """Whether it is an answer that we meant: no 5xx but 503, and every refusal a whole problem."""
    if answer.status_code >= 400 and answer.request.method != "HEAD" and "reasons" not in answer.text:
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(answer.json()) == {"type", "title", "status", "detail"}
        assert answer.json()["status"] == answer.status_code
        assert "Traceback" not in answer.text
    return answer.status_code < 500 or answer.status_code in {503, 504 if "waitFor" in str(answer.url) else 503}


@on_one_server
@given(st.binary(max_size=200) | WEBHOOK_BODIES.map(as_json))
def test_whatever_is_signed_is_kept(server: Running, raw: bytes) -> None:
    first, again = server.deliver(raw), server.deliver(raw)

    assert (first.status_code in {200, 202}, again.status_code) == (True, 200)
    assert {**again.json(), "outcome": ""} == {**first.json(), "outcome": ""}


@on_one_server
@given(WEBHOOK_BODIES.map(as_json), HEADER_VALUES, HEADER_VALUES)
def test_whatever_is_not_signed_is_refused(server: Running, raw: bytes, timestamp: str, signature: str) -> None:
    headers = {"X-RedCloud-Timestamp": timestamp.encode("latin-1"), "X-RedCloud-Signature": signature.encode("latin-1")}
    with server.wire() as wire:
        lines = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers.items())
        answer = wire.send(request("POST", WEBHOOKS, None, raw).replace(b"\r\n", b"\r\n" + lines, 1)).answer()

    assert answer.status == 401


@on_one_server
@given(st.binary(max_size=200) | SENDS.map(as_json))
def test_whatever_is_handed_over_is_recorded_or_refused(server: Running, raw: bytes) -> None:
    answer = server.post("/sends", raw)

    assert is_well_answered(answer)
    assert answer.status_code in {200, 202, 409, 422}


@on_one_server
@given(
    st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS"]),
    TARGETS,
    st.sampled_from([None, *KEYS]),
    st.dictionaries(st.sampled_from(["If-None-Match", "Last-Event-ID", "Accept", "Range", "Origin"]), HEADER_VALUES),
)
def test_whatever_is_asked_is_answered(
    server: Running, method: str, target: str, key: str | None, headers: dict[str, str]
) -> None:
    bearer = {} if key is None else {"Authorization": f"Bearer {key_of(key)}"}
    said = [(name.encode(), value.strip().encode("latin-1")) for name, value in {**bearer, **headers}.items()]

    assert is_well_answered(server.http.request(method, target, headers=said))


@on_one_server
@given(
    st.binary(max_size=300) | st.binary(max_size=100).map(lambda raw: b"POST /webhooks/red-cloud HTTP/1.1\r\n" + raw)
)
def test_whatever_bytes_come_the_server_goes_on(server: Running, raw: bytes) -> None:
    with server.wire() as wire:
        wire.send_until_refused([raw])

    assert server.http.get("/livez").status_code == 200


def test_what_the_fuzz_left_behind_can_be_read(server: Running) -> None:
    server.deliver(b'{"eventType": "message.sent", "messageId": "fuzz_1", "sequence": 1}')

    assert all(event["messageId"] for event in server.stored())
    assert server.get("/quarantine?limit=1000", "admin").status_code == 200
    visitor = signed_in(server, "admin")
    for page in ("", "/messages", "/messages/fuzz_1", "/messages/fuzz_2", "/conversations", "/quarantine", "/failures"):
        assert visitor.get(f"/console{page}").status_code in {200, 404}, page
    for number in (1, 2, 3):
        assert visitor.get(f"/console/sends/fuzz_{number}").status_code in {200, 404}
        assert server.get(f"/sends/fuzz_{number}").status_code in {200, 404}
