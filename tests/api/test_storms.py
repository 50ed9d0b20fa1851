"""Storms: many deliveries at once that are authentic and odd. Everything is kept, and what is kept beside the log stays small."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ledger.ledger import Ledger
from tests.api.running import client
from tests.builders import body
from tests.faults.checks import violations
from tests.faults.load import Journal, deliver_all
from tests.faults.places import sqlite_url
from tests.faults.read_models import served_read_model_violations
from tests.faults.serving import Serving, serve

DELIVERIES = 1_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    server = serve(sqlite_url(tmp_path), tmp_path / "log")
    yield server
    server.kill()


@pytest.fixture
def http(server: Serving) -> Iterator[httpx2.Client]:
    with client(server.url) as http:
        yield http


def delivered(server: Serving, bodies: list[bytes]) -> Journal:
    """What the provider was told when it delivered all of them at once, over 32 connections."""
    journal = Journal()
    asyncio.run(deliver_all(server.port, bodies, journal))
    return journal


def samples(http: httpx2.Client) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """The name and the labels of every sample, but for those of requests that are not webhooks."""
    families = text_string_to_metric_families(http.get("/metrics").text)
    return {
        (sample.name, frozenset(sample.labels.items()))
        for family in families
        for sample in family.samples
        if not sample.name.startswith("ledger_http_request")
    }


def whole(http: httpx2.Client, path: str) -> list[dict[str, Any]]:
    """Every event of a history or of the feed."""
    page = http.get(path, params={"limit": 1_000}).json()["events"]
    assert len(page) == DELIVERIES
    return page  # type: ignore[no-any-return]


def test_unknown_kinds_without_number_are_kept_and_make_no_label(server: Serving, http: httpx2.Client) -> None:
    kinds = [f"message.kind-{number}" for number in range(DELIVERIES)]
    bodies = [body(kind, f"msg_{number % 50}", sequence=number) for number, kind in enumerate(kinds)]
    journal = delivered(server, bodies[:1])
    before = samples(http)

    journal.answers += delivered(server, bodies[1:]).answers

    assert dict(journal.answers) == {202: DELIVERIES}
    events = whole(http, "/feed")
    assert sorted(event["eventType"] for event in events) == sorted(kinds)
    assert {event["effect"] for event in events} == {"noted"}
    assert samples(http) == before


def test_of_a_thousand_contradictions_the_first_holds_and_all_are_kept(server: Serving, http: httpx2.Client) -> None:
    bodies = [
        body(("message.sent", "message.failed")[number % 2], "msg_1", sequence=1, errorCode=number)
        for number in range(DELIVERIES)
    ]

    journal = delivered(server, [each for each in bodies for _ in range(2)])

    assert dict(journal.answers) == {202: DELIVERIES, 200: DELIVERIES}
    events = whole(http, "/messages/msg_1/history")
    kinds = [event["eventType"] for event in events]
    assert [(event["version"], event["effect"]) for event in events] == [
        (version, "applied" if version == 1 else "conflicting" if {*kinds[:version]} != {kinds[0]} else "repeated")
        for version in range(1, DELIVERIES + 1)
    ]
    assert sorted(event["body"]["errorCode"] for event in events) == list(range(DELIVERIES))
    with Ledger.open_existing(sqlite_url(server.log.parent)) as ledger:
        assert violations(ledger, journal) == []
        assert served_read_model_violations(ledger) == []
    status = http.get("/messages/msg_1").json()
    assert (status["status"], status["sequence"]) == (kinds[0].removeprefix("message."), 1)
    assert (status["conflictingSequences"], status["eventCount"]) == ([1], DELIVERIES)
