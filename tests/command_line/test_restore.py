"""`ledger restore`: a whole backup takes the place of the ledger, or nothing changes."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from api.serving.one_server import claimed
from ledger.audit.trail import AuditQuestion, AuditTrail
from ledger.backups.restore import restore
from ledger.errors import SettingRefused
from ledger.ledger import Ledger
from ledger.store.sqlite import SQLITE
from tests.builders import body, delivered, fact
from tests.command_line.conftest import Run, record, serving
from tests.damaging import BODIES, damage
from tests.older_schemas import to_the_first_schema

QUEUED, SENT = body("message.queued", sequence=1), body("message.sent", sequence=2)


@pytest.fixture
def url(run: Run, tmp_path: Path) -> str:
    """A ledger with two events, of which one is in copy.db."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED)
    run("backup", "copy.db", LEDGER_DATABASE_URL=url)
    record(url, SENT)
    return url


def count(url: str) -> int:
    with Ledger.open_existing(url) as ledger:
        return sum(head.position for head in ledger.heads())


def junk_in_the_middle(content: bytes) -> bytes:
    """A database of which most is as it was; the first page, which says what it is, among it."""
    return content[:8_192] + b"junk" * 1_024 + content[12_288:]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the claim, which is no part of a ledger."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file() and file.suffix != ".lock"}


def test_restores_of_one_second_put_each_aside_under_a_name_of_its_own(url: str, tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    asides = [restore(tmp_path / "copy.db", file, "20261127T204828Z").aside for _ in range(3)]

    begin = "ledger.db.replaced-20261127T204828Z"
    assert [each and each.name for each in asides] == [begin, f"{begin}-2", f"{begin}-3"]
    assert [count(f"sqlite:///{each}") for each in asides] == [2, 1, 1]
    assert list(tmp_path.glob("*.unfinished*")) == []
    assert count(url) == 1


def test_what_a_killed_restore_left_is_no_part_of_the_next_one(url: str, tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with Ledger.open_existing(url) as ledger:  # whose newest event is in its write-ahead log
        ledger.commit([fact(delivered())])
        for name in ("ledger.db.unfinished", "ledger.db.audit.unfinished"):
            for end in ("", "-wal"):
                shutil.copyfile(f"{file}{end}", f"{tmp_path / name}{end}")

    restore(tmp_path / "copy.db", file, "now")

    assert count(url) == 1
    assert list(tmp_path.glob("*.unfinished*")) == []


def test_whether_it_is_a_backup_of_the_ledger_that_was_there_is_told(run: Run, url: str, tmp_path: Path) -> None:
    same = run("restore", "copy.db", LEDGER_DATABASE_URL=url)
    other_url = f"sqlite:///{tmp_path}/other.db"
    record(other_url, QUEUED, SENT)
    another = run("restore", "copy.db", LEDGER_DATABASE_URL=other_url)
    as_json = run("restore", "copy.db", "--json", LEDGER_DATABASE_URL=other_url).json

    told = "This is a backup of another ledger than the one that was there."
    assert (told in same.stdout, told in another.stdout) == (False, True)
    assert as_json["replacedAnotherLedger"] is False


def test_a_backup_of_an_older_schema_is_restored_with_this_one_and_stays_as_it_is(
    run: Run, url: str, tmp_path: Path
) -> None:
    to_the_first_schema(f"sqlite:///{tmp_path}/copy.db")
    backup = (tmp_path / "copy.db").read_bytes()
    verified = run("verify", LEDGER_DATABASE_URL=f"sqlite:///{tmp_path}/copy.db")

    restored = run("restore", "copy.db", LEDGER_DATABASE_URL=url)

    assert (restored.status, count(url), (tmp_path / "copy.db").read_bytes()) == (0, 1, backup)
    assert run("verify", LEDGER_DATABASE_URL=url).status == 0
    assert sorted(each.name for each in tmp_path.glob("*.unfinished*")) == []
    assert "`ledger restore` upgrades what it restores; to verify one, upgrade a copy" in verified.stderr


def test_what_was_there_is_kept_under_another_name_and_can_be_read(run: Run, url: str, tmp_path: Path) -> None:
    restored = run("restore", "copy.db", "--json", LEDGER_DATABASE_URL=url)

    assert restored.status == 0
    assert count(url) == 1
    assert count(f"sqlite:///{restored.json['replaced']}") == 2
    assert restored.json["heads"][0].startswith("0-1:")
    assert (tmp_path / "copy.db").exists()


def test_a_write_ahead_log_of_the_old_ledger_never_gets_into_the_restored_one(
    run: Run, url: str, tmp_path: Path
) -> None:
    with Ledger.open_existing(url) as open_all_the_while:
        record(url, body("message.delivery", sequence=3))
        assert (tmp_path / "ledger.db-wal").stat().st_size > 0
        restored = run("restore", "copy.db", "--json", LEDGER_DATABASE_URL=url)
        assert sum(head.position for head in open_all_the_while.heads()) == 3

    assert count(url) == 1
    assert run("verify", LEDGER_DATABASE_URL=url).status == 0
    assert count(f"sqlite:///{restored.json['replaced']}") == 3


def test_a_restore_that_is_done_again_takes_nothing_from_what_the_first_try_put_aside(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first try put aside is the write-ahead log, with an event; then somebody reads what is left, and is killed."""
    url, place = f"sqlite:///{tmp_path}/ledger.db", tmp_path / "moved"
    place.mkdir()
    record(url, QUEUED)
    run("backup", "copy.db", LEDGER_DATABASE_URL=url)
    with Ledger.open_existing(url) as ledger:
        ledger.commit([fact(delivered())])
        for part in ("", "-wal"):
            shutil.copyfile(f"{tmp_path}/ledger.db{part}", place / f"ledger.db{part}")
    rename = Path.rename

    def killed_after_it(this: Path, target: Path) -> Path:
        rename(this, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed_after_it)
        with pytest.raises(KeyboardInterrupt):
            restore(tmp_path / "copy.db", place / "ledger.db", "one")
    (place / "ledger.db-wal").touch()
    restored = restore(tmp_path / "copy.db", place / "ledger.db", "two")

    with Ledger.open_existing(f"sqlite:///{restored.aside}") as aside:
        assert aside.heads()[0].position == 2


def test_a_restore_of_another_backup_keeps_the_trail_that_one_which_was_cut_off_has_put_aside(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, one, two = (f"sqlite:///{tmp_path}/{name}.db" for name in ("ours", "one", "two"))
    for url in (ours, one, two):
        record(url, QUEUED)
        run("verify", LEDGER_DATABASE_URL=url)  # begins the audit trail, and has an entry there
    run("verify", LEDGER_DATABASE_URL=ours)
    run("backup", "copy_one.db", LEDGER_DATABASE_URL=one)
    run("backup", "copy_two.db", LEDGER_DATABASE_URL=two)
    rename = Path.rename

    def killed_before_the_last(this: Path, target: Path) -> Path:
        if this.name == "ours.db.unfinished":
            raise KeyboardInterrupt
        return rename(this, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed_before_the_last)
        with pytest.raises(KeyboardInterrupt):
            restore(tmp_path / "copy_one.db", tmp_path / "ours.db", "one")
    restored = restore(tmp_path / "copy_two.db", tmp_path / "ours.db", "two")

    verified = run("verify", "--json", LEDGER_DATABASE_URL=f"sqlite:///{restored.aside}")
    assert (verified.status, verified.json["auditEntries"]) == (0, 2)


def test_a_ledger_is_no_backup_of_itself(run: Run, url: str, tmp_path: Path) -> None:
    before = contents(tmp_path)
    (tmp_path / "link.db").symlink_to("ledger.db")

    for name in ("ledger.db", "link.db"):
        refused = run("restore", name, LEDGER_DATABASE_URL=url)
        assert (refused.status, f"{name} is the ledger itself" in refused.stderr) == (2, True)

    (tmp_path / "link.db").unlink()
    assert contents(tmp_path) == before


def test_a_damaged_backup_is_told_of_in_a_short_line(run: Run, url: str, tmp_path: Path) -> None:
    record(url, *BODIES)
    run("backup", "large.db", LEDGER_DATABASE_URL=url)
    damage(tmp_path / "large.db")

    (told,) = run("restore", "large.db", LEDGER_DATABASE_URL=url).stderr.splitlines()

    assert "large.db is damaged (" in told
    assert "*** in database" not in told
    assert len(told) < 300


def test_a_ledger_that_is_served_is_not_replaced(run: Run, url: str, tmp_path: Path) -> None:
    with serving(tmp_path, LEDGER_DATABASE_URL=url) as server:
        refused = run("restore", "copy.db", LEDGER_DATABASE_URL=url)

    assert refused.status == 2
    assert f"is held by process {server.process.pid} already" in refused.stderr
    assert count(url) == 2


@pytest.mark.parametrize(
    "spoil, reason",
    [
        (lambda file: file.unlink(), "there is no backup"),
        (lambda file: file.write_bytes(b"something else" * 1_000), "is not a backup of a ledger"),
        (lambda file: file.write_bytes(file.read_bytes()[:40_000]), "damaged|not a backup"),
        (lambda file: file.write_bytes(junk_in_the_middle(file.read_bytes())), "is damaged"),
        (lambda file: file.write_bytes(b""), "is not a backup of a ledger"),
        (lambda file: file.with_name("copy.db-wal").write_bytes(b"x"), "copy.db-wal belongs to it"),
        (lambda file: file.with_name("copy.db.audit").write_bytes(b"x" * 999), "copy.db.audit is damaged"),
    ],
    ids=["missing", "something else", "cut off", "junk", "empty", "with a log of its own", "with another trail"],
)
def test_what_is_no_whole_backup_changes_nothing(
    run: Run, url: str, tmp_path: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    spoil(tmp_path / "copy.db")
    before = contents(tmp_path)

    refused = run("restore", "copy.db", LEDGER_DATABASE_URL=url)

    assert refused.status == 2
    assert [line for line in refused.stderr.splitlines() if line.startswith("ledger: ")] != []
    assert re.search(reason, refused.stderr)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "name, statement, finding",
    [
        (
            "copy.db",
            "UPDATE events SET state = CAST(replace(state, 'queued', 'quEued') AS BLOB)",
            "0-1: the event was changed",
        ),
        ("copy.db.audit", "UPDATE audit_entries SET holder = 'nobody'", "audit-1: the entry was changed"),
    ],
)
def test_a_backup_that_was_tampered_with_changes_nothing(
    run: Run, url: str, tmp_path: Path, name: str, statement: str, finding: str
) -> None:
    run("backup", "later.db", LEDGER_DATABASE_URL=url)
    for part in ("", ".audit"):
        (tmp_path / f"later.db{part}").rename(tmp_path / f"copy.db{part}")
    with closing(SQLITE.connect(tmp_path / name)) as connection, connection:
        assert connection.execute(statement).rowcount > 0
    before = contents(tmp_path)

    refused = run("restore", "copy.db", LEDGER_DATABASE_URL=url)

    assert refused.status == 2
    assert f"{name} is not what was recorded: {finding}" in refused.stderr
    assert "--accept-findings takes this one" in refused.stderr
    assert contents(tmp_path) == before


def test_a_backup_that_is_whole_but_not_what_was_recorded_is_restored_where_that_is_accepted(
    run: Run, url: str, tmp_path: Path
) -> None:
    with closing(SQLITE.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute("CREATE VIEW v AS SELECT 1")
    assert run("backup", "whole.db", LEDGER_DATABASE_URL=url).status == 1
    record(url, body("message.delivery", sequence=3))

    assert run("restore", "whole.db", LEDGER_DATABASE_URL=url).status == 2
    assert count(url) == 3
    restored = run("restore", "whole.db", "--accept-findings", LEDGER_DATABASE_URL=url)

    assert restored.status == 0
    assert "1 finding accepted: not everything is as it was recorded." in restored.stdout
    assert count(url) == 2
    assert run("verify", LEDGER_DATABASE_URL=url).stdout.startswith("1 finding: ")


def test_a_backup_with_damaged_pages_is_never_restored(run: Run, url: str, tmp_path: Path) -> None:
    record(url, *BODIES)
    run("backup", "large.db", LEDGER_DATABASE_URL=url)
    damage(tmp_path / "large.db")
    before = contents(tmp_path)

    assert run("restore", "large.db", "--accept-findings", LEDGER_DATABASE_URL=url).status == 2
    assert contents(tmp_path) == before


@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_it_works_where_the_ledger_is_lost_or_damaged(run: Run, url: str, tmp_path: Path, damage: str) -> None:
    (tmp_path / "ledger.db").unlink() if damage == "missing" else (tmp_path / "ledger.db").write_bytes(b"x" * 99)

    assert run("restore", "copy.db", LEDGER_DATABASE_URL=url).status == 0
    assert count(url) == 1


@pytest.mark.parametrize("point", ["hardlink_to", "rename"])
def test_a_restore_that_was_cut_off_is_never_served_and_can_be_done_again(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    file, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    real = getattr(Path, point)

    def crash(self: Path, target: Path) -> object:
        real(self, target)
        raise KeyboardInterrupt

    with Ledger.open_existing(url) as with_a_write_ahead_log, monkeypatch.context() as patch:
        with_a_write_ahead_log.commit([fact(delivered())])
        patch.setattr(Path, point, crash)
        with pytest.raises(KeyboardInterrupt):
            restore(copy, file, "the-first-time")
    with pytest.raises(SettingRefused, match="second name"):
        claimed(file).__enter__()

    heads = restore(copy, file, "the-second-time").heads

    with claimed(file):
        assert count(url) == 1
    assert heads[0].startswith("0-1:")


@pytest.mark.parametrize("point", ["hardlink_to", "rename"])
def test_a_restore_that_is_done_again_tells_where_all_that_was_acknowledged_is(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """A server that was killed leaves its last commits in its write-ahead log, which the first try has moved away."""
    killed = tmp_path / "killed"
    killed.mkdir()
    with Ledger.open_existing(url) as ledger:
        ledger.commit([fact(delivered())])
        for part in ("", "-wal"):
            shutil.copyfile(f"{tmp_path}/ledger.db{part}", killed / f"ledger.db{part}")
    real = getattr(Path, point)

    def crash(self: Path, target: Path) -> object:
        real(self, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, point, crash)
        with pytest.raises(KeyboardInterrupt):
            restore(tmp_path / "copy.db", killed / "ledger.db", "the-first-time")

    aside = restore(tmp_path / "copy.db", killed / "ledger.db", "the-second-time").aside

    assert (count(f"sqlite:///{aside}"), count(f"sqlite:///{killed}/ledger.db")) == (3, 1)


def acts(url: str) -> list[str]:
    """What the audit trail knows, oldest first."""
    with Ledger.open_existing(url) as ledger, closing(AuditTrail.open(ledger)) as trail:
        return [each.entry.act for each in reversed(trail.entries(AuditQuestion(), limit=100))]


def test_the_audit_trail_that_is_there_stays_and_knows_of_the_restore(run: Run, url: str) -> None:
    run("history", "msg_1", LEDGER_DATABASE_URL=url)

    assert run("restore", "copy.db", "--json", LEDGER_DATABASE_URL=url).json["auditTrailStayed"] is True

    assert acts(url) == ["backup", "read-history", "restore"]
    assert run("verify", LEDGER_DATABASE_URL=url).status == 0


def test_a_restored_backup_is_to_be_proved_by_a_head_noted_elsewhere_and_not_by_its_own(run: Run, url: str) -> None:
    run("verify", LEDGER_DATABASE_URL=url)

    told = run("restore", "copy.db", LEDGER_DATABASE_URL=url).stdout

    assert "It ends at 0-1." in told
    assert "  ledger verify --head POSITION:HASH\n" in told
    assert "--head 0-1:" not in told
    assert "The audit trail notes 0-2 (audit-2): what came after the backup is not in it." in told


def test_a_backup_of_another_history_than_the_trail_notes_is_told(run: Run, url: str, tmp_path: Path) -> None:
    """Whoever cuts off a log with its trail, lets it go on and makes a backup cannot hide that from the trail that stayed."""
    run("verify", LEDGER_DATABASE_URL=url)
    shutil.copyfile(tmp_path / "copy.db", tmp_path / "other.db")
    other = f"sqlite:///{tmp_path}/other.db"
    record(other, body("message.delivery", sequence=3))
    run("backup", "other-copy.db", LEDGER_DATABASE_URL=other)

    restored = run("restore", "other-copy.db", LEDGER_DATABASE_URL=url).stdout

    assert "The audit trail notes another event at 0-2 (audit-2): one of the two was written anew." in restored
    assert run("verify", LEDGER_DATABASE_URL=url).status == 1


def test_a_backup_that_its_own_trail_contradicts_changes_nothing(run: Run, url: str, tmp_path: Path) -> None:
    run("verify", LEDGER_DATABASE_URL=url)
    run("backup", "later.db", LEDGER_DATABASE_URL=url)
    (tmp_path / "copy.db").rename(tmp_path / "later.db")
    before = contents(tmp_path)

    refused = run("restore", "later.db", LEDGER_DATABASE_URL=url)

    assert refused.status == 2
    assert "later.db is not what was recorded: 0-2: the hash that the audit trail notes in audit-2 is" in refused.stderr
    assert contents(tmp_path) == before


def test_heads_that_the_trail_notes_beyond_a_restored_backup_are_told_and_no_finding(run: Run, url: str) -> None:
    run("verify", LEDGER_DATABASE_URL=url)
    run("restore", "copy.db", LEDGER_DATABASE_URL=url)
    record(url, body("message.delivery", sequence=3))

    verified = run("verify", "--json", LEDGER_DATABASE_URL=url)

    assert (verified.status, verified.json["findings"]) == (0, [])
    assert verified.json["remarks"] == [
        "audit-3: a backup that ends at 0-1 took the log's place; 0-2, noted in audit-2, was in the log before"
    ]


@pytest.mark.parametrize("damage", ["missing", "garbage", "of another ledger"])
def test_an_audit_trail_that_is_lost_or_wrong_is_that_of_the_backup_again(
    run: Run, url: str, tmp_path: Path, damage: str
) -> None:
    run("explain", "msg_1", LEDGER_DATABASE_URL=url)
    run("backup", "later.db", LEDGER_DATABASE_URL=url)
    for file in tmp_path.glob("ledger.db.audit*"):
        file.unlink()
    if damage == "garbage":
        (tmp_path / "ledger.db.audit").write_bytes(b"x" * 999)
    elif damage == "of another ledger":
        other = f"sqlite:///{tmp_path}/other.db"
        record(other, QUEUED)
        run("history", "msg_1", LEDGER_DATABASE_URL=other)
        (tmp_path / "other.db.audit").rename(tmp_path / "ledger.db.audit")

    restored = run("restore", "later.db", "--json", LEDGER_DATABASE_URL=url).json

    assert restored["auditTrailStayed"] is False
    assert acts(url) == ["backup", "read-message", "restore"]
    assert Path(f"{restored['replaced']}.audit").exists() is (damage != "missing")


def test_a_backup_from_before_there_was_a_trail_begins_one(run: Run, url: str, tmp_path: Path) -> None:
    for file in tmp_path.glob("*.audit*"):
        file.unlink()

    assert run("restore", "copy.db", LEDGER_DATABASE_URL=url).status == 0
    assert acts(url) == ["restore"]


def test_an_audit_trail_that_cannot_be_looked_at_is_not_taken_for_a_damaged_one(
    run: Run, url: str, tmp_path: Path
) -> None:
    run("explain", "msg_1", LEDGER_DATABASE_URL=url)
    (tmp_path / "ledger.db.audit-wal").unlink(missing_ok=True)
    (tmp_path / "ledger.db.audit-wal").mkdir()
    before = contents(tmp_path)

    refused = run("restore", "copy.db", LEDGER_DATABASE_URL=url)

    assert refused.status == 2
    assert "ledger.db.audit cannot be read: unable to open database file; nothing was changed; mend" in refused.stderr
    assert contents(tmp_path) == before
    (tmp_path / "ledger.db.audit-wal").rmdir()
    assert run("restore", "copy.db", "--json", LEDGER_DATABASE_URL=url).json["auditTrailStayed"] is True


@pytest.mark.parametrize("copied", ["copy.db", "copy.db.audit"])
def test_a_disk_without_room_is_told_and_nothing_was_changed(
    run: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied: str
) -> None:
    for file in tmp_path.glob("ledger.db.audit*"):
        file.unlink()
    before, real = contents(tmp_path), shutil.copyfile

    def copyfile(file: Path, copy: Path) -> object:
        if file.name == copied:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        return real(file, copy)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", copyfile)
        refused = run("restore", "copy.db", LEDGER_DATABASE_URL=url)

    assert (refused.status, refused.stdout) == (2, "")
    assert "No space left on device; nothing was changed" in refused.stderr
    assert contents(tmp_path) == before


def test_a_restore_that_the_audit_trail_cannot_note_tells_where_all_is(run: Run, url: str, tmp_path: Path) -> None:
    run("explain", "msg_1", LEDGER_DATABASE_URL=url)
    with closing(SQLITE.connect(tmp_path / "ledger.db.audit")) as trail:
        trail.execute("CREATE TRIGGER refuse BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(FAIL, 'refused'); END")

    restored = run("restore", "copy.db", LEDGER_DATABASE_URL=url)

    assert restored.status == 0
    assert "What was there is " in restored.stdout
    assert "the audit trail does not know of this: " in restored.stderr
