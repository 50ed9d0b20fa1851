"""Traces, as OpenTelemetry's own exporter in memory sees them: what is told, what is not, and whose word counts."""

import json
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.context import Context
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv.attributes import (
    db_attributes,
    error_attributes,
    http_attributes,
    network_attributes,
    url_attributes,
)
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, format_span_id, format_trace_id

from api.logs import configure_logs
from api.traces import Traces
from api.tracing import exporter_asked_for, tracing
from ledger.errors import SettingRefused
from tests.api.program import environment, program
from tests.api.running import WEBHOOKS, Running, running, settings_at, signed, until
from tests.builders import body, send_body
from tests.pages import ROOT, block, replaced

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
NOT_SAMPLED = f"00-{TRACE}-{SPAN}-00"
TEXT, PERSON, OTHER_PERSON = "a word of a customer", "+15551234567", "+15557654321"
PAGE = "docs/observability/README.md"


class Seen(SimpleSpanProcessor):
    """The spans that have ended, and how many have not."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        super().__init__(self.exporter)
        self._lock = threading.Lock()
        self.open = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """One has begun."""
        with self._lock:
            self.open += 1
        super().on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """One has ended."""
        super().on_end(span)
        with self._lock:
            self.open -= 1


class Watched:
    """A server whose spans are seen."""

    def __init__(self, server: Running, seen: Seen) -> None:
        self.server = server
        self._seen = seen

    def spans(self) -> list[ReadableSpan]:
        """All that have ended."""
        return list(self._seen.exporter.get_finished_spans())

    def forget(self) -> None:
        """Begins anew, once all that began has ended."""
        until(lambda: self._seen.open == 0)
        self._seen.exporter.clear()

    def named(self, name: str) -> ReadableSpan:
        """The one span of a name; waits for it, as it ends a little after the answer."""
        until(lambda: any(each.name == name for each in self.spans()))
        (span,) = [each for each in self.spans() if each.name == name]
        return span


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One server for all tests that do it no harm."""
    traces, seen = tracing_into_memory()
    with running(settings_at(tmp_path_factory.mktemp("traces")), traces) as server:
        yield Watched(server, seen)


@pytest.fixture
def watched(shared: Watched) -> Watched:
    """The shared server at rest, as if nothing had been seen yet."""
    until(lambda: all(each.lag_events == 0 for each in shared.server.service.read_models.projections()))
    # What was answered before this has come to its end, and is not traced itself.
    shared.server.get("/livez")
    shared.forget()
    return shared


def tracing_into_memory() -> tuple[Traces, Seen]:
    seen, provider = Seen(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(seen)
    return Traces(provider), seen


def trace_of(span: ReadableSpan) -> str:
    return format_trace_id(context_of(span).trace_id)


def parent_of(span: ReadableSpan) -> str | None:
    return None if span.parent is None else format_span_id(span.parent.span_id)


def id_of(span: ReadableSpan) -> str:
    return format_span_id(context_of(span).span_id)


def context_of(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def test_a_webhook_is_a_trace_of_its_request_its_wait_and_its_commit(watched: Watched, message_id: str) -> None:
    answer = watched.server.deliver(body("message.sent", message_id, sequence=1))

    request = watched.named("POST /webhooks/red-cloud")
    assert (request.kind, request.parent, request.links) == (SpanKind.SERVER, None, ())
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/webhooks/red-cloud",
        "http.response.status_code": 202,
        "http.response.header.x-request-id": (answer.headers["x-request-id"],),
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "ledger.outcome": "recorded",
        "ledger.kind": "message.sent",
        "ledger.position": answer.json()["position"],
    }
    queue, commit = watched.named("queue"), watched.named("commit")
    assert [parent_of(each) for each in (queue, commit)] == [id_of(request)] * 2
    assert commit.kind is SpanKind.CLIENT
    assert dict(commit.attributes or {}) == {"db.system.name": "sqlite", "db.operation.batch.size": 1}
    times = [request.start_time, queue.start_time, queue.end_time, commit.end_time, request.end_time]
    assert times == sorted(time for time in times if time is not None)
    assert queue.end_time == commit.start_time


def test_what_became_of_a_webhook_is_told_in_the_words_of_the_metrics(watched: Watched, message_id: str) -> None:
    sent = body("message.sent", message_id, sequence=1)
    first, _, other, _ = [
        watched.server.deliver(raw).json().get("position")
        for raw in (sent, sent, body("message.read", message_id), b"?")
    ]
    watched.server.http.post(WEBHOOKS, content=sent)
    watched.server.http.get(WEBHOOKS)
    until(lambda: sum(each.kind is SpanKind.SERVER for each in watched.spans()) == 6)

    told = [dict(each.attributes or {}) for each in watched.spans() if each.kind is SpanKind.SERVER]
    assert [(each.get("ledger.outcome"), each.get("ledger.kind"), each.get("ledger.position")) for each in told] == [
        ("recorded", "message.sent", first),
        ("duplicate", "message.sent", first),
        ("recorded", "other", other),
        ("quarantined", "other", None),
        (None, None, None),
        (None, None, None),
    ]
    assert [each["http.response.status_code"] for each in told] == [202, 200, 202, 202, 401, 405]


def test_webhooks_that_share_a_transaction_each_show_it(watched: Watched) -> None:
    answer = watched.server.post("/sends", send_body([f"msg_{number}" for number in range(100)]))

    assert answer.status_code == 202
    send = watched.named("POST /sends")
    commits = [each for each in watched.spans() if each.name == "commit"]
    # The register, and then 64 and 36 results together or in a few pieces: never a span a result.
    assert 3 <= len(commits) < 20
    assert {parent_of(each) for each in commits} == {id_of(send)}
    assert sum(dict(each.attributes or {})["db.operation.batch.size"] for each in commits) == 101  # type: ignore[misc]  # numbers


def test_a_traceparent_is_gone_on_with_by_a_read(watched: Watched, message_id: str) -> None:
    watched.server.deliver(body("message.sent", message_id, sequence=1))
    answer = watched.server.get(f"/messages/{message_id}/history", traceparent=TRACEPARENT, **{"X-Request-Id": "mine"})

    read = watched.named("GET /messages/{messageId}/history")
    assert (answer.status_code, trace_of(read), parent_of(read)) == (200, TRACE, SPAN)
    told = dict(read.attributes or {})
    assert (told["http.route"], told["http.response.status_code"]) == ("/messages/{messageId}/history", 200)
    assert told["http.response.header.x-request-id"] == ("mine",)


@pytest.mark.parametrize("traceparent", [TRACEPARENT, NOT_SAMPLED])
def test_a_traceparent_on_a_webhook_is_linked_to_and_decides_nothing(
    watched: Watched, message_id: str, traceparent: str
) -> None:
    raw = body("message.sent", message_id, sequence=1)
    watched.server.http.post(
        WEBHOOKS, content=raw, headers={**signed(raw), "traceparent": traceparent, "tracestate": "a=b"}
    )

    webhook = watched.named("POST /webhooks/red-cloud")
    assert trace_of(webhook) != TRACE
    assert webhook.parent is None
    assert [(format_trace_id(link.context.trace_id), dict(link.context.trace_state)) for link in webhook.links] == [
        (TRACE, {})
    ]


@pytest.mark.parametrize("traceparent", ["", "00", f"00-{'0' * 32}-{SPAN}-01", "é" * 60, f"zz-{TRACE}-{SPAN}-01"])
def test_a_traceparent_that_makes_no_sense_is_none(watched: Watched, traceparent: str) -> None:
    watched.server.http.get("/projections", headers={b"traceparent": traceparent.encode()})

    read = watched.named("GET /projections")
    assert (read.parent, read.links) == (None, ())


def test_two_traceparents_are_none(watched: Watched) -> None:
    watched.server.http.get("/projections", headers=[("traceparent", TRACEPARENT), ("traceparent", NOT_SAMPLED)])

    assert watched.named("GET /projections").parent is None


def test_the_caller_s_choice_not_to_sample_a_read_holds(watched: Watched) -> None:
    watched.server.get("/projections", traceparent=NOT_SAMPLED)
    watched.server.get("/feed")

    watched.named("GET /feed")
    assert "GET /projections" not in [each.name for each in watched.spans()]


def test_projecting_and_each_step_of_a_rebuild_are_seen(watched: Watched, message_id: str) -> None:
    read_models = watched.server.service.read_models
    watched.server.deliver(body("message.sent", message_id, sequence=1))
    projected = watched.named("project")
    until(lambda: all(each.lag_events == 0 for each in read_models.projections()))
    read_models.claim_rebuild("message-status").run()

    assert dict(projected.attributes or {}) == {"ledger.partition": 0, "ledger.events": 1}
    rebuild = watched.named("rebuild message-status")
    told = dict(rebuild.attributes or {})
    events, rows = told.pop("ledger.events"), told.pop("ledger.rows.compared")
    assert told == {"ledger.projection": "message-status", "ledger.rows.differing": 0}
    assert (int(str(events)), int(str(rows))) >= (1, 1)
    steps = [each.name for each in watched.spans() if parent_of(each) == id_of(rebuild)]
    assert steps == ["catch up", "index", "compare", "switch"]


def test_a_commit_that_fails_is_an_error_by_its_class_alone(tmp_path: Path) -> None:
    traces, seen = tracing_into_memory()
    with running(settings_at(tmp_path), traces) as server:
        with sqlite3.connect(tmp_path / "ledger.db") as connection:
            connection.execute("ALTER TABLE events RENAME TO lost")
        connection.close()
        assert server.deliver(body("message.sent", "msg_1", sequence=1)).status_code == 503

    watched = Watched(server, seen)
    commit, request = watched.named("commit"), watched.named("POST /webhooks/red-cloud")
    assert (commit.status.status_code, commit.status.description) == (StatusCode.ERROR, None)
    assert (request.status.status_code, dict(request.attributes or {})["error.type"]) == (StatusCode.ERROR, "503")
    assert (commit.events, request.events) == ((), ())
    assert re.fullmatch("[A-Za-z]+", str(dict(commit.attributes or {})["error.type"]))


def test_nothing_personal_is_in_any_span(watched: Watched) -> None:
    server = watched.server
    server.deliver(
        body("message.inbound", "msg_person", conversationId="conv_person", body=TEXT, **{"from": OTHER_PERSON})
    )
    server.post("/sends", send_body(["msg_person_2"], "idem_person", "order_person"))
    for path in (
        "/messages/msg_person",
        "/messages/msg_person/history/1/body",
        f"/messages?phone={PERSON}",
        "/conversations/conv_person",
        "/console/messages/msg_person",
        f"/console/search?q={PERSON}",
        "/nowhere/msg_person",
    ):
        server.get(path)
    until(lambda: sum(each.kind is SpanKind.SERVER for each in watched.spans()) == 9)

    said = "".join(each.to_json() for each in watched.spans())
    assert [word for word in ("person", PERSON, OTHER_PERSON, TEXT, "127.0.0.1", "prefix_") if word in said] == []


def test_what_machines_ask_every_few_seconds_is_not_traced(watched: Watched) -> None:
    for path in ("/livez", "/readyz", "/metrics", "/openapi.json"):
        assert watched.server.get(path).status_code == 200
    watched.server.get("/projections")

    watched.named("GET /projections")
    # A pass of the runner, which an earlier test gave work, may end only now.
    assert [each.name for each in watched.spans() if each.kind is SpanKind.SERVER] == ["GET /projections"]


def test_log_lines_name_the_trace(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("debug", as_json=True)
    watched.server.http.post(WEBHOOKS, content=b"{}", headers=signed(b"another body"))
    watched.server.get("/messages/msg_1")
    until(lambda: sum(each.kind is SpanKind.SERVER for each in watched.spans()) == 2)

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    said = {line["event"]: (line["trace_id"], line["span_id"]) for line in lines if "trace_id" in line}
    refused, read = watched.named("POST /webhooks/red-cloud"), watched.named("GET /messages/{messageId}")
    assert said == {
        "a delivery was refused": (trace_of(refused), id_of(refused)),
        "answered": (trace_of(read), id_of(read)),
    }


def test_the_names_are_those_of_the_semantic_conventions() -> None:
    named = set(re.findall(r'"((?:http|url|network|db|error)\.[a-z._-]+)"', (ROOT / "api" / "traces.py").read_text()))
    known = {
        value
        for module in (db_attributes, error_attributes, http_attributes, network_attributes, url_attributes)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }

    assert named - known - {"http.response.start"} == {f"{http_attributes.HTTP_RESPONSE_HEADER_TEMPLATE}.x-request-id"}


ASKED = [
    ({}, None),
    ({"OTEL_SERVICE_NAME": "x"}, None),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, "otlp"),
    ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, "otlp"),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
    ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
    ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
    ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, None),
    ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, None),
    ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "otlp"),
]


@pytest.mark.parametrize("settings, asked", ASKED)
def test_the_standard_settings_say_whether_there_are_traces(settings: dict[str, str], asked: str | None) -> None:
    assert exporter_asked_for(settings) == asked


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: "),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: ",
        ),
    ],
)
def test_a_way_of_sending_that_we_have_not_stops_the_start(settings: dict[str, str], named: str) -> None:
    with pytest.raises(SettingRefused, match=f"^{named}"), tracing(settings):
        pass


class Deaf(SpanExporter):
    """A collector that takes for ever."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS if spans else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.ended.wait(30)


def test_a_collector_that_does_not_answer_holds_up_no_end() -> None:
    deaf, provider = Deaf(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(deaf))

    Traces(provider).close(within_s=0.01)

    deaf.ended.set()


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An OTLP collector: where it listens, and what it was sent."""
    sent: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", sent
        server.shutdown()
        thread.join()


def test_a_server_sends_its_traces_to_the_collector_that_is_set_before_it_ends(
    tmp_path: Path, collector: tuple[str, list[ExportTraceServiceRequest]]
) -> None:
    url, sent = collector
    # What the page puts before `ledger serve` may stand in the file as well.
    (setting,) = re.findall(r"^(OTEL_\w+=\S+) ledger serve$", block(PAGE, "traces"), re.MULTILINE)
    file = tmp_path / "ledger.env"
    file.write_text(replaced(setting, {"http://collector.example:4318": url}))
    with (
        program(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "log", LEDGER_ENV_FILE=str(file)) as server,
        server.http as http,
    ):
        raw = body("message.sent", "msg_1", sequence=1)
        assert http.post(WEBHOOKS, content=raw, headers=signed(raw)).status_code == 202
        assert server.stop() == 0

    resources = [resource for request in sent for resource in request.resource_spans]
    told = {each.key: each.value.string_value for each in resources[0].resource.attributes}
    names = {span.name for resource in resources for scope in resource.scope_spans for span in scope.spans}
    assert told["service.name"] == "lifecycle-ledger"
    assert {"POST /webhooks/red-cloud", "queue", "commit"} <= names


ASKS = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


def test_without_the_extra_a_server_starts_and_says_that_there_are_no_traces(tmp_path: Path) -> None:
    without = "tests.programs:main_without_opentelemetry"
    with program(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "log", without, **ASKS) as server, server.http as http:
        assert http.get("/projections").status_code == 200
        assert server.stop() == 0

    assert any("the extra `otel` is not installed" in line for line in server.said)


IMPORTED = """
import sys
from api.command_line import main
sys.argv = ["ledger", "project", "--once"]
try:
    main()
finally:
    import api.app, api.service, api.http.receiving
    print(sorted(name for name in sys.modules if name.startswith(("opentelemetry", "google", "requests"))))
"""


def test_where_no_setting_asks_for_traces_nothing_of_them_is_imported(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with running(settings_at(url)):
        pass
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], env=environment(url), cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.stdout == "[]\n", done.stderr
