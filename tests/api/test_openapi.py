"""`GET /openapi.json` says what the server does: every route, parameter and status, and nothing that is not so."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx2
import pytest
import schemathesis
from jsonschema_rs import validator_for
from schemathesis.specs.openapi.schemas import OpenApiSchema
from starlette.datastructures import QueryParams
from starlette.requests import Request

from api.app import WEBHOOK_PATH
from api.http.openapi import AnyRoute
from api.http.questions import query_limit
from api.http.routes import ROUTES, WEBHOOK
from api.http.routing import Guarded, Open, Signed
from tests.api.fuzzing import fuzz
from tests.api.running import Running, key_of, running, settings_at, until
from tests.api.test_reading import written
from tests.builders import body, send_body

DESCRIBED: list[AnyRoute] = [WEBHOOK, *ROUTES]
UNPROVOKED = {429, 503, 408}
"""Answers that other tests provoke: test_access.py, test_store_down.py, test_concurrency.py, test_connections.py."""
ALWAYS_400 = {("post", "/webhooks/red-cloud")}
"""A body that is cut off is answered to nobody: test_connections.py sees it on a raw socket."""


def named(route: AnyRoute) -> str:
    return f"{route.method} {route.path}"


@pytest.fixture(scope="module")
def document(server: Running) -> dict[str, Any]:
    answer = server.get("/openapi.json", None)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    content: dict[str, Any] = answer.json()
    return content


@pytest.fixture(scope="module")
def schema(document: dict[str, Any]) -> OpenApiSchema:
    return schemathesis.openapi.from_dict(document)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def test_every_route_is_described_and_nothing_else(document: dict[str, Any]) -> None:
    told = {(method.upper(), path) for method, path, _ in operations(document)}

    assert told == {(route.method, route.path) for route in DESCRIBED}
    assert WEBHOOK_PATH.decode() in document["paths"]


def test_it_is_valid_openapi_3_1(schema: OpenApiSchema, document: dict[str, Any]) -> None:
    schema.validate()
    assert document["openapi"].startswith("3.1.")
    for component in document["components"]["schemas"].values():
        validator_for(component | {"components": document["components"]})


def test_every_array_says_what_is_in_it(document: dict[str, Any]) -> None:
    """Or generators of clients leave out whatever has one: `POST /sends`, for one."""
    arrays = [each for each in objects_in(document) if each.get("type") == "array"]

    assert arrays
    assert [each for each in arrays if "items" not in each] == []


def objects_in(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from objects_in(child)


def test_a_page_without_a_limit_is_as_long_as_is_told(
    stocked: Running, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("api.http.history.query_limit", partial(remembering, asked))
    monkeypatch.setattr("api.http.messages.query_limit", partial(remembering, asked))
    paths = ("/messages/{messageId}/history", "/messages")
    for path in paths:
        assert stocked.get(known(path)).status_code == 200

    told = [
        each["schema"]["default"] for path in paths for each in parameters(document, path) if each["name"] == "limit"
    ]
    assert asked == told == [1_000, 50]


def remembering(asked: list[int], request: Request, *default: int) -> int:
    asked.append(query_limit(request, *default))
    return asked[-1]


def parameters(document: dict[str, Any], path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["paths"][path]["get"]["parameters"]
    return found


def test_operation_ids_are_distinct_and_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for reference in re.findall(r'"\$ref": ?"#/components/(\w+)/([^"]+)"', str(document).replace("'", '"')):
        kind, name = reference
        assert name in document["components"][kind]


@pytest.mark.parametrize("route", DESCRIBED, ids=named)
def test_the_parameters_in_a_path_are_the_ones_that_are_described(route: AnyRoute) -> None:
    told = [parameter.name for parameter in route.description.parameters if parameter.place == "path"]

    assert told == re.findall(r"{(\w+)}", route.path)


@pytest.mark.parametrize("route", DESCRIBED, ids=named)
def test_who_may_ask_is_told(document: dict[str, Any], route: AnyRoute) -> None:
    security = document["paths"][route.path][route.method.lower()]["security"]

    match route:
        case Signed():
            assert security == [{"signature": [], "timestamp": []}]
        case Open():
            assert security == []
        case Guarded():
            scopes = {scope for each in security for scope in each["key"]}
            assert scopes == ({"read", "masked"} if route.scope == "masked" else {route.scope.value})


READING = [route for route in ROUTES if isinstance(route, Guarded) and route.method == "GET"]


@pytest.mark.parametrize("route", READING, ids=named)
def test_the_query_parameters_that_are_read_are_the_ones_that_are_described(
    stocked: Running, monkeypatch: pytest.MonkeyPatch, route: Guarded
) -> None:
    read: set[str] = set()
    getlist = QueryParams.getlist

    def recording(self: QueryParams, key: Any) -> list[str]:  # noqa: ANN401 - as in Starlette
        read.add(key)
        return getlist(self, key)

    monkeypatch.setattr(QueryParams, "getlist", recording)
    with stocked.http.stream(
        "GET", known(route.path), headers={"Authorization": f"Bearer {key_of('admin')}"}
    ) as answer:
        assert answer.status_code == 200

    assert read == {parameter.name for parameter in route.description.parameters if parameter.place == "query"}


@pytest.mark.parametrize(
    "query, detail",
    [
        ("/feed?cursor=x", "'cursor' is not a parameter of this path: it takes after, limit"),
        ("/messages?externalRef=1", "'externalRef' is not a parameter of this path: it takes status, direction, "),
        ("/projections?limit=1", "'limit' is not a parameter of this path: it takes none"),
    ],
)
def test_a_parameter_that_a_path_does_not_have_is_refused_with_those_that_it_has(
    stocked: Running, query: str, detail: str
) -> None:
    answer = stocked.get(query)

    assert (answer.status_code, answer.json()["type"]) == (400, "docs/HTTP.md#problem-malformed-question")
    assert answer.json()["detail"].startswith(detail)


def known(path: str) -> str:
    """The path of something that is there."""
    names = {"messageId": "msg_1", "version": "1", "conversationId": "conv_1", "idempotencyKey": "idem_1"}
    return re.sub(r"{(\w+)}", lambda found: names.get(found[1], QUARANTINED), path)


QUARANTINED = "8a8de823d5ed3e12746a62ef169bcf37"  # the SHA-256 of "?", cut


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that knows a message, a conversation, a send and a delivery that cannot be read."""
    with running(settings_at(tmp_path_factory.mktemp("stocked"))) as server:
        server.service.wait_for_s_max = 0.05
        server.post("/sends", send_body(["msg_1"]))
        server.deliver(body("message.failed", "msg_1", sequence=1, errorCode=30003))
        server.deliver(b"?")
        server.deliver(written("msg_2", "conv_1"))
        until(lambda: server.get("/conversations/conv_1").status_code == 200)
        until(lambda: server.get("/messages/msg_2").status_code == 200)
        yield server


class Examiner:
    """Asks, and holds every answer to the description of its operation."""

    def __init__(self, server: Running, schema: OpenApiSchema) -> None:
        self.server, self.schema = server, schema
        self.seen: set[tuple[str, str, int]] = set()

    def check(self, path: str, answer: httpx2.Response) -> None:
        method = answer.request.method.lower()
        self.seen.add((method, path, answer.status_code))
        self.schema[path][method.upper()].validate_response(answer)
        told = self.schema.raw_schema["paths"][path][method]["responses"]
        assert str(answer.status_code) in told, (
            f"{method} {path} was answered {answer.status_code}, which is not described"
        )
        content = told[str(answer.status_code)].get("content", {})
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        assert media_type in content or (not content and not answer.content)
        assert set(told[str(answer.status_code)]["headers"]) <= {
            each.title().replace("Www", "WWW").replace("Etag", "ETag") for each in answer.headers
        }

    def get(self, template: str, path: str, key: str | None = "reader", **headers: str) -> None:
        self.check(template, self.server.get(path, key, **headers))

    def post(self, template: str, path: str, content: bytes = b"", key: str | None = "admin") -> None:
        self.check(template, self.server.post(path, content, key))


def test_every_status_that_is_described_is_answered_as_described_and_no_other(
    stocked: Running, schema: OpenApiSchema, document: dict[str, Any]
) -> None:
    examiner = Examiner(stocked, schema)
    for route in ROUTES:
        if isinstance(route, Guarded):
            ask_with_every_key(examiner, route)
    ask_well(examiner)
    ask_badly(examiner)
    deliver(examiner)
    stop_the_projections(examiner)

    told = {(method, path, int(status)) for method, path, each in operations(document) for status in each["responses"]}
    unprovoked = {(method, path, status) for method, path, status in told if status in UNPROVOKED and path != "/readyz"}
    unprovoked |= {(method, path, 400) for method, path in ALWAYS_400}
    assert told - unprovoked == examiner.seen - unprovoked


def ask_with_every_key(examiner: Examiner, route: Guarded) -> None:
    other = "writer" if route.scope != "write" else "reader"
    for key in (None, other, "admin"):
        if (route.method, key) == ("POST", "admin") or (route.path == "/feed/stream" and key == "admin"):
            continue
        path = known(route.path)
        examiner.get(route.path, path, key) if route.method == "GET" else examiner.post(route.path, path, key=key)


def ask_well(examiner: Examiner) -> None:
    for path in ("/livez", "/readyz", "/metrics", "/openapi.json"):
        examiner.get(path, path, None)
    server = examiner.server
    etag = server.get("/messages/msg_1").headers["etag"]
    examiner.get("/messages/{messageId}", "/messages/msg_1", **{"If-None-Match": etag})
    examiner.get("/messages/{messageId}", "/messages/msg_2")
    examiner.get("/messages/{messageId}", "/messages/msg_1", "masked")
    with server.http.stream("GET", "/feed/stream", headers={"Authorization": f"Bearer {key_of('admin')}"}) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        examiner.seen.add(("get", "/feed/stream", 200))
    examiner.post("/quarantine/replay", "/quarantine/replay")
    examiner.post("/projections/{name}/rebuild", "/projections/inbound-conversations/rebuild")
    with_one_running = server.service.read_models.claim_rebuild("message-status")
    examiner.get("/projections", "/projections")
    examiner.post("/projections/{name}/rebuild", "/projections/message-status/rebuild")
    with_one_running.run()


def ask_badly(examiner: Examiner) -> None:
    for template, path in (
        ("/messages", "/messages?status=x"),
        ("/conversations", "/conversations?limit=x"),
        ("/feed", "/feed?after=x"),
        ("/feed/stream", "/feed/stream?after=x"),
        ("/quarantine", "/quarantine?cursor=x"),
        ("/audit", "/audit?act=x"),
        ("/messages/{messageId}", "/messages/msg_1?waitFor=0-99"),
    ):
        examiner.get(template, path, "admin")
    for route in ROUTES:
        if isinstance(route, Guarded):
            odd = ["%FF", "9"] if "{" in route.path else []
            for path in [f"{known(route.path)}?nonsense=1", *(re.sub(r"{\w+}", value, route.path) for value in odd)]:
                examiner.get(route.path, path, "admin") if route.method == "GET" else examiner.post(route.path, path)


def deliver(examiner: Examiner) -> None:
    server, path = examiner.server, "/webhooks/red-cloud"
    raw = body("message.sent", "msg_3", sequence=1)
    large = b"x" * 300_000
    for each in (raw, raw, b"{}", b"{}", large):
        examiner.check(path, server.deliver(each))
    examiner.check(path, server.http.post(path, content=raw))
    examiner.check(path, server.http.post(path, content=raw, headers={"Content-Encoding": "gzip"}))
    send, key = send_body(["msg_4"], "idem_4"), f"Bearer {key_of('writer')}"
    for each in (send, send, send_body(["msg_5"], "idem_4"), b"{}", large):
        examiner.post("/sends", "/sends", each)
    gzip = {"Content-Encoding": "gzip", "Authorization": key}
    examiner.check("/sends", server.http.post("/sends", content=send, headers=gzip))


def stop_the_projections(examiner: Examiner) -> None:
    examiner.server.service.read_models.stop()
    until(lambda: examiner.server.get("/readyz").status_code == 503)
    examiner.get("/readyz", "/readyz", None)


def test_made_up_requests_are_answered_as_described(fresh: Running) -> None:
    answers = fuzz(fresh, requests_an_operation=5)

    assert sum(answers.values()) > 70
    assert {operation for operation, _ in answers} == {
        f"{route.method} {route.path}" for route in DESCRIBED if route.path != "/feed/stream"
    }
