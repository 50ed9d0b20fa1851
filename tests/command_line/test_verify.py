"""`ledger verify`, `ledger upgrade`, `ledger quarantine`: what operators ask."""

import hashlib
import os
import re
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text

from api.serving.one_server import claimed
from ledger.ledger import Ledger
from ledger.store.database import Database
from projections.message_status import MESSAGE_STATUS
from tests import forks
from tests.api.running import until
from tests.builders import SECRET, body
from tests.command_line.conftest import Run, record, serving
from tests.damaging import BODIES, damage

THREE = [body("message.queued", sequence=1), body("message.sent", sequence=2), body("message.delivery", sequence=3)]
UNREADABLE = b'{"eventType": "message.sent", "messageId": 7}\n'
OTHER_UNREADABLE = b"\xff\x00\x1b[2J"


def edit(url: str, statement: str, **values: object) -> None:
    database = Database(url)
    with database.writing() as connection:
        connection.execute(text(statement), values)
    database.close()


def test_an_untouched_ledger_verifies_and_prints_the_heads_to_note(run: Run, store_url: str) -> None:
    record(store_url, *THREE)
    is_sqlite = store_url.startswith("sqlite")
    with Ledger.open_existing(store_url) as ledger:
        head = f"0-3:{ledger.heads()[0].hash.hex()}"

    ended = run("verify", LEDGER_DATABASE_URL=store_url)
    as_json = run("verify", "--json", "--head", head, LEDGER_DATABASE_URL=store_url)

    assert (ended.status, as_json.stderr) == (0, "")
    assert ended.stderr.startswith("there was no audit trail beside this ledger") == is_sqlite
    assert "3 events in 1 partition" in ended.stdout
    assert f"  --head {head}\n" in ended.stdout
    (audit_head,) = re.findall(r"  --head (audit-0:[0-9a-f]{64})\n", ended.stdout)
    told = as_json.json
    assert told.pop("auditHead").startswith("audit-1:")
    assert told == {
        "partitions": 1,
        "events": 3,
        "signatures": 0,
        "signaturesUnchecked": [],
        "secretsThatFitNone": [],
        "heads": [head],
        "auditEntries": 1,
        "headsInAudit": 1,
        "remarks": [],
        "findings": [],
    }
    assert run("verify", "--head", audit_head, LEDGER_DATABASE_URL=store_url).status == 0


def test_what_was_changed_is_found_with_its_place_and_status_1(run: Run, store_url: str) -> None:
    record(store_url, *THREE)
    edit(store_url, "DELETE FROM events WHERE position = 2")

    ended = run("verify", LEDGER_DATABASE_URL=store_url)
    as_json = run("verify", "--json", LEDGER_DATABASE_URL=store_url)

    assert ended.status == 1
    assert "0-2: event 2 is missing" in ended.stdout
    assert "--head" not in ended.stdout
    assert as_json.status == 1
    assert as_json.json["findings"][0]["position"] == "0-2"


def cut_off_after(url: str, position: int) -> None:
    """Deletes the end of the log, and moves its head row back, so that nothing in the log itself tells."""
    edit(url, "DELETE FROM events WHERE position > :position", position=position)
    edit(
        url,
        "UPDATE partition_heads SET position = :position, hash = (SELECT hash FROM events WHERE position = :position)",
        position=position,
    )


def test_a_tail_that_was_cut_off_is_found_by_what_the_audit_trail_notes(run: Run, store_url: str) -> None:
    record(store_url, *THREE)
    (noted,) = run("verify", "--json", LEDGER_DATABASE_URL=store_url).json["heads"]
    cut_off_after(store_url, 2)

    ended = run("verify", LEDGER_DATABASE_URL=store_url)
    record(store_url, body("message.delivery", sequence=9))
    written_anew = run("verify", LEDGER_DATABASE_URL=store_url)

    where = f"0-3: the hash that the audit trail notes in audit-1 is {noted.partition(':')[2]}, now "
    assert (ended.status, written_anew.status) == (1, 1)
    assert f"{where}there is no such event: the log was cut off or written anew" in ended.stdout
    assert f"{where}it is " in written_anew.stdout


def test_of_many_heads_that_the_trail_notes_and_the_log_lacks_the_first_is_told(run: Run, store_url: str) -> None:
    for each in THREE:
        record(store_url, each)
        run("verify", LEDGER_DATABASE_URL=store_url)
    cut_off_after(store_url, 1)

    (finding,) = run("verify", "--json", LEDGER_DATABASE_URL=store_url).json["findings"]

    assert finding["position"] == "0-2"
    assert "the audit trail notes in audit-2 (and 1 more up to 0-3) is" in finding["message"]


def test_a_noted_head_finds_a_tail_that_was_cut_off_with_the_trail_that_knew_of_it(run: Run, store_url: str) -> None:
    record(store_url, *THREE)
    with Ledger.open_existing(store_url) as ledger:
        noted = f"0-3:{ledger.heads()[0].hash.hex()}"
    cut_off_after(store_url, 2)

    nothing_noted = run("verify", LEDGER_DATABASE_URL=store_url)
    ended = run("verify", "--head", noted, LEDGER_DATABASE_URL=store_url)
    in_trail = run("verify", LEDGER_DATABASE_URL=store_url)

    assert (nothing_noted.status, ended.status, in_trail.status) == (0, 1, 0)
    assert "the audit trail notes 0 heads, --head gave none" in nothing_noted.stdout
    assert "the audit trail notes 1 head, --head gave none" in in_trail.stdout
    assert "0-3: the hash noted earlier is" in ended.stdout


def test_a_noted_head_that_makes_no_sense_is_wrong_usage(run: Run, store_url: str) -> None:
    record(store_url, *THREE)

    ended = run("verify", "--head", "yesterday", LEDGER_DATABASE_URL=store_url)

    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith("ledger: expected a noted head such as 0-17:HASH")


def test_deep_verification_checks_the_signatures_with_the_secrets_that_are_set(run: Run, store_url: str) -> None:
    record(store_url, *THREE)
    secrets = {"LEDGER_WEBHOOK_SECRETS": f"main:{SECRET.key.decode()}"}

    deep = run("verify", "--deep", "--json", LEDGER_DATABASE_URL=store_url, **secrets)
    other_secret = run("verify", "--deep", LEDGER_DATABASE_URL=store_url, LEDGER_WEBHOOK_SECRETS="main:other")

    assert (deep.status, deep.json["signatures"], deep.json["signaturesUnchecked"]) == (0, 3, [])
    assert other_secret.status == 1
    assert other_secret.stdout.startswith("Not everything could be checked; what could is as it was recorded (3 events")
    assert (
        "3 signatures could not be checked: LEDGER_WEBHOOK_SECRETS has another secret under the id main than the one that"
        " signed; not one fits"
    ) in other_secret.stdout


def test_signatures_that_cannot_be_checked_are_no_success_and_their_secrets_are_named(run: Run, store_url: str) -> None:
    record(store_url, *THREE)

    missing = run("verify", "--deep", LEDGER_DATABASE_URL=store_url, LEDGER_WEBHOOK_SECRETS="2026:another")
    as_json = run("verify", "--deep", "--json", LEDGER_DATABASE_URL=store_url, LEDGER_WEBHOOK_SECRETS="2026:another")
    no_secret = run("verify", "--deep", LEDGER_DATABASE_URL=store_url)

    assert (missing.status, as_json.status, no_secret.status) == (1, 1, 1)
    assert missing.stdout.startswith("Not everything could be checked; what could is as it was recorded (3 events")
    assert "0 signatures checked again" in missing.stdout
    assert (
        "3 signatures could not be checked: LEDGER_WEBHOOK_SECRETS lacks those with the ids main (3)\n"
        in missing.stdout
    )
    assert "  --head 0-3:" in missing.stdout
    assert as_json.json["signaturesUnchecked"] == [{"secretId": "main", "count": 3}]
    assert as_json.json["findings"] == []
    assert no_secret.stderr.startswith("signatures are not checked: LEDGER_WEBHOOK_SECRETS")


def test_the_quarantine_is_listed_shown_and_replayed(run: Run, store_url: str) -> None:
    record(store_url, UNREADABLE, THREE[0], UNREADABLE)
    quarantine_id = hashlib.sha256(UNREADABLE).hexdigest()[:32]

    listed = run("quarantine", "list", LEDGER_DATABASE_URL=store_url)
    items = run("quarantine", "list", "--json", LEDGER_DATABASE_URL=store_url).json["items"]
    shown = run("quarantine", "show", quarantine_id, LEDGER_DATABASE_URL=store_url)
    one = run("quarantine", "show", quarantine_id, "--json", LEDGER_DATABASE_URL=store_url).json
    replayed = run("quarantine", "replay", "--json", LEDGER_DATABASE_URL=store_url)

    ((shown_id, received, attempts, body_bytes, replayed_at, reason),) = listed.lines
    assert (shown_id, received, attempts, body_bytes, replayed_at) == (
        *(quarantine_id, "2024-11-23 16:00:00.000", "2"),
        *(str(len(UNREADABLE)), ""),
    )
    assert "messageId" in reason
    assert items == [one]
    assert '"messageId": 7' in shown.stdout
    assert (replayed.status, replayed.json) == (1, {"replayed": 0, "remaining": 1})


def test_an_empty_quarantine_is_fine(run: Run, store_url: str) -> None:
    record(store_url, *THREE)

    assert run("quarantine", "list", "--json", LEDGER_DATABASE_URL=store_url).json == {"items": [], "next": None}
    assert run("quarantine", "replay", LEDGER_DATABASE_URL=store_url).stdout == "0 replayed, 0 remaining\n"
    assert run("quarantine", "show", "f" * 32, LEDGER_DATABASE_URL=store_url).status == 1
    assert run("quarantine", "show", "no hex", LEDGER_DATABASE_URL=store_url).status == 1


def test_the_exact_bytes_in_quarantine_go_into_a_pipe_and_are_shown_harmlessly_otherwise(
    run: Run, tmp_path: Path
) -> None:
    record(f"sqlite:///{tmp_path}/ledger.db", OTHER_UNREADABLE)
    quarantine_id = hashlib.sha256(OTHER_UNREADABLE).hexdigest()[:32]

    exact = forks.run("quarantine", "show", quarantine_id, "--body", folder=tmp_path, environment=forks.environment())

    assert exact == (0, OTHER_UNREADABLE, b"")
    assert "␀␛[2J" in run("quarantine", "show", quarantine_id).stdout


def test_upgrade_says_that_there_is_nothing_to_do(run: Run, store_url: str) -> None:
    record(store_url)

    ended = run("upgrade", LEDGER_DATABASE_URL=store_url)
    versions = run("upgrade", "--json", LEDGER_DATABASE_URL=store_url).json

    assert ended.status == 0
    assert "nothing to do" in ended.stdout
    assert versions["before"] == versions["after"]


def test_a_schema_that_is_too_new_stops_every_command_with_one_line(run: Run, store_url: str) -> None:
    record(store_url, *THREE)
    edit(store_url, "UPDATE alembic_version SET version_num = '9999'")

    for arguments in (["history", "msg_1"], ["verify"], ["upgrade"], ["quarantine", "list"]):
        ended = run(*arguments, LEDGER_DATABASE_URL=store_url)

        assert (ended.status, ended.stdout) == (2, "")
        assert "install a newer program" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1


def test_an_embedded_ledger_that_is_served_is_not_upgraded(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, *THREE)
    with claimed(tmp_path / "ledger.db"):
        refused = run("upgrade", LEDGER_DATABASE_URL=url)

    assert refused.status == 2
    assert "is held by process" in refused.stderr
    assert run("upgrade", LEDGER_DATABASE_URL=url).status == 0


@pytest.mark.parametrize(
    "end, todo, events",
    [("", "restore the log from a backup", 0), (".audit", "move this audit trail away", len(THREE))],
)
def test_a_file_that_cannot_be_opened_any_more_is_a_finding_that_says_what_to_do(
    run: Run, tmp_path: Path, end: str, todo: str, events: int
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, *THREE)
    run("verify", LEDGER_DATABASE_URL=url)
    (tmp_path / f"ledger.db{end}").write_bytes(b"garbage" * 999)

    ended = run("verify", "--json", LEDGER_DATABASE_URL=url)

    (finding,) = ended.json["findings"]
    assert ended.status == 1
    assert f"the damaged file is {tmp_path}/ledger.db{end}; " in finding["message"]
    assert todo in finding["message"]
    assert ended.json["events"] == events  # the log is verified without its audit trail


def test_damaged_read_models_are_named_by_a_command_and_made_again_by_the_server(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, *THREE)
    (tmp_path / "ledger.db.read-models").write_bytes(b"garbage" * 999)

    refused = run("messages", LEDGER_DATABASE_URL=url)
    with serving(tmp_path, LEDGER_DATABASE_URL=url):
        until(lambda: len(run("messages", LEDGER_DATABASE_URL=url).lines) == 1)

    assert refused.status == 2
    assert f"the damaged file is {tmp_path}/ledger.db.read-models; stop the server, move" in refused.stderr
    assert "the read models' file is damaged (file is not a database)" in (tmp_path / "serve.log").read_text()
    assert [file.read_bytes() for file in tmp_path.glob("*.damaged-*")] == [b"garbage" * 999]


def test_damage_that_a_rebuild_meets_in_the_process_that_writes_is_a_warning_of_the_server(
    run: Run, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, *BODIES)
    run("project", "--once", LEDGER_DATABASE_URL=url)
    damage(tmp_path / "ledger.db")
    told = f"database disk image is malformed; the damaged file is {tmp_path}/ledger.db; keep it, and restore the log"

    with serving(tmp_path, LEDGER_DATABASE_URL=url) as server:
        assert httpx2.post(f"{server.url}/projections/{MESSAGE_STATUS}/rebuild").status_code == 202
        until(lambda: [each[: len(told)] for each in httpx2.get(f"{server.url}/readyz").json()["warnings"]] == [told])

    logged = (tmp_path / "serve.log").read_text()
    assert f"the rebuild of {MESSAGE_STATUS} failed: {told}" in logged
    assert "Traceback" not in logged


def test_evidence_that_can_only_be_read_is_verified_and_stays_as_it_is(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, *THREE)
    run("verify", LEDGER_DATABASE_URL=url)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.W_OK)  # root may write wherever a disk lets it

    ended = run("verify", LEDGER_DATABASE_URL=url)
    after = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    (tmp_path / "ledger.db-wal").write_bytes(b"newer")
    refused = run("verify", LEDGER_DATABASE_URL=url)

    assert ended.status == 0
    assert "3 events in 1 partition, 1 entry of the audit trail" in ended.stdout
    assert "the audit trail does not know of this verification" in ended.stderr
    assert after == before
    assert refused.status == 2
    assert "the newest events are in" in refused.stderr
