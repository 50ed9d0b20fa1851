"""An application that texts its customers through Red Cloud and acts on failures, with the ledger as its memory.

Three steps, all of which may be cut off anywhere and repeated:

1. `send`: asks Red Cloud to send, under an idempotency key of our own, so that a repetition sends nothing twice.
2. `hand_over`: tells the ledger what Red Cloud answered. The ledger answers `duplicate` to a repetition.
3. `follow_failures`: reads the ledger's feed from a checkpoint of its own, and acts on each failure once, because what it
   does and how far it has read are written in one transaction.

Only Python's standard library is used. `docs/INTEGRATING.md` walks through it; `tests/docs/test_examples.py` runs it.
"""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

JSON = dict[str, Any]
TRY_AGAIN = {408, 429, 500, 502, 503, 504}
TRIES_MAX = 8
PAUSE_S_MAX = 30.0


@dataclass(frozen=True)
class Service:
    """Where an HTTP service is, and the key that it asks for."""

    url: str
    key: str = ""


def send(red_cloud: Service, order: str, to: str, text: str) -> tuple[str, JSON, JSON]:
    """Asks Red Cloud to text a customer about an order; the idempotency key, the request and the response."""
    idempotency_key = f"order-{order}"
    request = {
        "sendFrom": "num_abc123",
        "to": [to],
        "messageType": "SMS",
        "text": text,
        "externalReference": order,
    }
    response = post(red_cloud, "/api/core/messages/send", request, {"Idempotency-Key": idempotency_key})
    return idempotency_key, request, response


def hand_over(ledger: Service, idempotency_key: str, request: JSON, response: JSON) -> JSON:
    """Tells the ledger that the request was accepted. Until this has returned, do it again."""
    return post(ledger, "/sends", {"idempotencyKey": idempotency_key, "request": request, "response": response})


def follow_failures(ledger: Service, database: sqlite3.Connection) -> int:
    """Reads the feed to its end and puts a task for a person down for each failure; how many there were."""
    prepare(database)
    failures = 0
    for events, checkpoint in pages(ledger, checkpoint_of(database)):
        # The tasks and the checkpoint are one transaction: cut off here or there, no failure is lost or done twice.
        with database:
            for event in events:
                if event["eventType"] == "message.failed" and event["effect"] == "applied":
                    failures += 1
                    put_down(database, event)
            database.execute("UPDATE feed SET checkpoint = ?", (checkpoint,))
    return failures


def pages(ledger: Service, checkpoint: str | None) -> Iterator[tuple[list[JSON], str]]:
    """Pages of the feed after a checkpoint, each with the checkpoint after it, until there is nothing new."""
    while True:
        after = f"&after={checkpoint}" if checkpoint else ""
        page = get(ledger, f"/feed?limit=500{after}")
        if not page["events"]:
            return
        checkpoint = page["next"]
        yield page["events"], checkpoint


def prepare(database: sqlite3.Connection) -> None:
    """Our own tables: how far we have read, and what people should do."""
    with database:
        database.execute("CREATE TABLE IF NOT EXISTS feed (checkpoint TEXT)")
        database.execute("INSERT INTO feed SELECT NULL WHERE NOT EXISTS (SELECT * FROM feed)")
        database.execute("CREATE TABLE IF NOT EXISTS tasks (message_id TEXT, sequence INTEGER, what TEXT)")


def checkpoint_of(database: sqlite3.Connection) -> str | None:
    """How far the feed has been read."""
    (checkpoint,) = database.execute("SELECT checkpoint FROM feed").fetchone()
    return None if checkpoint is None else str(checkpoint)


def put_down(database: sqlite3.Connection, event: JSON) -> None:
    """One failure, for a person to look at."""
    order = event["body"].get("externalReference", "unknown")
    what = f"call the customer of order {order}: the text failed"
    database.execute("INSERT INTO tasks VALUES (?, ?, ?)", (event["messageId"], event["sequence"], what))


def post(service: Service, path: str, content: JSON, headers: dict[str, str] | None = None) -> JSON:
    """POSTs JSON, again and again while the other side says that this may help."""
    body = json.dumps(content).encode()
    return _asked(
        Request(service.url + path, body, {"Content-Type": "application/json", **_key(service), **(headers or {})})
    )


def get(service: Service, path: str) -> JSON:
    """GETs JSON, again and again while the other side says that this may help."""
    return _asked(Request(service.url + path, headers=_key(service)))


def _key(service: Service) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.key}"} if service.key else {}


def _asked(request: Request) -> JSON:
    for attempt in range(TRIES_MAX):
        with contextlib.suppress(URLError):
            try:
                with urlopen(request, timeout=10) as answer:
                    content: JSON = json.load(answer)
                    return content
            except HTTPError as refused:
                if refused.code not in TRY_AGAIN:
                    raise RuntimeError(
                        f"{request.full_url} answered {refused.code}: {refused.read().decode()}"
                    ) from None
        time.sleep(min(2.0**attempt, PAUSE_S_MAX) / 10)
    raise RuntimeError(f"{request.full_url} did not answer in {TRIES_MAX} tries")


if __name__ == "__main__":
    red_cloud, ledger = Service("http://127.0.0.1:9090"), Service("http://127.0.0.1:8080")
    hand_over(ledger, *send(red_cloud, "order_789", "+15551234567", "Your order is on its way."))
    with contextlib.closing(sqlite3.connect("orders.db")) as orders:
        while True:
            follow_failures(ledger, orders)
            time.sleep(1)
