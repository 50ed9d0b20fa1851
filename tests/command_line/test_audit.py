"""What commands leave in the audit trail, reading it back, keys, and the last verification."""

import os
import pwd
import re
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from api.access import sha256_of
from api.audit.acts import Act
from api.command_line.program import commands
from api.command_line.witnessing import entry_of
from api.keys import read_keys
from ledger.audit.entries import AuditEntry
from ledger.audit.trail import AuditQuestion, AuditTrail
from ledger.ledger import Ledger
from ledger.store.migrations import NEWEST
from projections.message_status import MESSAGE_STATUS
from projections.read_models import ReadModels
from projections.rebuild import Rebuild, RebuildReport
from tests.builders import body
from tests.command_line.conftest import Run, record
from tests.damaging import damage_table
from tests.pages import block

PHONE = "+15557654321"
USER = pwd.getpwuid(os.geteuid()).pw_name
INBOUND = body(
    "message.inbound", "msg_1", conversationId="conv_1", body="Hello", **{"from": PHONE, "to": "+15551234567"}
)
UNREADABLE = b"?"
QUARANTINE_ID = "8a8de823d5ed3e12746a62ef169bcf37"

LEAVES: list[tuple[str, str, str | None, dict[str, object], dict[str, object]]] = [
    ("status msg_1 --as-of 0-1", "read-message", "msg_1", {"asOf": "0-1"}, {}),
    ("explain msg_1", "read-message", "msg_1", {}, {"items": 1}),
    ("history msg_1", "read-history", "msg_1", {}, {"items": 1}),
    ("history msg_1 --body 1", "read-body", "msg_1", {"version": 1}, {}),
    ("conversation conv_1", "read-conversation", "conv_1", {}, {"items": 1}),
    (f"messages --phone {PHONE}", "list-messages", None, {"phone": "…4321"}, {"items": 1}),
    (f"conversations --participant {PHONE}", "list-conversations", None, {"participant": "…4321"}, {"items": 1}),
    ("tail --json --no-follow", "follow-feed", None, {"lines": 10}, {}),
    ("quarantine list", "list-quarantine", None, {}, {"items": 1}),
    (f"quarantine show {QUARANTINE_ID}", "read-quarantined", QUARANTINE_ID, {}, {}),
    ("quarantine replay", "replay-quarantine", None, {}, {"replayed": 0, "remaining": 1}),
    ("projections retry message-status", "retry-parked", "message-status", {}, {"healed": 0, "parked": 0}),
    ("rebuild message-status --message msg_1", "rebuild", "msg_1", {"name": "message-status"}, {"changed": False}),
    ("rebuild message-status", "rebuild", "message-status", {}, {"events": 1, "rowsDiffering": 0}),
    ("rebuild message-status --rollback", "rollback", "message-status", {}, {}),
    ("rebuild message-status --cancel", "cancel-rebuild", "message-status", {}, {"cancelled": False}),
    ("upgrade", "upgrade", None, {}, {"before": NEWEST, "after": NEWEST}),
    (f"audit --about {QUARANTINE_ID}", "read-audit", None, {"subject": QUARANTINE_ID[:23] + "…"}, {"items": 1}),
]
NOTHING_TO_TELL = {"demo", "simulate", "serve", "project", "key", "stuck"}
ELSEWHERE = {"verify", "backup", "restore"}


def last(url: str) -> AuditEntry:
    """The last entry, but for what streams note after their end."""
    return [each for each in trail_of(url) if each.outcome != "ended"][-1]


def trail_of(url: str) -> list[AuditEntry]:
    with Ledger.open_existing(url) as ledger, closing(AuditTrail.open(ledger)) as trail:
        return [each.entry for each in reversed(trail.entries(AuditQuestion(), limit=1_000))]


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a ledger with a message of a customer, and a delivery that cannot be read and was looked at; rebuilt once."""
    folder = tmp_path_factory.mktemp("stocked")
    url = f"sqlite:///{folder}/ledger.db"
    record(url, INBOUND, UNREADABLE)
    with Ledger.open_existing(url) as ledger, ReadModels.open(ledger) as read_models:
        read_models.catch_up()
        read_models.claim_rebuild(MESSAGE_STATUS).run()
        with closing(AuditTrail.open(ledger)) as trail:
            trail.append([entry_of(Act.READ_QUARANTINED, QUARANTINE_ID)])
    return folder


@pytest.fixture
def stocked_url(stocked: Path, tmp_path: Path) -> str:
    """The same for each test, whatever others did."""
    shutil.copytree(stocked, tmp_path / "stocked")
    return f"sqlite:///{tmp_path}/stocked/ledger.db"


@pytest.mark.parametrize("line, act, subject, asked, result", LEAVES, ids=[each[0].split(" +")[0] for each in LEAVES])
def test_a_command_leaves_an_entry_of_the_user_who_gave_it(
    run: Run,
    stocked_url: str,
    line: str,
    act: str,
    subject: str | None,
    asked: dict[str, object],
    result: dict[str, object],
) -> None:
    ended = run(*line.split(), LEDGER_DATABASE_URL=stocked_url)

    assert ended.status in {0, 1}, ended.stderr
    entry = last(stocked_url)
    assert (entry.holder, entry.way, entry.act, entry.subject) == (USER, "command line", act, subject)
    assert (entry.asked, entry.outcome, entry.result, entry.request_id) == (asked, "done", result, None)


def test_every_command_leaves_an_entry_or_has_nothing_to_tell() -> None:
    told = {line.split()[0] for line, *_ in LEAVES}

    assert told | NOTHING_TO_TELL | ELSEWHERE == set(commands())
    assert told & (NOTHING_TO_TELL | ELSEWHERE) == set()


@pytest.mark.parametrize(
    "line",
    ["history nothing", "explain nothing", "quarantine show nothing", "tail --no-follow", "messages --reference none"],
)
def test_a_command_that_shows_nothing_personal_leaves_nothing(run: Run, stocked_url: str, line: str) -> None:
    before = len(trail_of(stocked_url))

    run(*line.split(), LEDGER_DATABASE_URL=stocked_url)

    assert len(trail_of(stocked_url)) == before


def test_an_administrative_act_that_fails_is_an_entry_with_why(run: Run, stocked_url: str) -> None:
    assert run("rebuild", "message-status", "--message", PHONE, LEDGER_DATABASE_URL=stocked_url).status == 1

    entry = last(stocked_url)
    assert (entry.act, entry.subject, entry.outcome) == ("rebuild", None, "not-found")


def test_a_rebuild_that_is_killed_has_left_an_entry(
    run: Run, stocked_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is noted after this moment is not noted by a process that is killed in it."""
    noted: list[AuditEntry] = []

    def killed(_rebuild: Rebuild, _on_progress: object) -> RebuildReport:
        noted.append(last(stocked_url))
        return RebuildReport(0, 0.0, 0, 0, [])

    monkeypatch.setattr(Rebuild, "run", killed)

    run("rebuild", "message-status", LEDGER_DATABASE_URL=stocked_url)

    assert [(each.act, each.subject, each.outcome) for each in noted] == [("rebuild", "message-status", "begun")]


def test_what_the_trail_cannot_take_is_not_shown(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, INBOUND)
    (tmp_path / "ledger.db.audit").mkdir()

    ended = run("history", "msg_1", LEDGER_DATABASE_URL=url)

    assert (ended.status, ended.stdout) == (2, "")
    assert "unable to open database file" in ended.stderr


def test_who_became_another_user_with_sudo_is_told_as_well(
    run: Run, stocked_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "berta")

    run("history", "msg_1", LEDGER_DATABASE_URL=stocked_url)

    assert last(stocked_url).holder == f"{USER} (sudo: berta)"


def test_the_end_of_a_tail_tells_how_many_were_shown(run: Run, stocked_url: str) -> None:
    run("tail", "--json", "--no-follow", LEDGER_DATABASE_URL=stocked_url)

    began, ended = trail_of(stocked_url)[-2:]
    assert (began.outcome, ended.act, ended.outcome, ended.result) == ("done", "follow-feed", "ended", {"items": 1})


def test_the_trail_is_asked_for_by_who_what_about_what_and_when(run: Run, store_url: str) -> None:
    record(store_url, INBOUND)

    def asked(*options: str) -> Sequence[str]:
        return [each["act"] for each in run("audit", "--json", *options, LEDGER_DATABASE_URL=store_url).json["items"]]

    run("history", "msg_1", LEDGER_DATABASE_URL=store_url)
    run("explain", "msg_1", LEDGER_DATABASE_URL=store_url)

    assert asked("--about", "msg_1") == ["read-message", "read-history"]
    assert asked("--act", "read-history") == ["read-history"]
    assert asked("--by", USER, "--limit", "1") == ["read-audit"]
    assert asked("--by", "nobody") == asked("--until", "2026-01-01T00:00:00Z") == []
    assert len(asked("--since", "2026-01-01T00:00:00Z")) == 7
    whole = run("audit", "--about", "msg_1", "--limit", "2", LEDGER_DATABASE_URL=store_url)
    assert [line[2:] for line in whole.lines] == [
        [USER, "command line", "read-message", "msg_1", "items 1"],
        [USER, "command line", "read-history", "msg_1", "items 1"],
    ]
    cut_off = run("audit", "--about", "msg_1", "--limit", "1", "--json", LEDGER_DATABASE_URL=store_url)
    assert (whole.stderr, len(cut_off.json["items"])) == ("", 1)
    assert cut_off.stderr == "There are more than these 1; ask for more with --limit.\n"


@pytest.mark.parametrize("options", [["--since", "yesterday"], ["--act", "x"], ["--limit", "0"]])
def test_a_question_that_makes_no_sense_is_wrong_usage(run: Run, stocked_url: str, options: list[str]) -> None:
    assert run("audit", *options, LEDGER_DATABASE_URL=stocked_url).status == 2


def test_verifying_leaves_what_was_found(run: Run, store_url: str) -> None:
    record(store_url, INBOUND)
    clean = run("verify", "--json", LEDGER_DATABASE_URL=store_url)
    with Ledger.open_existing(store_url) as ledger, ledger.database.writing() as connection:
        connection.exec_driver_sql("UPDATE events SET version = 7")
    broken = run("verify", "--deep", "--json", LEDGER_DATABASE_URL=store_url)

    assert (clean.status, broken.status) == (0, 1)
    first, second = trail_of(store_url)
    heads = [*clean.json["heads"], clean.json["auditHead"]]
    assert (first.act, first.outcome) == ("verify", "clean")
    assert first.result == {
        "events": 1,
        "auditEntries": 0,
        "findings": 0,
        "positions": [],
        "heads": heads,
        "deep": False,
    }
    assert (second.outcome, second.result["findings"], second.result["positions"]) == ("findings", 2, ["0-1"])


def test_an_edit_of_the_trail_is_found_by_verify(run: Run, store_url: str) -> None:
    record(store_url, INBOUND)
    run("history", "msg_1", LEDGER_DATABASE_URL=store_url)
    noted = run("verify", "--json", LEDGER_DATABASE_URL=store_url).json["auditHead"]
    assert run("verify", "--head", noted, LEDGER_DATABASE_URL=store_url).status == 0
    with (
        Ledger.open_existing(store_url) as ledger,
        closing(AuditTrail.open(ledger)) as trail,
        trail.database.writing() as connection,
    ):
        connection.exec_driver_sql("UPDATE audit_entries SET holder = 'somebody else' WHERE number = 1")

    ended = run("verify", LEDGER_DATABASE_URL=store_url)

    assert ended.status == 1
    assert "audit-1: the entry was changed" in ended.stdout


def test_a_backup_has_the_trail_and_proves_it(run: Run, tmp_path: Path) -> None:
    url, restored = f"sqlite:///{tmp_path}/ledger.db", f"sqlite:///{tmp_path}/copy.db"
    record(url, INBOUND)
    run("history", "msg_1", LEDGER_DATABASE_URL=url)
    made = run("backup", f"{tmp_path}/copy.db", "--json", LEDGER_DATABASE_URL=url).json

    assert made["auditFile"] == f"{tmp_path}/copy.db.audit"
    assert [each.act for each in trail_of(restored)] == ["read-history"]
    assert run("verify", "--head", made["auditHead"], *_heads(made["heads"]), LEDGER_DATABASE_URL=restored).status == 0
    assert last(url).result == {
        "to": f"{tmp_path}/copy.db",
        "heads": made["heads"],
        "auditHead": made["auditHead"],
        "findings": 0,
    }


def _heads(heads: Sequence[str]) -> list[str]:
    return [word for head in heads for word in ("--head", head)]


def test_a_backup_that_cannot_be_made_leaves_nothing_in_the_way_and_is_in_the_trail(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, INBOUND)
    (tmp_path / "copy.db").mkdir()

    assert run("backup", f"{tmp_path}/copy.db", LEDGER_DATABASE_URL=url).status == 2
    assert not (tmp_path / "copy.db.audit").exists()
    assert last(url).outcome == "setting-refused"


def test_the_page_s_command_makes_a_key(run: Run) -> None:
    command = block("docs/OPERATING.md", "new-key").split()

    made = run(*command[1:], "--json").json
    (key,) = read_keys(made["entry"])

    assert (key.name, sorted(key.scopes), key.expires_at_us is None) == ("support-anna", ["masked"], False)


def test_a_key_is_made_with_its_entry(run: Run) -> None:
    made = run("key", "anna", "--scope", "read", "--scope", "write", "--until", "2027-01-31", "--json").json
    (key,) = read_keys(made["entry"])

    assert re.fullmatch(r"ledger_[A-Za-z0-9_-]{43}", made["key"])
    assert (key.name, sorted(key.scopes), key.digest) == ("anna", ["read", "write"], sha256_of(made["key"]))
    assert [line.split("\t")[0] for line in run("key", "anna").stdout.splitlines()] == ["key", "entry"]


@pytest.mark.parametrize("arguments", [["an na"], ["anna", "--until", "soon"], ["loopback"], ["anna", "--scope", "x"]])
def test_an_entry_that_would_make_no_sense_is_wrong_usage(run: Run, arguments: list[str]) -> None:
    ended = run("key", *arguments)

    assert (ended.status, ended.stdout) == (2, "")


def test_a_trail_that_is_damaged_is_told_in_one_line(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, INBOUND)
    run("explain", "msg_1", LEDGER_DATABASE_URL=url)
    damage_table(tmp_path / "ledger.db.audit", "audit_entries_by_holder")

    refused = run("explain", "msg_1", LEDGER_DATABASE_URL=url)

    assert refused.status == 2
    (line,) = refused.stderr.splitlines()
    assert "ledger.db.audit; move this audit trail away" in line
