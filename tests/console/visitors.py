"""Somebody in front of the console, without a browser: a client with a cookie, and the ledger that they look at."""

import re
from dataclasses import dataclass
from html import unescape
from urllib.parse import quote

import httpx2

from tests.api.running import Running, as_json, key_of, signed, until
from tests.builders import send_body

COOKIE = re.compile(r"ledger_console=[A-Za-z0-9_-]*")

ORDER = "order_789"
PHONE = "+15551234567"
CUSTOMER = "+15557654321"
NASTY_TEXTS = (
    "<script>document.title = 'owned'</script>",
    "{{7*7}} ${7*7}",
    "<svg onload=\"document.title = 'owned'\"><img src=x onerror=\"document.title = 'owned'\">",
    '"><a href="javascript:document.title=\'owned\'">press</a>',
    "\u202etxt.exe and a bell \u0007",
)
NASTY_LINK = "javascript:document.title='owned'"
GOOD_LINK = "https://media.example/photo.jpg"


@dataclass
class Visitor:
    """Nobody, or who signed in; `cookie` is what their browser holds."""

    server: Running
    cookie: str = ""

    def get(self, path: str, **query: str) -> httpx2.Response:
        """A page, without following redirects."""
        self.server.http.cookies.clear()
        return self.server.http.get(path, params=query or None, headers=self._headers())

    def post(self, path: str, origin: str | None = "", **form: str) -> httpx2.Response:
        """A form that was sent from our own page (""), from another origin, or from nobody knows where."""
        own = f"http://127.0.0.1:{self.server.port}"
        headers = self._headers() | ({} if origin is None else {"Origin": origin or own})
        self.server.http.cookies.clear()
        answer = self.server.http.post(path, headers=headers, data=form)
        for cookie in COOKIE.findall(answer.headers.get("set-cookie", "")):
            self.cookie = cookie
        return answer

    def text(self, path: str) -> str:
        """What a page says, without its marks."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return words_of(answer.text)

    def _headers(self) -> dict[str, str]:
        return {"Cookie": self.cookie} if self.cookie else {}


def words_of(html: str) -> str:
    """The text of a page as a person reads it."""
    body = html[html.index("<main") :]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body)))


def signed_in(server: Running, name: str) -> Visitor:
    """A visitor with a key of the tests."""
    visitor = Visitor(server)
    answer = visitor.post("/console/sign-in", key=key_of(name))
    assert answer.status_code == 303, answer.text
    return visitor


def message_path(message_id: str) -> str:
    """The page of a message."""
    return f"/console/messages/{quote(message_id, safe='')}"


def deliver(server: Running, event_type: str, message_id: str, **members: object) -> None:
    """One signed webhook."""
    body = as_json({"eventType": event_type, "messageId": message_id, **members})
    assert server.http.post("/webhooks/red-cloud", content=body, headers=signed(body)).status_code == 202


def feed(server: Running) -> None:
    """The messages that the tests of the console speak of."""
    assert server.post("/sends", send_body(["msg_sent", "msg_delivered", "msg_failed"], "idem_789", ORDER)).is_success
    for message_id in ("msg_sent", "msg_failed"):
        deliver(server, "message.queued", message_id, sequence=1, externalReference=ORDER)
    deliver(server, "message.sent", "msg_sent", sequence=2, providerMessageRef="SM_sent")
    deliver(server, "message.failed", "msg_failed", sequence=3, errorCode="30007", errorMessage=f"{PHONE} filtered")
    deliver(server, "message.sent", "msg_failed", sequence=2, providerMessageRef="SM_failed")
    # Out of order, with a hole (2), a repetition and a conflict at 4.
    deliver(server, "message.delivery", "msg_delivered", sequence=4, providerMessageRef="SM_delivered")
    deliver(server, "message.sent", "msg_delivered", sequence=3)
    deliver(server, "message.queued", "msg_delivered", sequence=1)
    deliver(server, "message.delivery", "msg_delivered", sequence=4, providerMessageRef="SM_other")
    deliver(server, "message.failed", "msg_delivered", sequence=4, errorCode="30008")
    for number, text in enumerate(NASTY_TEXTS):
        media = [NASTY_LINK, {"url": GOOD_LINK, "contentType": "image/jpeg"}, "<b>bold</b>"] if number == 0 else []
        deliver(
            server,
            "message.inbound",
            f"msg_in_{number}",
            conversationId="conv_nasty",
            numberId="num_abc123",
            to=PHONE,
            body=text,
            media=media,
            **{"from": CUSTOMER},
        )
    deliver(server, "message.queued", "<script>/%2F 🙂", sequence=1, externalReference="=cmd|' /C calc'!A0")
    deliver(server, "message.queued", "..", sequence=1)
    unreadable = b"this is not JSON <script>"
    assert server.http.post("/webhooks/red-cloud", content=unreadable, headers=signed(unreadable)).status_code == 202
    until(lambda: all(each.lag_events == 0 for each in server.service.read_models.projections()))
