"""GET /messages, from the read model, and GET /messages/{messageId}, from there and what the log has since; `asOf` from the log."""

import re
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller
from api.answers import page_answer, status_answer
from api.audit.witness import tell
from api.errors import NotReachedInTime
from api.http.conditional import etag_of, is_known
from api.http.found import found
from api.http.questions import (
    path_text,
    position_asked,
    query_choice,
    query_limit,
    query_phone,
    query_position,
    query_text,
    query_time,
    time_asked,
)
from api.http.responses import json_answer, not_modified
from api.service import Service
from ledger.positions import Position
from ledger.provider import Direction, Status
from projections.message_ranges import MessageFilters
from projections.message_status import MESSAGE_STATUS
from projections.queries_messages import MessageStatus

_LIKE_A_POSITION = re.compile(r"[0-9]+-[0-9]+", re.ASCII)


async def until_reached(service: Service, request: Request) -> None:
    """Waits for what `waitFor` names, or raises NotReachedInTime; nothing is waited for that makes no sense."""
    position = query_position(request, "waitFor", service.ledger)
    if position is not None:
        _as_of(service, request)
        await _wait(service, position)


def get_message(service: Service, caller: Caller, request: Request) -> Response:
    """The status of a message now, or as the ledger knew it then."""
    status = _status(service, path_text(request, "messageId"), _as_of(service, request))
    etag = etag_of(status.position)
    # Who knows the answer up to that position may not know that it stays there.
    if status.parked_from is None and is_known(etag, request.headers.getlist("if-none-match")):
        return not_modified(etag)
    return json_answer(status_answer(status, masked=caller.is_masked), headers={"ETag": etag})


def get_messages(service: Service, caller: Caller, request: Request) -> Response:
    """Messages, newest update first."""
    filters, limit, cursor = _filters(request), query_limit(request), query_text(request, "cursor")
    ask = partial(service.read_models.messages, filters, cursor=cursor, limit=limit)
    page = found(service, MESSAGE_STATUS, request, ask)
    tell(request, items=len(page.items))
    return json_answer(page_answer(page, status_answer, masked=caller.is_masked))


def _status(service: Service, message_id: str, as_of: Position | int | None) -> MessageStatus:
    if as_of is None:
        return service.read_models.current_status(message_id)
    return service.read_models.status_as_of(message_id, as_of)


async def _wait(service: Service, position: Position) -> None:
    """Waits for the read model, or raises NotReachedInTime with its lag."""
    if not await service.read_models.wait_for(position, timeout_s=service.wait_for_s_max):
        read_models, heads = await service.how_far()
        (status,) = (each for each in read_models if each.name == MESSAGE_STATUS)
        is_recorded = position.number <= heads[position.partition].position
        raise NotReachedInTime(
            str(position), status.position, status.lag_events, status.lag_seconds, is_recorded=is_recorded
        )


def _as_of(service: Service, request: Request) -> Position | int | None:
    text = query_text(request, "asOf")
    if text is None:
        return None
    if _LIKE_A_POSITION.fullmatch(text):
        return position_asked(text, "asOf", service.ledger)
    return time_asked("asOf", text, ", or a position such as 0-17")


def _filters(request: Request) -> MessageFilters:
    return MessageFilters(
        status=query_choice(request, "status", Status),
        direction=query_choice(request, "direction", Direction),
        external_reference=query_text(request, "externalReference"),
        provider_message_ref=query_text(request, "providerMessageRef"),
        number_id=query_text(request, "numberId"),
        phone=query_phone(request, "phone"),
        failure_code=query_text(request, "failureCode"),
        updated_after_us=query_time(request, "updatedAfter"),
        updated_before_us=query_time(request, "updatedBefore"),
    )
