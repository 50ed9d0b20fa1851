"""What operators watch: the numbers are right, their names and labels are bounded, and dashboard and alerts use what exists."""

import json
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from api.http.problems import KINDS as PROBLEMS
from api.http.routes import ROUTES
from api.metrics import KINDS
from ledger.provider import Kind
from tests.api.running import WEBHOOKS, Running, as_json, running, settings_at, signed, until
from tests.builders import body

DOCS = Path(__file__).parents[2] / "docs" / "observability"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(server: Running) -> Samples:
    """Every sample by its name and labels."""
    answer = server.get("/metrics", None)
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def settled(server: Running) -> None:
    """Waits until the read models have everything."""
    until(lambda: all(each.lag_events == 0 for each in server.service.read_models.projections()))


def test_webhooks_are_counted_by_outcome_and_kind(fresh: Running) -> None:
    sent = body("message.sent", "msg_1", sequence=1)
    for raw in (sent, sent, body("message.delivery", "msg_1", sequence=2), body("message.read", "msg_1"), b"?", b"?"):
        fresh.deliver(raw)
    samples = scraped(fresh)

    counted = {
        (dict(labels)["outcome"], dict(labels)["kind"]): number
        for (name, labels), number in samples.items()
        if name == "ledger_webhooks_total" and number
    }
    assert counted == {
        ("recorded", "message.sent"): 1,
        ("duplicate", "message.sent"): 1,
        ("recorded", "message.delivery"): 1,
        ("recorded", "other"): 1,
        ("quarantined", "other"): 2,
    }
    assert value(samples, "ledger_time_to_durable_seconds_count") == 6
    assert value(samples, "ledger_commit_batch_items_sum") == 6
    assert value(samples, "ledger_commit_seconds_count") == value(samples, "ledger_commit_batch_items_count")
    assert value(samples, "ledger_quarantine_deliveries") == 1


def test_every_kind_of_the_provider_is_told_apart() -> None:
    assert set(KINDS) == {*Kind, "other"} - {Kind.REQUEST_ACCEPTED}


def test_refusals_are_counted_by_our_own_words(fresh: Running) -> None:
    raw = body("message.sent", "msg_1", sequence=1)
    fresh.http.post(WEBHOOKS, content=raw)
    fresh.http.post(WEBHOOKS, content=raw, headers=signed(b"other"))
    fresh.http.post(WEBHOOKS, content=raw, headers={"Content-Encoding": "gzip"})
    samples = scraped(fresh)

    assert value(samples, "ledger_webhooks_refused_total", problem="signature-refused") == 2
    assert value(samples, "ledger_webhooks_refused_total", problem="encoding-refused") == 1
    refused = {dict(labels)["problem"] for name, labels in samples if name == "ledger_webhooks_refused_total"}
    assert refused <= {kind.slug for kind in PROBLEMS.values()} | {"internal"}


def test_late_signatures_are_counted_and_ten_in_a_row_raise_the_alarm(fresh: Running) -> None:
    long_ago = str(int(time.time()) - 3 * 60 * 60)
    for sequence in range(10):
        fresh.deliver(body("message.sent", "msg_1", sequence=sequence), timestamp=long_ago)
    samples = scraped(fresh)

    assert (value(samples, "ledger_webhooks_late_total"), value(samples, "ledger_clock_alarm")) == (10, 1)


def test_the_state_of_the_read_models_is_told(store_url: str) -> None:
    with running(settings_at(store_url, partitions=2)) as server:
        server.deliver(body("message.sent", "msg_1", sequence=1))
        settled(server)
        samples = scraped(server)

    assert value(samples, "ledger_store_readable") == value(samples, "ledger_ready") == 1
    for projection in ("message-status", "inbound-conversations"):
        of = {"projection": projection}
        assert value(samples, "ledger_projection_lag_events", **of) == 0
        assert value(samples, "ledger_projection_lag_seconds", **of) == 0
        assert value(samples, "ledger_projection_parked_events", **of) == 0
        states = [
            value(samples, "ledger_projection_state", state=each, **of) for each in ("live", "rebuilding", "stopped")
        ]
        assert states == [1, 0, 0]
    assert value(samples, "ledger_stuck_messages", status="sent", older_than_seconds="900") == 0
    assert value(samples, "ledger_queue_items") == 0
    (info,) = [dict(labels) for name, labels in samples if name == "ledger_app_info"]
    assert (info["engine"], info["partitions"]) == (store_url.partition(":")[0].partition("+")[0], "2")


def test_the_files_of_an_embedded_ledger_are_measured(fresh: Running) -> None:
    fresh.deliver(body("message.sent", "msg_1", sequence=1))
    settled(fresh)
    samples = scraped(fresh)

    sizes = {dict(labels)["file"]: size for (name, labels), size in samples.items() if name == "ledger_file_bytes"}
    assert set(sizes) == {"log", "log-wal", "read-models", "read-models-wal", "audit", "audit-wal"}
    assert sizes["log"] > 0
    assert sizes["read-models"] + sizes["read-models-wal"] > 0
    assert value(samples, "ledger_disk_free_bytes") > 0


def test_the_progress_of_a_rebuild_is_told(fresh: Running) -> None:
    fresh.deliver(body("message.sent", "msg_1", sequence=1))
    settled(fresh)
    rebuild = fresh.service.read_models.claim_rebuild("message-status")
    samples = scraped(fresh)
    rebuild.run()

    assert 0 <= value(samples, "ledger_rebuild_done_ratio", projection="message-status") <= 1
    assert value(samples, "ledger_projection_state", projection="message-status", state="rebuilding") == 1


def test_requests_are_counted_by_route_template_and_class_of_status(fresh: Running) -> None:
    fresh.get("/messages/+15551234567")
    fresh.get("/messages?status=x")
    fresh.get("/projections", None)
    fresh.get("/nowhere/+15551234567")
    fresh.ask("PROPFIND", "/messages", "reader", {})
    samples = scraped(fresh)

    name = "ledger_http_request_seconds_count"
    counted = {frozenset(dict(labels).values()): number for (each, labels), number in samples.items() if each == name}
    assert counted == {
        frozenset({"GET", "/messages/{messageId}", "4xx"}): 1,
        frozenset({"GET", "/messages", "4xx"}): 1,
        frozenset({"GET", "/projections", "4xx"}): 1,
        frozenset({"GET", "none", "4xx"}): 1,
        frozenset({"other", "/messages", "4xx"}): 1,
    }


def test_metrics_are_open_and_free_of_personal_data(fresh: Running) -> None:
    fresh.deliver(
        body("message.inbound", "msg_secret", conversationId="conv_secret", body="secret", **{"from": "+15557654321"})
    )
    fresh.deliver(as_json({"eventType": "message.secret", "messageId": "msg_secret"}))
    fresh.get("/messages/msg_secret?phone=5557654321")
    text = fresh.get("/metrics", None).text

    assert "secret" not in text
    assert "5557654321" not in text


def test_names_tell_the_unit_and_every_metric_is_explained(fresh: Running) -> None:
    for family in text_string_to_metric_families(fresh.get("/metrics", None).text):
        if family.name.startswith("ledger_") and not family.name.endswith("_created"):
            assert family.documentation.endswith(".")
            is_total = any(sample.name.endswith("_total") for sample in family.samples)
            assert is_total == (family.type == "counter" and bool(family.samples))
            if family.type == "histogram":
                assert family.name.endswith(("_seconds", "_items"))


def test_the_database_is_asked_once_however_often_it_is_scraped(fresh: Running) -> None:
    scraped(fresh)
    fresh.deliver(b"?")

    assert value(scraped(fresh), "ledger_quarantine_deliveries") == 0


def test_two_servers_in_a_process_count_apart(fresh: Running, tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(settings_at(tmp_path_factory.mktemp("other"))) as other:
        other.deliver(body("message.sent", "msg_1", sequence=1))

        assert value(scraped(other), "ledger_time_to_durable_seconds_count") == 1
        assert value(scraped(fresh), "ledger_time_to_durable_seconds_count") == 0


# What stands only while something is so: labels that a scrape of an empty ledger does not show.
LABELS: dict[str, dict[str, set[str]]] = {
    "ledger_webhooks_refused_total": {"problem": {kind.slug for kind in PROBLEMS.values()}},
    "ledger_http_request_seconds": {
        "status": {"2xx", "3xx", "4xx", "5xx"},
        "route": {"none", *(route.path for route in ROUTES)},
        "method": set(),
    },
    "ledger_rebuild_done_ratio": {"projection": set()},
    "ledger_last_verification_clean": {},
    "ledger_api_key_left_days": {"key": set()},
    "ledger_rebuild_left_seconds": {"projection": set()},
}
ADDED_BY_PROMETHEUS = {"instance", "job", "le"}
SELECTOR = re.compile(r"\b((?:ledger|process)_\w+)(?:{([^}]*)})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def expressions() -> list[str]:
    """Every PromQL expression that we hand out."""
    panels = json.loads((DOCS / "dashboard.json").read_text())["panels"]
    rules = yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"][0]["rules"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])] + [
        rule["expr"] for rule in rules
    ]


@pytest.fixture(scope="module")
def known_labels(server: Running) -> dict[str, dict[str, set[str]]]:
    """The labels of every metric that exists, with their values."""
    found: dict[str, dict[str, set[str]]] = {}
    for name, labels in scraped(server):
        of = found.setdefault(name, {})
        for label, said in labels:
            of.setdefault(label, set()).add(said)
    for name, more in LABELS.items():
        for suffix in ("", "_count", "_sum", "_bucket"):
            found.setdefault(name + suffix, {}).update(more)
    return found


@pytest.mark.parametrize("expression", expressions())
def test_dashboard_and_alerts_name_metrics_and_labels_that_exist(
    known_labels: dict[str, dict[str, set[str]]], expression: str
) -> None:
    selectors = SELECTOR.findall(expression)
    assert selectors
    names = {name for name, _ in selectors}
    assert names <= set(known_labels), names - set(known_labels)
    labels = {label: values for name in names for label, values in known_labels[name].items()}
    for _, matchers in selectors:
        for label, operator, said in MATCHER.findall(matchers):
            assert label in labels or label in ADDED_BY_PROMETHEUS
            values = said.split("|") if operator == "=~" else [said]
            assert label in ADDED_BY_PROMETHEUS or set(values) <= labels[label]
    for grouping in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {each.strip() for each in grouping.split(",")} <= set(labels) | ADDED_BY_PROMETHEUS


def test_every_metric_of_ours_is_on_the_dashboard_or_in_an_alert(known_labels: dict[str, dict[str, set[str]]]) -> None:
    shown = {name for expression in expressions() for name, _ in SELECTOR.findall(expression)}

    assert measured(shown) == measured(name for name in known_labels if not name.endswith("_created"))


def measured(names: Iterable[str]) -> set[str]:
    """Our own metrics, a histogram by its name alone."""
    return {re.sub("_(bucket|count|sum)$", "", name) for name in names if name.startswith("ledger_")}


def test_every_alert_says_what_happened_and_what_to_do() -> None:
    rules = yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"][0]["rules"]

    assert len({rule["alert"] for rule in rules}) == len(rules)
    assert all({"summary", "action"} == set(rule["annotations"]) for rule in rules)
    assert all(rule["labels"]["severity"] in {"page", "ticket"} for rule in rules)


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    panels: list[dict[str, Any]] = json.loads((DOCS / "dashboard.json").read_text())["panels"]
    places = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))


def test_a_request_id_that_makes_sense_is_kept_and_any_other_replaced(server: Running, message_id: str) -> None:
    raw = body("message.sent", message_id, sequence=1)
    for path, kept in (("/livez", "order-1:2.3_4"), ("/nowhere", "x" * 64), ("/messages/x", "0")):
        assert server.get(path, **{"X-Request-Id": kept}).headers["x-request-id"] == kept
    for replaced in ("", "x" * 65, "a b", "<script>", "-x", "é"):
        sent = {b"X-Request-Id": replaced.encode()}
        for answer in (
            server.http.get("/livez", headers=sent),
            server.http.post(
                WEBHOOKS, content=raw, headers=sent | {k.encode(): v.encode() for k, v in signed(raw).items()}
            ),
            server.http.post(WEBHOOKS, content=raw, headers=sent),
        ):
            assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", answer.headers["x-request-id"])
    kept_here = server.http.post(WEBHOOKS, content=raw, headers={**signed(raw), "X-Request-Id": "mine"})
    assert (kept_here.status_code, kept_here.headers["x-request-id"]) == (200, "mine")


def test_every_request_has_an_id_of_its_own(server: Running) -> None:
    ids = [server.get("/livez").headers["x-request-id"] for _ in range(20)]

    assert len(set(ids)) == 20
