"""The quarantine: authentic deliveries that could not be read, kept until a version of ours can."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller
from api.answers import quarantine_answer
from api.audit.witness import tell
from api.http.questions import path_text, query_limit, query_text
from api.http.responses import bytes_answer, json_answer
from api.service import Service
from api.shapes import Page, QuarantinedDelivery, Replay
from projections.page_cursors import Integer64, Key, read_cursor, write_cursor

BODIES_READ_MAX = 32
"""How many bodies are in memory at a time: an answer only counts their bytes, and each may have 256 KiB."""


class AfterQuarantined(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="quarantine-1"):
    """After a delivery in quarantine, oldest first."""

    received_at_us: Integer64
    key: Key


def get_quarantine(service: Service, _caller: Caller, request: Request) -> Response:
    """What is in quarantine, oldest first."""
    limit = query_limit(request)
    begin = read_cursor(query_text(request, "cursor"), AfterQuarantined)
    after = (-1, "") if begin is None else (begin.received_at_us, begin.key.hex())
    items = list[QuarantinedDelivery]()
    while True:  # ends where the quarantine does, or with one more than is shown
        wanted = min(limit + 1 - len(items), BODIES_READ_MAX)
        page = service.ledger.quarantined(after=after, limit=wanted)
        shown = page[: limit - len(items)]
        items.extend(quarantine_answer(delivery) for delivery in shown)
        tell(request, items=len(items))
        if shown:
            after = (shown[-1].receipt.received_at_us, shown[-1].quarantine_id)
        if len(shown) < len(page):
            last = AfterQuarantined(after[0], bytes.fromhex(after[1]))
            return json_answer(Page(items=items, next=write_cursor(last)))
        if len(page) < wanted:
            return json_answer(Page(items=items, next=None))


def get_quarantined_body(service: Service, _caller: Caller, request: Request) -> Response:
    """The exact bytes of a delivery in quarantine."""
    return bytes_answer(service.ledger.quarantined_delivery(path_text(request, "id")).receipt.body)


def post_replay(service: Service, _caller: Caller, request: Request) -> Response:
    """Records what this version can read by now."""
    replayed, remaining = service.ledger.replay_quarantine()
    tell(request, replayed=replayed, remaining=remaining)
    return json_answer(Replay(replayed=replayed, remaining=remaining))
