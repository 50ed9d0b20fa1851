"""POST /sends and GET /sends/{idempotencyKey}: layer one, handed over by the user's own application."""

import asyncio
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller
from api.answers import send_answer
from api.http.bodies import read_body
from api.http.questions import path_text
from api.http.responses import json_answer
from api.service import Service
from ledger.errors import SendConflict
from ledger.facts import Outcome, Placed, Registered
from ledger.sends import AcceptedRequest, acceptances_of, parse_send, send_of


async def post_send(service: Service, _caller: Caller, request: Request) -> Response:
    """Registers the idempotency key, then records each result on its message."""
    body = await read_body(request.headers.raw, request.receive)
    accepted, now_us = parse_send(body), service.now_us()
    partitions = service.ledger.partitions
    registered = await service.submit(send_of(accepted, body, partitions=partitions, now_us=now_us))
    if isinstance(registered, Registered) and not registered.is_same:
        raise SendConflict(
            f"the idempotency key {accepted.idempotency_key!r} is recorded with other content; nothing was stored"
        )
    facts = acceptances_of(accepted, service.ledger.codec, partitions=partitions, now_us=now_us)
    placed = await asyncio.gather(*(service.submit(fact) for fact in facts))
    is_new = registered.is_new or any(outcome.is_new for outcome in placed)
    return json_answer(_answer(accepted, placed, is_new=is_new), 202 if is_new else 200)


def get_send(service: Service, caller: Caller, request: Request) -> Response:
    """What was handed over under an idempotency key, and where its results stand in the log."""
    key = path_text(request, "idempotencyKey")
    return json_answer(send_answer(key, service.ledger.send(key), masked=caller.is_masked))


def _answer(accepted: AcceptedRequest, placed: Sequence[Outcome], *, is_new: bool) -> dict[str, object]:
    messages = [
        {"messageId": result.message_id, "position": str(outcome.position)}
        for result, outcome in zip(accepted.results, placed, strict=True)
        if isinstance(outcome, Placed)
    ]
    return {"outcome": "recorded" if is_new else "duplicate", "messages": messages, "rejected": accepted.rejected}
