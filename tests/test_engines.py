"""The plumbing under the tests: if it lied, so would they."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, inspect, make_url, text

from tests.conftest import empty_place_at
from tests.engines import PrivatePostgres

pytest_plugins = ["pytester"]

KILLS_ITSELF = """
import os, signal
from tests.engines import PrivatePostgres

with PrivatePostgres() as server:
    print(server.folder, server.new_database(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""

NEEDS_POSTGRESQL = """
    from tests.requirements import missing

    def test_of_the_store():
        missing("postgresql", "no PostgreSQL here")
"""


@pytest.fixture(scope="module")
def own_server(postgres: PrivatePostgres) -> Iterator[PrivatePostgres]:
    """Start a server that a test may crash; `postgres` is asked for because it knows whether that is possible."""
    with PrivatePostgres() as server:
        yield server


def plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")


def test_a_store_is_empty_and_takes_rows(store_url: str) -> None:
    engine = create_engine(store_url)
    with engine.begin() as connection:
        tables_before = inspect(connection).get_table_names()
        connection.execute(text("CREATE TABLE fact (id integer PRIMARY KEY)"))
        connection.execute(text("INSERT INTO fact VALUES (1)"))
        rows = connection.execute(text("SELECT id FROM fact")).all()
    engine.dispose()

    assert tables_before == []
    assert [row.id for row in rows] == [1]


def test_postgresql_keeps_what_it_committed_through_a_crash(own_server: PrivatePostgres) -> None:
    url = plain(own_server.new_database())
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE fact AS SELECT 1 AS id")

    own_server.stop(immediate=True)
    own_server.start()

    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT id FROM fact").fetchall() == [(1,)]


def test_a_killed_backend_ends_its_connection_and_not_the_server(own_server: PrivatePostgres) -> None:
    url = plain(own_server.new_database())
    with psycopg.connect(url, autocommit=True) as connection:
        own_server.kill_backend(connection.info.backend_pid)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")

    assert own_server.pid > 0


def test_postgresql_runs_with_durability_on(postgres: PrivatePostgres) -> None:
    with postgres.fresh_database() as url, psycopg.connect(plain(url)) as connection:
        settings = "current_setting('fsync'), current_setting('synchronous_commit'), current_setting('max_connections')"
        row = connection.execute(f"SELECT {settings}".encode()).fetchone()

    assert row == ("on", "on", "100")


def test_a_given_postgresql_server_lends_a_database_and_takes_it_back(postgres: PrivatePostgres) -> None:
    with postgres.fresh_database() as given_url, empty_place_at(given_url) as url:
        assert make_url(url).database != make_url(given_url).database
        psycopg.connect(plain(url)).close()

    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(plain(url))


def test_a_given_sqlite_file_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "ledger.db"
    precious.write_bytes(b"precious")

    with empty_place_at(f"sqlite:///{precious}") as url:
        assert Path(make_url(url).database or "").parent.parent == tmp_path

    assert [path.name for path in tmp_path.iterdir()] == ["ledger.db"]
    assert precious.read_bytes() == b"precious"


def test_a_test_run_that_is_killed_leaves_no_server_behind(postgres: PrivatePostgres) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLS_ITSELF], stdout=subprocess.PIPE, text=True, check=False)
    folder, url = killed.stdout.split()

    for _ in range(100):  # The cleaner outlives the run that was killed, by a moment.
        if not Path(folder).exists():
            break
        time.sleep(0.1)

    assert not Path(folder).exists()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(plain(url))


def test_a_test_without_what_it_needs_is_skipped(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEDGER_TESTS_REQUIRE", raising=False)
    pytester.makepyfile(NEEDS_POSTGRESQL)

    pytester.runpytest().assert_outcomes(skipped=1)


def test_a_test_without_what_it_must_have_fails(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_TESTS_REQUIRE", "postgresql,chromium")
    pytester.makepyfile(NEEDS_POSTGRESQL)

    pytester.runpytest().assert_outcomes(failed=1)
