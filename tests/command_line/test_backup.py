"""`ledger backup`: a whole copy beside a running server, that proves itself. The page is tested in tests/deploy."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ledger.ledger import Ledger
from ledger.positions import Cursor
from ledger.store.sqlite import SQLITE
from ledger.verification import verify
from tests.builders import body
from tests.command_line.conftest import Run, record, serving
from tests.damaging import BODIES, damage
from tests.engines import PostgresServer

QUEUED = body("message.queued", sequence=1)
SENT = body("message.sent", sequence=2)
DELIVERED = body("message.delivery", sequence=3)


def feed_of(url: str) -> list[tuple[str, str]]:
    """Every event's position and hash."""
    with Ledger.open_existing(url) as ledger:
        entries, _ = ledger.feed(Cursor.start(ledger.partitions), 1_000)
    return [(str(entry.position), entry.hash.hex()) for entry in entries]


def test_a_backup_beside_a_running_server_is_the_whole_ledger_and_proves_itself(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with serving(tmp_path, LEDGER_DATABASE_URL=url):
        record(url, QUEUED, SENT)
        made = run("backup", "copy.db", "--json", LEDGER_DATABASE_URL=url)
        record(url, DELIVERED)

    assert made.status == 0
    (head,) = made.json["heads"]
    assert head.startswith("0-2:")
    restored = f"sqlite:///{tmp_path}/copy.db"
    assert feed_of(restored) == feed_of(url)[:2]
    assert run("verify", "--head", head, LEDGER_DATABASE_URL=restored).status == 0


def test_verification_with_a_head_noted_after_the_backup_says_what_the_restored_ledger_lacks(
    run: Run, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED)
    run("backup", "copy.db", LEDGER_DATABASE_URL=url)
    record(url, SENT)
    with Ledger.open_existing(url) as ledger:
        (noted,) = verify(ledger).heads

    restored = run("verify", "--head", noted, LEDGER_DATABASE_URL=f"sqlite:///{tmp_path}/copy.db")

    assert restored.status == 1
    assert "0-2" in restored.stdout


def test_a_backup_never_overwrites_a_file(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED)
    (tmp_path / "copy.db").write_bytes(b"something else")

    refused = run("backup", "copy.db", LEDGER_DATABASE_URL=url)

    assert refused.status == 2
    assert "never overwrites" in refused.stderr
    assert (tmp_path / "copy.db").read_bytes() == b"something else"


def edited(file: Path) -> None:
    with closing(SQLITE.connect(file)) as connection, connection:
        connection.execute("UPDATE events SET state = CAST(replace(state, 'queued', 'quEued') AS BLOB)")


@pytest.mark.parametrize(
    "spoil, finding",
    [(damage, "is not what was recorded: the file is damaged: "), (edited, "0-301: the event was")],
)
def test_of_a_log_that_is_damaged_or_was_edited_no_backup_is_made(
    run: Run, tmp_path: Path, spoil: Callable[[Path], None], finding: str
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, *BODIES)
    run("backup", "good.db", LEDGER_DATABASE_URL=url)
    record(url, QUEUED)
    spoil(tmp_path / "ledger.db")

    refused = run("backup", "copy.db", LEDGER_DATABASE_URL=url)

    assert (refused.status, refused.stdout) == (2, "")
    (told,) = refused.stderr.splitlines()
    assert finding in told
    assert f"{tmp_path}/ledger.db is not" in told
    assert "no backup was made" in told
    assert list(tmp_path.glob("copy.db*")) == []


def test_a_backup_says_what_was_verified(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED, SENT)
    run("history", "msg_1", LEDGER_DATABASE_URL=url)

    assert "as it was recorded (2 events, 1 entry of" in run("backup", "copy.db", LEDGER_DATABASE_URL=url).stdout
    again = run("backup", "again.db", "--json", LEDGER_DATABASE_URL=url).json
    assert (again["events"], again["auditEntries"]) == (2, 2)


def test_where_the_copy_cannot_be_written_nothing_stays(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED)

    def fail(_file: Path, target: Path) -> None:
        target.write_bytes(b"SQLite")
        raise SQLITE.OperationalError("database or disk is full")

    monkeypatch.setattr("ledger.store.backup._copy", fail)
    refused = run("backup", "copy.db", LEDGER_DATABASE_URL=url)

    assert refused.status == 2
    assert f"{tmp_path}/ledger.db.audit was not copied to copy.db.audit: database or disk is full" in refused.stderr
    assert list(tmp_path.glob("copy.db*")) == []


def test_a_ledger_in_postgresql_is_left_to_postgresql_s_own_tools(run: Run, postgres: PostgresServer) -> None:
    with postgres.fresh_database() as url:
        record(url, QUEUED)
        made, restored = (
            run("backup", "copy.db", LEDGER_DATABASE_URL=url),
            run("restore", "copy.db", LEDGER_DATABASE_URL=url),
        )

    assert (made.status, "pg_dump" in made.stderr) == (2, True)
    assert (restored.status, "pg_restore" in restored.stderr) == (2, True)


@pytest.fixture(autouse=True)
def in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backups go where the test is."""
    monkeypatch.chdir(tmp_path)


def test_verifying_a_backup_changes_nothing_in_it(run: Run, tmp_path: Path) -> None:
    url, copy = f"sqlite:///{tmp_path}/ledger.db", f"sqlite:///{tmp_path}/backups/copy.db"
    record(url, body("message.sent", sequence=1))
    (tmp_path / "backups").mkdir()
    run("verify", LEDGER_DATABASE_URL=url)
    run("backup", "backups/copy.db", LEDGER_DATABASE_URL=url)
    before = {file.name: file.read_bytes() for file in (tmp_path / "backups").iterdir()}

    verified = run("verify", LEDGER_DATABASE_URL=copy)

    assert verified.status == 0
    assert "copy.db.audit stays as it is: the audit trail does not know of this verification" in verified.stderr
    assert {file.name: file.read_bytes() for file in (tmp_path / "backups").iterdir()} == before
    assert run("verify", LEDGER_DATABASE_URL=url).stderr == ""


def test_a_backup_without_its_audit_trail_is_told_to_lack_it(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, body("message.sent", sequence=1))
    run("backup", "copy.db", LEDGER_DATABASE_URL=url)
    (tmp_path / "copy.db.audit").unlink()

    refused = run("verify", LEDGER_DATABASE_URL=f"sqlite:///{tmp_path}/copy.db")

    assert refused.status == 2
    assert "there is no audit trail in" in refused.stderr
    assert not (tmp_path / "copy.db.audit").exists()
