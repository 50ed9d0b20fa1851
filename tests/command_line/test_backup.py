"""`ledger backup`: a whole copy beside a running server, that proves itself. The page is tested in tests/deploy."""

import errno
import resource
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from ledger.backups.backup import UNFINISHED, back_up
from ledger.backups.proof import Named, proved
from ledger.errors import SettingRefused
from ledger.ledger import Ledger
from ledger.positions import Cursor
from ledger.store.sqlite import SQLITE
from ledger.verification import verify
from tests import forks
from tests.api.running import until
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


def viewed(file: Path) -> None:
    with closing(SQLITE.connect(file)) as connection, connection:
        connection.execute("CREATE VIEW v AS SELECT 1")


def of_no_text(file: Path) -> None:
    with closing(SQLITE.connect(file)) as connection, connection:
        connection.execute("UPDATE events SET topic = CAST(x'ff' AS TEXT) WHERE position = 1")


@pytest.mark.parametrize("part, words", [("", "ledger.db is damaged: "), (".audit", "ledger.db.audit is damaged: ")])
def test_of_a_ledger_with_damaged_pages_no_backup_is_made(run: Run, tmp_path: Path, part: str, words: str) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, *BODIES)
    for _ in range(40):
        run("backup", "missing/good.db", LEDGER_DATABASE_URL=url)
    run("backup", "good.db", LEDGER_DATABASE_URL=url)
    record(url, QUEUED)
    damage(tmp_path / f"ledger.db{part}")

    refused = run("backup", "copy.db", LEDGER_DATABASE_URL=url)

    assert (refused.status, refused.stdout) == (2, "")
    told = refused.stderr.splitlines()[-1]
    assert f"{tmp_path}/{words}" in told
    assert "no backup was made" in told
    assert list(tmp_path.glob("copy.db*")) == []


@pytest.mark.parametrize(
    "spoil, finding",
    [
        (viewed, "the view v on v is not the ledger's"),
        (edited, "0-1: the event was"),
        (of_no_text, "cannot be read: Could not"),
    ],
)
def test_a_log_that_is_whole_but_not_what_was_recorded_is_backed_up_and_that_is_told(
    run: Run, tmp_path: Path, spoil: Callable[[Path], None], finding: str
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED)
    spoil(tmp_path / "ledger.db")
    record(url, SENT)

    made = run("backup", "copy.db", LEDGER_DATABASE_URL=url)
    as_json = run("backup", "again.db", "--json", LEDGER_DATABASE_URL=url)

    assert (made.status, as_json.status, as_json.json["findings"]) == (1, 1, 1)
    (told,) = made.stderr.splitlines()
    assert told.startswith(f"{tmp_path}/ledger.db is not what was recorded: ")
    assert finding in told
    assert "made all the same: `ledger verify` names all of it" in told
    assert UNFINISHED not in told
    assert "as it was recorded (" not in made.stdout.replace("not everything in them is as it was recorded", "")
    verified = run("verify", "--json", LEDGER_DATABASE_URL=f"sqlite:///{tmp_path}/copy.db")
    assert len(verified.json["findings"]) == 1
    with closing(SQLITE.connect(tmp_path / "copy.db")) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (2,)


def test_a_backup_says_what_was_verified(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED, SENT)
    run("history", "msg_1", LEDGER_DATABASE_URL=url)

    assert "as it was recorded (2 events, 1 entry of" in run("backup", "copy.db", LEDGER_DATABASE_URL=url).stdout
    again = run("backup", "again.db", "--json", LEDGER_DATABASE_URL=url).json
    assert (again["events"], again["auditEntries"]) == (2, 2)


def test_where_the_disk_is_too_full_for_the_log_nothing_stays(run: Run, tmp_path: Path) -> None:
    """The limit is on the size of what is written: to the copy of the log, a disk that is full. That of the trail fits."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    chance = Random(27)
    record(
        url,
        *(body("message.sent", f"msg_{each}", sequence=1, filler=chance.randbytes(50_000).hex()) for each in range(80)),
    )
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        refused = run("backup", "copy.db", LEDGER_DATABASE_URL=url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert refused.status == 2
    assert f"{tmp_path}/ledger.db was not copied to copy.db: " in refused.stderr
    assert list(tmp_path.glob("copy.db*")) == []


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_backup_that_is_ended_gives_no_name_and_is_not_in_the_way_of_the_next(
    run: Run, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, *BODIES)
    with forks.start(
        "backup", "copy.db", folder=tmp_path, environment=forks.environment(LEDGER_DATABASE_URL=url)
    ) as ended:
        until(lambda: len(list(tmp_path.glob(f"copy.db.*{UNFINISHED}"))) == 2)
        ended.send_signal(number)
        assert ended.wait() == status

    left = [file.name for file in tmp_path.glob("copy.db*")]
    assert [name for name in left if number is signal.SIGTERM or UNFINISHED not in name] == []
    assert run("backup", "copy.db", LEDGER_DATABASE_URL=url).status == 0


def test_a_trail_without_its_log_is_never_overwritten_and_told_what_to_do_about(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED)
    (tmp_path / "copy.db.audit").write_bytes(b"left")

    refused = run("backup", "copy.db", LEDGER_DATABASE_URL=url)

    assert refused.status == 2
    assert "there is a file copy.db.audit already" in refused.stderr
    assert "move it away" in refused.stderr
    assert (tmp_path / "copy.db.audit").read_bytes() == b"left"


def backed_up(folder: Path, meanwhile: Callable[[], object] = lambda: None) -> None:
    """A backup to copy.db, and what happens while it is being proved."""
    back_up(folder / "ledger.db", folder / "ledger.db.audit", folder / "copy.db", lambda *_copies: meanwhile())


def test_of_two_backups_to_one_name_the_second_to_end_is_refused_and_the_first_is_whole(
    run: Run, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED)
    run("verify", LEDGER_DATABASE_URL=url)

    def another() -> None:
        record(url, SENT)
        backed_up(tmp_path)

    with pytest.raises(SettingRefused, match=r"a file .*copy\.db.audit already"):
        backed_up(tmp_path, another)

    assert sorted(file.name for file in tmp_path.glob("copy.db*")) == ["copy.db", "copy.db.audit"]
    assert len(feed_of(f"sqlite:///{tmp_path}/copy.db")) == 2


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_came_by_the_name_meanwhile_stays_as_it_is(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_links: bool
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED)
    run("verify", LEDGER_DATABASE_URL=url)
    if not has_links:
        without_links(monkeypatch)

    with pytest.raises(SettingRefused, match=r"a file .*copy\.db already"):
        backed_up(tmp_path, lambda: (tmp_path / "copy.db").write_bytes(b"another"))

    assert (tmp_path / "copy.db").read_bytes() == b"another"
    assert [file.name for file in tmp_path.glob("copy.db?*")] == []


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system such as FAT."""

    def refuse(*_names: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)


def test_a_backup_goes_to_a_file_system_without_links_as_well(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED)
    without_links(monkeypatch)

    assert run("backup", "copy.db", LEDGER_DATABASE_URL=url).status == 0
    assert sorted(file.name for file in tmp_path.glob("copy.db*")) == ["copy.db", "copy.db.audit"]


def test_only_what_is_damaged_is_called_so_and_a_copy_that_cannot_be_read_by_its_own_name(tmp_path: Path) -> None:
    named = Named(Path("live.db"), Path("live.db.audit"), "no backup was made")
    (tmp_path / "junk.db").write_bytes(b"junk" * 9_999)

    with pytest.raises(SettingRefused, match=r"^live\.db is damaged: file is not a database; no backup was made$"):
        proved(tmp_path / "junk.db", tmp_path / "junk.db.audit", named)
    with pytest.raises(SettingRefused, match=r"^.*/gone\.db could not be verified: unable to open database file; no"):
        proved(tmp_path / "gone.db", tmp_path / "gone.db.audit", named)


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


def test_a_backup_that_the_audit_trail_cannot_note_is_not_made(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED)
    assert run("audit", LEDGER_DATABASE_URL=url).status == 0  # makes the trail
    with closing(SQLITE.connect(tmp_path / "ledger.db.audit")) as trail:
        trail.execute("CREATE TRIGGER refuse BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(FAIL, 'refused'); END")

    ended = run("backup", "copy.db", LEDGER_DATABASE_URL=url)

    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith("ledger: no backup was made, because a backup is noted: the audit trail cannot be")
    assert list(tmp_path.glob("copy.db*")) == []
