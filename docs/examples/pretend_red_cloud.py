"""A pretended Red Cloud to develop against: accepts requests to send, and delivers signed webhooks about them.

A text to a number that ends with 0 fails; every other one is delivered. A webhook that is refused is delivered again, after
seconds where Red Cloud takes minutes, and given up after the fifth time. All is kept in a file, so it may be killed anywhere.

    python pretend_red_cloud.py 9090 http://127.0.0.1:8080/webhooks/red-cloud my-secret red-cloud.db
"""

import hmac
import json
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import Request, urlopen

JSON = dict[str, Any]
AGAIN_AFTER_S = (1, 5, 15, 60)
LOOK_EVERY_S = 0.1

TABLES = """
CREATE TABLE IF NOT EXISTS answers (idempotency_key TEXT PRIMARY KEY, payload BLOB NOT NULL, answer BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS webhooks (  -- those that were neither taken nor given up
    number INTEGER PRIMARY KEY, body BLOB NOT NULL, refusals INTEGER NOT NULL DEFAULT 0, due_s REAL NOT NULL DEFAULT 0
);
"""


class RedCloud(ThreadingHTTPServer):
    """The send API; `webhooks` is where webhooks go, `file` what it knows."""

    def __init__(self, port: int, webhooks: str, secret: str, file: str) -> None:
        super().__init__(("127.0.0.1", port), SendApi)
        self.webhooks = webhooks
        self.secret = secret.encode()
        self.one_at_a_time = threading.Lock()
        self.database = sqlite3.connect(file, check_same_thread=False)
        self.database.executescript(TABLES)

    def accept(self, key: str, payload: bytes) -> bytes | None:
        """The answer to a request, on disk with its webhooks; None where the key was used with another payload."""
        with self.one_at_a_time, self.database:
            asked = "SELECT payload, answer FROM answers WHERE idempotency_key = ?"
            for known, answer in self.database.execute(asked, (key,)).fetchall():
                return bytes(answer) if known == payload else None
            request = json.loads(payload)
            answer = _accepted(key, request)
            self.database.execute("INSERT INTO answers VALUES (?, ?, ?)", (key, payload, json.dumps(answer).encode()))
            bodies = [(json.dumps(webhook).encode(),) for webhook in _webhooks(request, answer)]
            self.database.executemany("INSERT INTO webhooks (body) VALUES (?)", bodies)
            return json.dumps(answer).encode()

    def deliver_due(self, now_s: float) -> None:
        """Delivers what is due, once; what is refused is due again later, or given up."""
        with self.one_at_a_time:
            due = "SELECT number, body, refusals FROM webhooks WHERE due_s <= ? ORDER BY number"
            found = self.database.execute(due, (now_s,)).fetchall()
        for number, body, refusals in found:
            error = self._deliver(body)
            with self.one_at_a_time, self.database:
                if error is None or refusals == len(AGAIN_AFTER_S):
                    self.database.execute("DELETE FROM webhooks WHERE number = ?", (number,))
                else:
                    again = "UPDATE webhooks SET refusals = refusals + 1, due_s = ? WHERE number = ?"
                    self.database.execute(again, (now_s + AGAIN_AFTER_S[refusals], number))
            if error is not None:
                then = f"again in {AGAIN_AFTER_S[refusals]} s" if refusals < len(AGAIN_AFTER_S) else "given up"
                print(f"a webhook was not taken, {then}: {error}: {body.decode()}", file=sys.stderr)  # noqa: T201

    def deliver_for_ever(self) -> None:
        """Delivers whatever is due."""
        while True:
            self.deliver_due(time.time())
            time.sleep(LOOK_EVERY_S)

    def _deliver(self, body: bytes) -> Exception | None:
        """A webhook, signed as Red Cloud signs it: over the timestamp, a full stop, and the exact bytes of the body."""
        timestamp = str(int(time.time()))
        signature = hmac.digest(self.secret, timestamp.encode() + b"." + body, "sha256").hex()
        headers = {"X-RedCloud-Timestamp": timestamp, "X-RedCloud-Signature": signature}
        try:
            with urlopen(Request(self.webhooks, body, headers), timeout=10):
                return None
        except (OSError, HTTPException) as error:  # refused, no connection, or one that broke off
            return error


class SendApi(BaseHTTPRequestHandler):
    """`POST /api/core/messages/send`."""

    server: RedCloud

    def do_POST(self) -> None:
        """Accepts a request; the same key with the same payload gets the same answer, with another payload 409."""
        payload = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.accept(self.headers["Idempotency-Key"] or "", payload)
        self._say(409, b'{"code": "IDEMPOTENCY_KEY_REUSED"}') if answer is None else self._say(202, answer)

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


def _accepted(key: str, request: JSON) -> JSON:
    """One result a recipient; what is no phone number is an error."""
    good = [to for to in request["to"] if to.startswith("+") and to[1:].isdigit()]
    errors = [{"to": to, "code": "INVALID_REQUEST"} for to in request["to"] if to not in good]
    results = [{"to": to, "messageId": f"msg_{key}_{number}", "status": "QUEUED"} for number, to in enumerate(good)]
    return {"results": results, "errors": errors}


def _webhooks(request: JSON, answer: JSON) -> Iterator[JSON]:
    """What becomes of each text."""
    for result in answer["results"]:
        about = {"messageId": result["messageId"], "externalReference": request.get("externalReference")}
        yield {"eventType": "message.queued", "sequence": 1, **about}
        yield {"eventType": "message.sent", "sequence": 2, **about}
        if result["to"].endswith("0"):
            yield {"eventType": "message.failed", "sequence": 3, "errorCode": "30005", **about}
        else:
            yield {"eventType": "message.delivery", "sequence": 3, **about}


if __name__ == "__main__":
    red_cloud = RedCloud(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4])
    threading.Thread(target=red_cloud.deliver_for_ever, daemon=True).start()
    red_cloud.serve_forever()
