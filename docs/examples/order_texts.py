"""An application that texts its customers through Red Cloud and acts on failures, with the ledger as its memory.

It may be killed anywhere, and either of the two services may be away: everything is done again until it is done.

1. `want`: writes down that a text is wanted, in the transaction in which the order is written down.
2. `settle`: asks Red Cloud to send what is wanted, under an idempotency key of our own, so that a repetition sends nothing
   twice; keeps the answer; and hands it over to the ledger, which answers `duplicate` to a repetition.
3. `follow_failures`: reads the ledger's feed from a checkpoint of its own, and puts down a task for each failure. Task and
   checkpoint are written in one transaction; and as a task has a key, reading the feed again from the beginning is harmless.

Only Python's standard library is used. `docs/INTEGRATING.md` walks through it; `tests/docs/test_integrating.py` runs it.
"""

import contextlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

JSON = dict[str, Any]
# 401 and the ledger's 403 tell of our key, and nothing of what was asked with it: once it is mended, what is left is done.
TRY_AGAIN = frozenset({401, 408, 429, 500, 502, 503, 504})
LEDGER_TRY_AGAIN = TRY_AGAIN | {403}
PAUSE_S = 1.0
PAGE_EVENTS = 500

TABLES = """
CREATE TABLE IF NOT EXISTS texts (  -- what is wanted, what Red Cloud answered, and what became of it
    idempotency_key TEXT PRIMARY KEY, request TEXT NOT NULL, response TEXT, state TEXT NOT NULL DEFAULT 'wanted'
);
CREATE TABLE IF NOT EXISTS tasks (  -- what a person should do
    about TEXT PRIMARY KEY, what TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS feed (checkpoint TEXT);
INSERT INTO feed SELECT NULL WHERE NOT EXISTS (SELECT * FROM feed);
"""


@dataclass(frozen=True)
class Service:
    """Where an HTTP service is, and the key that it asks for."""

    url: str
    key: str = ""


class Away(Exception):
    """The service did not answer, or says that it cannot right now. Later it may."""


class Refused(Exception):
    """The service will not do this however often it is asked: a mistake of ours, for a person to look at."""


def opened(file: str) -> sqlite3.Connection:
    """Our own database."""
    database = sqlite3.connect(file)
    database.executescript(TABLES)
    return database


def want(database: sqlite3.Connection, order: str, to: str, text: str) -> None:
    """Writes down that a customer is to be texted about an order; call it in the transaction that writes the order down.

    The key is made from the order, so that one order is never two texts.
    """
    request = {"sendFrom": "num_abc123", "to": [to], "messageType": "SMS", "text": text, "externalReference": order}
    database.execute(
        "INSERT OR IGNORE INTO texts VALUES (?, ?, NULL, 'wanted')", (f"order-{order}", json.dumps(request))
    )


def settle(red_cloud: Service, ledger: Service, database: sqlite3.Connection) -> None:
    """Sends what is wanted, and hands over what was answered. Away: what is left stays for the next time."""
    left = database.execute("SELECT idempotency_key, request, response FROM texts WHERE state IN ('wanted', 'sent')")
    for key, request, kept in left.fetchall():
        response = kept
        try:
            if response is None:
                response = post(red_cloud, "/api/core/messages/send", request, {"Idempotency-Key": key})
                note(database, key, "sent", response)
            hand_over(ledger, key, request, response)
            note(database, key, "settled", response)
        except Refused as refused:
            note(database, key, "refused", response, task=f"look at the text under {key}: {refused}")


def hand_over(ledger: Service, key: str, request: str, response: str) -> str:
    """Tells the ledger what Red Cloud answered: `recorded` or `duplicate`, and both mean that it is on disk."""
    content = {"idempotencyKey": key, "request": json.loads(request), "response": json.loads(response)}
    return str(json.loads(post(ledger, "/sends", json.dumps(content), try_again=LEDGER_TRY_AGAIN))["outcome"])


def note(database: sqlite3.Connection, key: str, state: str, response: str | None, task: str | None = None) -> None:
    """How far a text is, in one transaction with the task that it may make. What Red Cloud did not accept is one, too."""
    with database:
        statement = "UPDATE texts SET state = ?, response = ? WHERE idempotency_key = ?"
        database.execute(statement, (state, response, key))
        # What an entry looks like is not documented, so it is shown to a person as it is.
        errors = json.loads(response).get("errors", []) if state == "sent" and response else []
        for number, error in enumerate(errors):
            put_down(database, f"{key} error {number}", f"not accepted under {key}: {json.dumps(error)}")
        if task is not None:
            put_down(database, key, task)


def follow_failures(ledger: Service, database: sqlite3.Connection) -> int:
    """Reads the feed to its end and puts down a task for each failure; how many there were."""
    failures = 0
    for events, checkpoint in pages(ledger, checkpoint_of(database)):
        # The tasks and the checkpoint are one transaction: cut off here or there, no failure is lost or done twice.
        with database:
            for event in events:
                if event["eventType"] == "message.failed" and event["effect"] == "applied":
                    failures += 1
                    order = event["body"].get("externalReference", "unknown")
                    put_down(database, event["messageId"], f"call the customer of order {order}: the text failed")
            database.execute("UPDATE feed SET checkpoint = ?", (checkpoint,))
    return failures


def pages(ledger: Service, checkpoint: str | None) -> Iterator[tuple[list[JSON], str]]:
    """Pages of the feed after a checkpoint, each with the checkpoint after it, until there is nothing new."""
    while True:
        after = f"&after={checkpoint}" if checkpoint else ""
        page = json.loads(get(ledger, f"/feed?limit={PAGE_EVENTS}{after}"))
        if not page["events"]:
            return
        checkpoint = page["next"]
        yield page["events"], checkpoint


def checkpoint_of(database: sqlite3.Connection) -> str | None:
    """How far the feed has been read."""
    (checkpoint,) = database.execute("SELECT checkpoint FROM feed").fetchone()
    return None if checkpoint is None else str(checkpoint)


def put_down(database: sqlite3.Connection, about: str, what: str) -> None:
    """A task for a person; the same one again changes nothing."""
    if database.execute("INSERT OR IGNORE INTO tasks VALUES (?, ?)", (about, what)).rowcount:
        print(what, flush=True)  # noqa: T201 - in place of whatever tells your people


def post(
    service: Service,
    path: str,
    body: str,
    headers: dict[str, str] | None = None,
    try_again: frozenset[int] = TRY_AGAIN,
) -> str:
    """What a service answers to JSON. Away, or Refused."""
    all_headers = {"Content-Type": "application/json", **_key(service), **(headers or {})}
    return _answer_to(Request(service.url + path, body.encode(), all_headers), try_again)


def get(ledger: Service, path: str) -> str:
    """What the ledger answers to a question. Away, or Refused."""
    return _answer_to(Request(ledger.url + path, headers=_key(ledger)), LEDGER_TRY_AGAIN)


def _key(service: Service) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.key}"} if service.key else {}


def _answer_to(request: Request, try_again: frozenset[int]) -> str:
    try:
        with urlopen(request, timeout=10) as answer:
            return str(answer.read().decode())
    except HTTPError as error:
        kind = Away if error.code in try_again else Refused
        raise kind(f"{request.full_url} answered {error.code}: {error.read().decode(errors='replace')}") from None
    except (OSError, HTTPException) as error:  # no connection, or one that broke off
        raise Away(f"{request.full_url} did not answer: {error}") from None


def main(red_cloud: Service, ledger: Service, file: str) -> None:
    """Works for ever."""
    with contextlib.closing(opened(file)) as database:
        while True:
            try:
                settle(red_cloud, ledger, database)
                follow_failures(ledger, database)
            except Away as away:
                print(f"later: {away}", file=sys.stderr, flush=True)  # noqa: T201 - in place of a log
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(
        Service(os.environ["RED_CLOUD_URL"], os.environ.get("RED_CLOUD_KEY", "")),
        Service(os.environ["LEDGER_URL"], os.environ.get("LEDGER_KEY", "")),
        sys.argv[1],
    )
