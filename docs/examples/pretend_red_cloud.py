"""A pretended Red Cloud to develop against: accepts requests to send, and delivers signed webhooks about them at once.

A text to a number that ends with 0 fails; every other one is delivered. One process, nothing is kept, and a webhook that is
refused is told and forgotten, which Red Cloud does not do: use `ledger simulate` to see retries, repetitions and late ones.

    python pretend_red_cloud.py 9090 http://127.0.0.1:8080/webhooks/red-cloud my-secret
"""

import hmac
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

JSON = dict[str, Any]


class RedCloud(ThreadingHTTPServer):
    """The send API; `webhooks` is where webhooks go."""

    def __init__(self, port: int, webhooks: str, secret: str) -> None:
        super().__init__(("127.0.0.1", port), SendApi)
        self.webhooks = webhooks
        self.secret = secret.encode()
        self.answers: dict[str, tuple[bytes, bytes]] = {}
        self.one_at_a_time = threading.Lock()

    def deliver(self, event_type: str, message_id: str, sequence: int, **members: object) -> None:
        """A webhook, signed as Red Cloud signs it: over the timestamp, a full stop, and the exact bytes of the body."""
        body = json.dumps({"eventType": event_type, "messageId": message_id, "sequence": sequence, **members}).encode()
        timestamp = str(int(time.time()))
        signature = hmac.digest(self.secret, timestamp.encode() + b"." + body, "sha256").hex()
        headers = {"X-RedCloud-Timestamp": timestamp, "X-RedCloud-Signature": signature}
        try:
            with urlopen(Request(self.webhooks, body, headers), timeout=10):
                pass
        except (HTTPError, OSError) as error:
            print(f"the webhook {event_type} of {message_id} was not taken: {error}", file=sys.stderr)  # noqa: T201


class SendApi(BaseHTTPRequestHandler):
    """`POST /api/core/messages/send`."""

    server: RedCloud

    def do_POST(self) -> None:
        """Accepts a request; the same key with the same payload gets the same answer, with another payload 409."""
        payload = self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Idempotency-Key"] or ""
        with self.server.one_at_a_time:
            is_new = key not in self.server.answers
            if is_new:
                self.server.answers[key] = (payload, _accepted(key, json.loads(payload)))
        known, answer = self.server.answers[key]
        self._say(202, answer) if known == payload else self._say(409, b'{"code": "IDEMPOTENCY_KEY_REUSED"}')
        if is_new:
            self._report(json.loads(payload), json.loads(answer))

    def _report(self, request: JSON, answer: JSON) -> None:
        for result in answer["results"]:
            about = {"message_id": result["messageId"], "externalReference": request.get("externalReference")}
            self.server.deliver("message.queued", sequence=1, **about)
            self.server.deliver("message.sent", sequence=2, **about)
            if result["to"].endswith("0"):
                self.server.deliver("message.failed", sequence=3, errorCode="30005", **about)
            else:
                self.server.deliver("message.delivery", sequence=3, **about)

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


def _accepted(key: str, request: JSON) -> bytes:
    """One result a recipient; what is no phone number is an error."""
    good = [to for to in request["to"] if to.startswith("+") and to[1:].isdigit()]
    errors = [{"to": to, "code": "INVALID_REQUEST"} for to in request["to"] if to not in good]
    results = [{"to": to, "messageId": f"msg_{key}_{number}", "status": "QUEUED"} for number, to in enumerate(good)]
    return json.dumps({"results": results, "errors": errors}).encode()


if __name__ == "__main__":
    RedCloud(int(sys.argv[1]), sys.argv[2], sys.argv[3]).serve_forever()
