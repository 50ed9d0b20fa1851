"""POST /sends and GET /sends/{idempotencyKey}: layer one, handed over by the user's own application."""

import asyncio
import dataclasses
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller
from api.answers import send_answer
from api.http.bodies import read_body
from api.http.questions import path_text
from api.http.responses import json_answer
from api.service import Service
from api.shapes import PlacedResult, SendRecorded
from ledger.errors import MalformedSend, SendConflict
from ledger.facts import Fact, Outcome, Placed, Registered
from ledger.json_values import canonical, legible_value
from ledger.sends import AcceptedRequest, acceptances_of, parse_send, send_of

ACCEPTANCES_BYTES_MAX = 32 * 1024 * 1024
"""What one send may bring into the log: every result's acceptance carries the whole request."""
SLICE_FACTS_MAX = 64
SLICE_BYTES_MAX = 4 * 1024 * 1024
"""What of one send may wait for the disk at a time, so that the queue keeps room for webhooks."""


async def post_send(service: Service, _caller: Caller, request: Request) -> Response:
    """Registers the idempotency key, then records each result on its message.

    What computes does so in a thread: megabytes of JSON on the event loop would keep every webhook waiting.
    """
    body = await read_body(request.scope, request.receive)
    now_us, partitions = service.now_us(), service.ledger.partitions
    accepted, slices = await asyncio.to_thread(_read, body)
    registered = await service.submit(send_of(accepted, body, partitions=partitions, now_us=now_us))
    if isinstance(registered, Registered) and not registered.is_same:
        raise SendConflict(
            f"the idempotency key {accepted.idempotency_key!r} is recorded with other content; nothing was stored"
        )
    placed = list[Outcome]()
    for each in slices:
        facts = await asyncio.to_thread(
            acceptances_of, each, service.ledger.codec, partitions=partitions, now_us=now_us
        )
        placed += await asyncio.gather(*(_placed(service, fact) for fact in facts))
    is_new = registered.is_new or any(outcome.is_new for outcome in placed)
    return json_answer(_recorded(accepted, placed, is_new=is_new), 202 if is_new else 200)


async def _placed(service: Service, fact: Fact) -> Outcome:
    """As a coroutine, so that where the queue takes no more, those that it took are waited for by somebody."""
    return await service.submit(fact)


def get_send(service: Service, caller: Caller, request: Request) -> Response:
    """What was handed over under an idempotency key, and where its results stand in the log."""
    key = path_text(request, "idempotencyKey")
    return json_answer(send_answer(key, service.ledger.send(key), masked=caller.is_masked))


def _read(body: bytes) -> tuple[AcceptedRequest, list[AcceptedRequest]]:
    """What a body says, and the same in slices. MalformedSend."""
    accepted = parse_send(body)
    return accepted, _slices(accepted)


def _slices(accepted: AcceptedRequest) -> list[AcceptedRequest]:
    """The same send, some results at a time; MalformedSend where all of it is more than a send may bring."""
    results = accepted.results
    request_bytes = len(canonical(accepted.request))
    if request_bytes * len(results) > ACCEPTANCES_BYTES_MAX:
        raise MalformedSend(
            f"request has {request_bytes} bytes, and each of the {len(results)} entries of response.results is recorded with "
            f"all of it: expected at most {ACCEPTANCES_BYTES_MAX} bytes together"
        )
    step = max(1, min(SLICE_FACTS_MAX, SLICE_BYTES_MAX // request_bytes))
    return [
        dataclasses.replace(accepted, results=results[start : start + step]) for start in range(0, len(results), step)
    ]


def _recorded(accepted: AcceptedRequest, placed: Sequence[Outcome], *, is_new: bool) -> SendRecorded:
    messages = [
        PlacedResult(message_id=result.message_id, position=str(outcome.position))
        for result, outcome in zip(accepted.results, placed, strict=True)
        if isinstance(outcome, Placed)
    ]
    rejected = [legible_value(each) for each in accepted.rejected]
    return SendRecorded(outcome="recorded" if is_new else "duplicate", messages=messages, rejected=rejected)
