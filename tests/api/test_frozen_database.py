"""A database that stands still, as on a disk that does not answer: whoever watches is told in time, and so is whoever asks."""

import time
from collections.abc import Iterator

import pytest

from tests.api.running import Running, running, settings_at
from tests.builders import body
from tests.engines import PrivatePostgres
from tests.faults.processes import stopped

WITHIN_S = 1.0
PATIENCE_S = 6.0
ASKED_AT_ONCE = 6
"""More than threads that a frozen database can keep."""


@pytest.fixture
def server(postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    for name in ("READY_WITHIN_S", "METRICS_WITHIN_S"):
        monkeypatch.setattr(f"api.service.{name}", WITHIN_S)
    monkeypatch.setattr("api.audit.witness.ANSWERS_WITHIN_S", WITHIN_S)
    with postgres.fresh_database() as url, running(settings_at(url)) as server:
        yield server


def test_where_the_database_stands_still_everybody_is_told_in_time_and_all_is_well_when_it_goes_on(
    server: Running, postgres: PrivatePostgres
) -> None:
    assert server.deliver(body("message.sent", "msg_1", sequence=1)).status_code == 202
    with stopped(int((postgres.data / "postmaster.pid").read_text().split()[0])):
        for _ in range(ASKED_AT_ONCE):
            began_s = time.monotonic()
            ready, status = server.http.get("/readyz"), server.get("/messages/msg_1")
            metrics = server.http.get("/metrics")
            assert time.monotonic() - began_s < PATIENCE_S
            assert (ready.status_code, status.status_code) == (503, 503)
            assert ready.json()["reasons"]
            assert metrics.status_code == 503 or "ledger_store_readable 0.0" in metrics.text

    assert server.get("/messages/msg_1").json()["status"] == "sent"
