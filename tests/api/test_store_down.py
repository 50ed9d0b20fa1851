"""Attack 27: the disk is full, or the database is down. Nothing is acknowledged, and after the repair nothing is missing."""

import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.api.program import program
from tests.api.running import WEBHOOKS, Running, running, settings_at, signed, until
from tests.builders import body
from tests.damaging import BODIES, damage
from tests.engines import NotInstalled, PrivatePostgres
from tests.requirements import missing

UNAVAILABLE = {
    "type": "docs/HTTP.md#problem-store-unavailable",
    "title": "The store is unavailable",
    "status": 503,
    "detail": "The database cannot be used right now. Try again.",
}
NO_LIMIT = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest.fixture
def own_postgres() -> Iterator[PrivatePostgres]:
    """A PostgreSQL of this test's own, to be stopped."""
    try:
        server = PrivatePostgres()
    except NotInstalled as error:
        missing("postgresql", str(error))
    with server:
        yield server


def facts(count: int) -> list[bytes]:
    return [body("message.sent", f"msg_{number}", sequence=1, filler="x" * 20_000) for number in range(count)]


def is_unavailable(answer: httpx2.Response) -> bool:
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json() == UNAVAILABLE
    return answer.status_code == 503


def test_case_27_with_the_database_down_nothing_is_acknowledged_and_it_serves_again_without_a_restart(
    own_postgres: PrivatePostgres, caplog: pytest.LogCaptureFixture
) -> None:
    before, during = facts(2)
    with running(settings_at(own_postgres.new_database())) as server:
        assert server.deliver(before).status_code == 202

        own_postgres.stop(immediate=True)
        assert is_unavailable(server.deliver(during))
        assert is_unavailable(server.get("/feed"))
        assert is_unavailable(server.get("/messages/msg_0/history"))
        assert is_unavailable(server.post("/quarantine/replay", key="admin"))
        until(lambda: server.http.get("/readyz").status_code == 503)
        assert (
            "the store cannot be written: the database cannot be reached"
            in server.http.get("/readyz").json()["reasons"]
        )
        assert server.http.get("/livez").json() == {"status": "alive"}

        until(lambda: "OperationalError (connection failed: " in caplog.text)
        assert "projecting works again" not in caplog.text

        own_postgres.start()
        until(lambda: "projecting works again" in caplog.text)
        until(lambda: server.deliver(during).status_code in {200, 202})
        until(lambda: server.http.get("/readyz").status_code == 200)
        assert server.deliver(during).json()["outcome"] == "duplicate"
        assert [event["messageId"] for event in _events(server)] == ["msg_0", "msg_1"]


def test_a_database_that_was_set_to_read_only_takes_nothing_and_says_so(own_postgres: PrivatePostgres) -> None:
    before, during = facts(2)
    with running(settings_at(own_postgres.new_database())) as server:
        assert server.deliver(before).status_code == 202
        own_postgres.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        own_postgres.execute("SELECT pg_reload_conf()")
        until(lambda: server.deliver(during).status_code == 503)
        until(lambda: "refuses to commit" in str(server.http.get("/readyz").json()["reasons"]))

        own_postgres.execute("ALTER SYSTEM RESET default_transaction_read_only")
        own_postgres.execute("SELECT pg_reload_conf()")
        until(lambda: server.deliver(during).status_code in {200, 202})
        assert [event["messageId"] for event in _events(server)] == ["msg_0", "msg_1"]


def _events(server: Running) -> list[dict[str, str]]:
    until(lambda: server.get("/feed").status_code == 200)
    return server.stored()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process can only be set on Linux")
def test_case_27_with_the_disk_full_what_was_acknowledged_is_stored_and_the_rest_after_the_repair(
    tmp_path: Path,
) -> None:
    """The limit is on the size of the files that the server's writer writes: to it, a disk that is full."""
    raws = facts(60)
    with program(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path / "log") as server, server.http as http:
        first = {number: _delivered(http, raw) for number, raw in enumerate(raws[:5])}
        limit = (tmp_path / "ledger.db-wal").stat().st_size + 200_000
        resource.prlimit(server.writer_pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        statuses = first | {number: _delivered(http, raw) for number, raw in enumerate(raws[5:], start=5)}
        assert http.get("/livez").status_code == 200
        acknowledged = {f"msg_{number}" for number, status in statuses.items() if status == 202}
        assert (set(statuses.values()), len(acknowledged) > 5) == ({202, 503}, True)

        resource.prlimit(server.writer_pid, resource.RLIMIT_FSIZE, NO_LIMIT)
        again = [_delivered(http, raw) for raw in raws]
        assert [status == 200 for status in again] == [f"msg_{number}" in acknowledged for number in range(len(raws))]
        assert set(again) == {200, 202}
        assert sorted(_stored(http)) == sorted(f"msg_{number}" for number in range(len(raws)))
        until(lambda: http.get("/readyz").status_code == 200)
        assert server.stop() == 0


def _delivered(http: httpx2.Client, raw: bytes) -> int:
    answer = http.post(WEBHOOKS, content=raw, headers=signed(raw))
    return answer.status_code if answer.status_code != 503 or is_unavailable(answer) else 0


def _stored(http: httpx2.Client) -> list[str]:
    return [event["messageId"] for event in http.get("/feed?limit=1000").json()["events"]]


def test_a_server_that_just_refused_a_delivery_is_not_ready_whatever_was_proved_a_moment_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.readiness.PROOF_VALID_S", 30.0)
    with running(settings_at(tmp_path)) as server:
        ready = server.http.get("/readyz").status_code
        (tmp_path / "ledger.db").rename(tmp_path / "away.db")

        assert is_unavailable(server.deliver(facts(1)[0]))
        assert (ready, server.http.get("/readyz").status_code) == (200, 503)


@pytest.mark.parametrize("instead", ["nothing", "a copy"])
def test_where_the_file_is_no_longer_at_its_path_nothing_is_acknowledged_until_it_is_back(
    tmp_path: Path, instead: str, caplog: pytest.LogCaptureFixture
) -> None:
    file, away = tmp_path / "ledger.db", tmp_path / "away.db"
    first, second, third = facts(3)
    with running(settings_at(tmp_path)) as server:
        assert server.deliver(first).status_code == 202

        file.rename(away)
        if instead == "a copy":
            shutil.copyfile(away, file)
        assert is_unavailable(server.deliver(second))
        assert is_unavailable(server.deliver(third))
        until(lambda: server.http.get("/readyz").status_code == 503)
        reason = server.http.get("/readyz").json()["reasons"][0]  # the projections may have theirs
        assert reason.startswith(f"the store cannot be written: {file} is gone, or is another file")
        assert [each.name for each in caplog.records if each.levelname == "ERROR"] == ["ledger.store.held_file"]

        away.rename(file)
        assert [server.deliver(raw).status_code for raw in (first, second, third)] == [200, 202, 202]
        until(lambda: server.http.get("/readyz").status_code == 200)
        assert [event["messageId"] for event in _events(server)] == ["msg_0", "msg_1", "msg_2"]


def test_damage_is_told_to_whoever_must_act_and_nobody_is_told_to_try_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(settings_at(tmp_path)) as server:
        for each in BODIES:
            server.deliver(each)
        until(lambda: server.get(f"/messages/msg_{len(BODIES) - 1}").status_code == 200)
    damage(tmp_path / "ledger.db")
    told = f"database disk image is malformed; the damaged file is {tmp_path}/ledger.db; keep it, and restore the log"

    with running(settings_at(tmp_path)) as server:
        assert server.http.get("/readyz").json()["warnings"] == []
        answers = [server.get(f"/messages/msg_{number}/history") for number in range(len(BODIES))]
        refused = [each for each in answers if each.status_code != 200]
        (warning,) = server.http.get("/readyz").json()["warnings"]
        server.post("/projections/message-status/rebuild", key="admin")
        until(lambda: "the rebuild of message-status failed: " + told in caplog.text)

        assert 0 < len(refused) < len(answers)
        assert {(each.status_code, each.json()["type"]) for each in [*refused, server.get("/feed?limit=1000")]} == {
            (503, "docs/HTTP.md#problem-operator-needed")
        }
    assert "ry again" not in refused[0].text
    assert warning.startswith(told)
    assert caplog.text.count("the file is damaged: " + told) == 1
    assert "Traceback" not in caplog.text
