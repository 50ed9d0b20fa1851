"""Opening: a new ledger is made, one that fits is opened, and any other is refused with what to do."""

import errno
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

import ledger.store
from ledger.audit.trail import AuditTrail
from ledger.backups.backup import back_up
from ledger.backups.restore import restore
from ledger.errors import SchemaMismatch, SettingRefused, StoreUnavailable
from ledger.facts import Placed
from ledger.ledger import Ledger
from ledger.log_entries import readable
from ledger.positions import Position
from ledger.store.database import Database
from ledger.store.driver import run
from ledger.store.postgres import TIMEOUTS_MS
from ledger.store.schema import PARTITIONS_MAX, newest_version, upgrade
from ledger.store.sqlite import SQLITE
from ledger.store.tables import metadata
from ledger.verification import verify
from projections.read_models import ReadModels
from projections.setting_aside import set_damaged_aside
from tests.builders import fact, facts, queued, sent
from tests.engines import PrivatePostgres
from tests.older_schemas import set_version, to_the_first_schema

NEXT_MIGRATION = '''
"""A later version."""
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{newest}"


def upgrade() -> None:
    op.add_column("quarantine", sa.Column("note", sa.Text, nullable=True))
'''


def version(database: Database) -> str:
    with database.reading() as connection:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


@pytest.fixture
def later_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This program, as if it were a later one with one migration more."""
    scripts = tmp_path / "migrations"
    shutil.copytree(Path(ledger.store.__path__[0]) / "migrations", scripts)
    (scripts / "versions" / "v9999_later.py").write_text(NEXT_MIGRATION.format(newest=newest_version()))

    def config() -> Config:
        later = Config()
        later.set_main_option("script_location", str(scripts))
        later.set_main_option("path_separator", "os")
        return later

    monkeypatch.setattr("ledger.store.migrating._config", config)
    monkeypatch.setattr("ledger.store.migrations.NEWEST", "9999")


def test_a_new_ledger_is_made_and_opened_again_as_the_same(store_url: str) -> None:
    with Ledger.open(store_url, partitions=4) as first:
        first.commit([fact(queued(), partitions=4)])
    with Ledger.open(store_url) as second, Ledger.open_existing(store_url) as third:
        assert first.identity == second.identity == third.identity
        assert (second.partitions, len(second.heads())) == (4, 4)
        assert [entry.event for entry in readable(second.history("msg_1"))] == [queued()]


def test_two_ledgers_never_have_the_same_first_hash(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/1.db") as one, Ledger.open(f"sqlite:///{tmp_path}/2.db") as other:
        assert one.heads() != other.heads()


def test_the_migrations_make_exactly_the_tables_that_the_program_uses(store_url: str) -> None:
    with Ledger.open(store_url) as opened, opened.database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}
        for table in metadata.tables.values():
            stored = inspect(connection).get_pk_constraint(table.name)["constrained_columns"]
            assert stored == [column.name for column in table.primary_key]
            unique = {index["name"]: index["unique"] for index in inspect(connection).get_indexes(table.name)}
            assert {index.name: bool(index.unique) for index in table.indexes} == {
                n: bool(u) for n, u in unique.items()
            }


def test_the_version_that_the_program_works_with_is_that_of_the_last_migration() -> None:
    scripts = ScriptDirectory(str(Path(ledger.store.__path__[0]) / "migrations"))

    assert scripts.get_heads() == [newest_version()]


def test_another_number_of_partitions_is_refused(store_url: str) -> None:
    Ledger.open(store_url, partitions=2).close()

    Ledger.open(store_url, partitions=2).close()
    with pytest.raises(SettingRefused, match="LEDGER_PARTITIONS is 3, but this ledger was created with 2"):
        Ledger.open(store_url, partitions=3)


@pytest.mark.parametrize("partitions", [0, -1, PARTITIONS_MAX + 1])
def test_a_number_of_partitions_that_makes_no_sense_makes_no_ledger(tmp_path: Path, partitions: int) -> None:
    with pytest.raises(SettingRefused, match=f"1 to 1,024 partitions, got {partitions}"):
        Ledger.open(f"sqlite:///{tmp_path}/ledger.db", partitions=partitions)

    with pytest.raises(SchemaMismatch, match="there is no ledger"):
        Ledger.open_existing(f"sqlite:///{tmp_path}/ledger.db")


def test_of_servers_that_create_a_ledger_at_once_with_other_partitions_one_decides_and_the_others_are_refused(
    store_url: str,
) -> None:
    numbers = [2, 3, 4, 5]
    together = threading.Barrier(len(numbers))

    def opened(partitions: int) -> int | str:
        together.wait()
        try:
            with Ledger.open(store_url, partitions=partitions) as ledger:
                return len(ledger.heads())
        except SettingRefused as refused:
            return str(refused)

    with ThreadPoolExecutor(len(numbers)) as threads:
        answers = dict(zip(numbers, threads.map(opened, numbers), strict=True))

    with Ledger.open_existing(store_url) as ledger:
        decided = ledger.partitions
        assert answers.pop(decided) == decided == len(ledger.heads())
    assert answers == {
        number: f"LEDGER_PARTITIONS is {number}, but this ledger was created with {decided}, which never changes"
        for number in answers
    }


def test_a_new_file_is_opened_while_another_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = SQLITE.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    rolls_back = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _seconds: other.execute("ROLLBACK"))
    monkeypatch.setattr("ledger.store.sqlite.time", rolls_back)  # there alone: other threads sleep as well

    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as opened:
        assert not other.in_transaction
        assert [head.position for head in opened.heads()] == [0]
    other.close()


def test_of_two_upgrades_at_once_one_finds_nothing_left_to_do(postgres: PrivatePostgres) -> None:
    with postgres.fresh_database() as url:
        Ledger.open(url).close()
        to_the_first_schema(url)
        with ExitStack() as opened, ThreadPoolExecutor(2) as threads:
            databases = [opened.enter_context(closing(Database(url))) for _ in range(2)]
            done = sorted(threads.map(upgrade, databases))

    newest = newest_version()
    assert done == [("0001", newest), (newest, newest)]


def test_who_holds_the_lock_of_a_file_can_be_found_by_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ledger.db"
    Ledger.open(f"sqlite:///{file}").close()
    monkeypatch.setattr("ledger.store.sqlite.BUSY_TIMEOUT_MS", 100)
    with closing(SQLITE.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable) as refused:
            Ledger.open(f"sqlite:///{file}")

    assert f"database is locked; another process has held a lock on {file}" in str(refused.value)
    assert f"`fuser {file}`" in str(refused.value)


def test_where_a_ledger_must_exist_none_is_made(store_url: str) -> None:
    with pytest.raises(SchemaMismatch, match="there is no ledger in"):
        Ledger.open_existing(store_url)


def test_a_schema_that_is_too_new_is_refused_by_opening_and_by_upgrading(store_url: str) -> None:
    Ledger.open(store_url).close()
    set_version(store_url, "later")

    database = Database(store_url)
    for refused in (lambda: Ledger.open(store_url), lambda: Ledger.open_existing(store_url), lambda: upgrade(database)):
        with pytest.raises(
            SchemaMismatch, match=r"version later, this program knows up to .*: install a newer program"
        ):
            refused()
    database.close()


def test_a_schema_that_is_too_old_is_refused_until_it_is_upgraded(
    store_url: str, request: pytest.FixtureRequest
) -> None:
    with Ledger.open(store_url) as before:
        before.commit([fact(queued())])
        oldest = version(before.database)
    request.getfixturevalue("later_program")

    with pytest.raises(SchemaMismatch, match="stop the servers and run `ledger upgrade`"):
        Ledger.open(store_url)
    database = Database(store_url)
    assert upgrade(database) == (oldest, "9999")
    assert upgrade(database) == ("9999", "9999")
    database.close()
    with Ledger.open(store_url) as after:
        after.commit([fact(sent())])
        assert [entry.event for entry in readable(after.history("msg_1"))] == [queued(), sent()]


def test_a_ledger_of_the_first_schema_is_upgraded_and_knows_its_facts(store_url: str) -> None:
    events = [queued(), sent(), *(queued(number, "msg_long") for number in range(40))]
    with Ledger.open(store_url) as before:
        placed = before.commit(facts(events))
    to_the_first_schema(store_url)

    database = Database(store_url)
    assert upgrade(database) == ("0001", newest_version())
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()
    with Ledger.open(store_url) as after:
        again = after.commit(facts(events))
        assert again == [
            Placed(each.position, each.version, is_new=False) for each in placed if isinstance(each, Placed)
        ]
        assert verify(after).findings == ()


def test_who_reads_cannot_write(store_url: str) -> None:
    with Ledger.open(store_url) as opened, opened.database.reading() as connection, pytest.raises(DBAPIError):
        connection.execute(text("UPDATE partition_heads SET position = 7"))


def test_a_commit_waits_for_the_disk(store_url: str) -> None:
    with Ledger.open(store_url) as opened, opened.database.writing() as connection:
        if opened.database.is_sqlite:
            settings = [
                connection.exec_driver_sql(f"PRAGMA {each}").scalar_one() for each in ("journal_mode", "synchronous")
            ]
            assert settings == ["wal", 2]
        else:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://h/d",
        "postgresql+psycopg2://h/d",
        "sqlite+aiosqlite:///x",
    ],
)
def test_a_database_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(SettingRefused):
        Ledger.open(url)


def test_a_refused_database_url_shows_no_password() -> None:
    with pytest.raises(SettingRefused) as refused:
        Ledger.open("mysql://user:hunter2@host/db")

    assert "hunter2" not in str(refused.value)


def test_no_new_log_is_made_beside_what_is_left_of_a_ledger(tmp_path: Path) -> None:
    file, beside = tmp_path / "ledger.db", tmp_path / "ledger.db.audit"
    Ledger.open(f"sqlite:///{file}").close()
    beside.touch()
    Ledger.open(f"sqlite:///{file}").close()
    file.unlink()

    with pytest.raises(
        SettingRefused,
        match=r"ledger\.db is missing, but beside it there is ledger\.db\.audit: put it back, with its -wal, or restore it",
    ):
        Ledger.open(f"sqlite:///{file}")

    assert not file.exists()


@pytest.mark.parametrize("opens", [Ledger.open, Ledger.open_existing, set_damaged_aside])
@pytest.mark.parametrize("instead", ["nothing", "an empty file"])
def test_where_the_log_is_missing_its_write_ahead_log_stays_as_it_is(
    tmp_path: Path, opens: Callable[[str], object], instead: str
) -> None:
    there, moved = tmp_path / "ledger.db", tmp_path / "moved.db"
    with Ledger.open(f"sqlite:///{tmp_path}/running.db") as ledger, closing(ReadModels.open(ledger)) as read_models:
        ledger.commit([fact(queued())])
        read_models.catch_up()
        for end in ("", "-wal", ".read-models"):  # as a kill would leave them
            shutil.copyfile(tmp_path / f"running.db{end}", tmp_path / f"ledger.db{end}")
    there.rename(moved)
    if instead == "an empty file":
        there.touch()
    wal = (tmp_path / "ledger.db-wal").read_bytes()

    with suppress(SettingRefused):
        opens(f"sqlite:///{there}")

    assert (there.exists(), (tmp_path / "ledger.db-wal").read_bytes()) == (instead == "an empty file", wal)
    moved.rename(there)
    with Ledger.open(f"sqlite:///{there}") as ledger:
        assert ledger.commit([fact(queued())]) == [Placed(Position(0, 1), 1, is_new=False)]


def test_a_migration_takes_as_long_as_it_does(postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres.fresh_database() as url:
        Ledger.open(url).close()
        monkeypatch.setitem(TIMEOUTS_MS, "statement_timeout", 200)
        monkeypatch.setattr("ledger.store.schema._migrate", lambda connection: run(connection, "SELECT pg_sleep(0.4)"))
        with closing(Database(url)) as database:
            assert upgrade(database) == (newest_version(), newest_version())


def test_a_log_that_was_cut_off_is_damaged_and_not_missing(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{file}") as ledger, closing(AuditTrail.open(ledger)):
        ledger.commit([fact(queued())])
    os.truncate(file, 8_192)

    with pytest.raises(StoreUnavailable, match=f"malformed; the damaged file is {file}; keep it, and restore the log"):
        Ledger.open(f"sqlite:///{file}")


@pytest.mark.parametrize("opened", [Ledger.open, Ledger.open_existing])
def test_where_nothing_can_be_written_the_folder_and_the_reason_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Callable[[str], Ledger]
) -> None:
    file = tmp_path / "ledger.db"
    Ledger.open(f"sqlite:///{file}").close()
    (tmp_path / "ledger.db-wal").mkdir()  # root may write wherever a disk lets it

    def refuse(**_where: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("ledger.store.place.TemporaryFile", refuse)
    told = (
        f"unable to open database file; the folder {tmp_path} cannot be written .Read-only file system.: let this user"
    )
    with pytest.raises(StoreUnavailable, match=told):
        opened(f"sqlite:///{file}")


@pytest.mark.parametrize("opened", [Ledger.open, Ledger.open_existing])
def test_a_database_of_something_else_is_left_as_it_is(tmp_path: Path, opened: Callable[[str], Ledger]) -> None:
    file = tmp_path / "shop.db"
    with closing(SQLITE.connect(file)) as connection:
        connection.execute("CREATE TABLE customers (id)")
    before = file.read_bytes()

    with pytest.raises(SettingRefused, match=r"shop\.db is an SQLite database of something else .* tables customers"):
        opened(f"sqlite:///{file}")

    assert file.read_bytes() == before


def test_nobody_else_may_read_the_files(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger, closing(AuditTrail.open(ledger)):
            ledger.commit([fact(queued())])
            with closing(ReadModels.open(ledger)):
                log, audit = tmp_path / "ledger.db", tmp_path / "ledger.db.audit"
                back_up(log, audit, tmp_path / "copy.db", lambda *_copies: None)
                names = {file.name for file in tmp_path.iterdir()}
                modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
        restore(tmp_path / "copy.db", tmp_path / "new.db", "now")
        restored = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("new.db*")}
    finally:
        os.umask(before)

    assert {"ledger.db", "ledger.db-wal", "ledger.db.audit", "ledger.db.read-models", "copy.db"} <= names
    assert modes == restored == {0o600}
