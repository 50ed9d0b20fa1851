"""What all applications here but the bare one share: a Starlette route that verifies and parses as the ledger does."""

import time
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ledger.errors import SignatureRefused
from ledger.signatures import Secret, verify
from ledger.webhooks import Webhook, parse
from tests.benchmarks.prepared import SECRET, SECRET_ID, WEBHOOK_PATH

SECRETS = (Secret(SECRET_ID, SECRET),)

Record = Callable[[Webhook, bytes], Awaitable[bool]]
"""Keeps a webhook; whether it is new."""


def application(record: Record) -> Starlette:
    """An application that answers 202 once a webhook is recorded, and 200 for a duplicate."""

    async def receive(request: Request) -> Response:
        body = await request.body()
        try:
            verify(request.headers.raw, body, SECRETS, now_us=time.time_ns() // 1000)
        except SignatureRefused:
            return JSONResponse({"title": "Signature refused"}, 401)
        webhook = parse(body)
        is_new = await record(webhook, body)
        outcome = "recorded" if is_new else "duplicate"
        return JSONResponse({"outcome": outcome, "messageId": webhook.message_id}, 202 if is_new else 200)

    return Starlette(routes=[Route(WEBHOOK_PATH, receive, methods=["POST"])])
