"""docs/deploy/backup.md: its commands, word for word, on both engines; what was recorded is there again, and proves it."""

import json
import re
import sys
from datetime import date
from pathlib import Path

import httpx2
import psycopg
from sqlalchemy import make_url

from tests.api.running import key_of, until
from tests.builders import body
from tests.deploy.host import Host, host
from tests.engines import PrivatePostgres, postgres_binaries
from tests.pages import ROOT, block, replaced

PAGE = "docs/deploy/backup.md"
QUEUED, SENT, DELIVERED = (
    body(f"message.{kind}", sequence=number) for number, kind in enumerate(("queued", "sent", "delivery"), start=1)
)
UNREADABLE = b'{"eventType": 7}'


def command(marker: str, folder: Path, **pieces: str) -> str:
    """A block of the page, with the test's folders, and the file of today."""
    script = block(PAGE, marker).replace("2026-11-23", date.today().isoformat())  # noqa: DTZ011 - as `date +%F` says
    return replaced(script.replace("/backups/", f"{folder}/"), pieces)


def sent_under(key: str) -> dict[str, object]:
    result = {"to": "+15551234567", "messageId": f"msg_{key}", "status": "QUEUED"}
    return {"idempotencyKey": key, "request": {"text": key}, "response": {"results": [result], "errors": [], "id": key}}


def hand_over(ledger: Host, key: str) -> httpx2.Response:
    with ledger.http as client:
        return client.post("/sends", json=sent_under(key))


def status_of(ledger: Host, message_id: str = "msg_1") -> str | None:
    with ledger.http as client:
        found: str | None = client.get(f"/messages/{message_id}").json().get("status")
    return found


def bodies_in(ledger: Host) -> list[str]:
    with ledger.http as client:
        events = client.get("/feed?limit=1000").json()["events"]
    return sorted(json.dumps(event["body"], sort_keys=True) for event in events)


def heads_in(said: str) -> str:
    return " --head ".join(re.findall(r"\d+-\d+:[0-9a-f]{64}", said))


def test_an_sqlite_ledger_is_restored_and_what_came_after_the_backup_is_delivered_again(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    with host(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.run("systemctl start ledger")
        ledger.deliver(QUEUED, SENT)
        hand_over(ledger, "before")
        noted = heads_in(ledger.run(command("backup-sqlite", folder)))
        ledger.deliver(DELIVERED, UNREADABLE)
        hand_over(ledger, "after")
        everything = bodies_in(ledger)

        ledger.run(command("restore-sqlite", folder), HEAD=noted)
        until(lambda: status_of(ledger) == "sent")
        (aside,) = [file for file in tmp_path.iterdir() if re.fullmatch(r"ledger\.db\.replaced-\w+", file.name)]
        there = "/var/lib/ledger/ledger.db.replaced-20261123T160000Z"
        again = command(
            "deliver-again",
            folder,
            **{
                there: str(aside),
                "http://127.0.0.1:8080": ledger.url,
                "python docs/": f"{sys.executable} {ROOT}/docs/",
            },
        )
        answers = ledger.run(again, KEY=key_of("writer")).splitlines()

        assert answers == ["duplicate: 3", "quarantined: 1", "recorded: 2"]
        until(lambda: status_of(ledger) == "delivered")
        assert bodies_in(ledger) == everything
        assert ledger.deliver(UNREADABLE)[0].json()["outcome"] == "quarantined"


def test_a_dump_of_postgresql_is_restored_into_another_database(tmp_path: Path, postgres: PrivatePostgres) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    restored = "ledger_restored"
    with postgres.fresh_database() as url, host(tmp_path, url) as ledger:
        ledger.settings["PATH"] = f"{postgres_binaries()}:{ledger.settings['PATH']}"
        there = make_url(url).set(database=restored).render_as_string(hide_password=False)
        ledger.run("systemctl start ledger")
        ledger.deliver(QUEUED, SENT)
        noted = heads_in(ledger.run(command("backup-postgresql", folder), DATABASE=plain(url)))
        ledger.deliver(DELIVERED)

        try:
            ledger.run(command("restore-postgresql", folder), DATABASE=plain(url), RESTORED=plain(there))
            ledger.run("systemctl stop ledger")
            ledger.settings["LEDGER_DATABASE_URL"] = there
            ledger.run(command("restore-postgresql-start", folder), HEAD=noted)

            assert status_of(ledger) == "sent"
            assert ledger.deliver(SENT, DELIVERED)[1].json()["outcome"] == "recorded"
            until(lambda: status_of(ledger) == "delivered")
        finally:
            assert ledger.server is not None
            ledger.server.kill()
            with psycopg.connect(plain(url), autocommit=True) as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {restored} WITH (FORCE)")


def plain(url: str) -> str:
    """The URL as PostgreSQL's own programs take it."""
    return url.replace("+psycopg", "")
