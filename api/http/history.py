"""GET /messages/{messageId}/history: the audit of one message, from the log itself and never from a read model."""

from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller
from api.answers import history_answer
from api.audit.witness import tell
from api.errors import Forbidden
from api.http.questions import path_text, query_limit, query_text, version_asked
from api.http.responses import bytes_answer, json_answer
from api.service import Service
from ledger.errors import MalformedQuestion, NotFound
from ledger.ledger import HISTORY_EVENTS_MAX


def get_history(service: Service, caller: Caller, request: Request) -> Response:
    """The events of a message in the order of recording; `next` is null where there are no more than `limit` (1000)."""
    message_id = path_text(request, "messageId")
    after_version = version_asked(query_text(request, "cursor") or "0")
    if after_version is None:
        raise MalformedQuestion("the cursor is not one that this ledger gave out; start without one, or use a `next`")
    limit = query_limit(request, HISTORY_EVENTS_MAX)
    entries, has_more = service.ledger.history_page(message_id, after_version=after_version, limit=limit)
    following = str(entries[-1].version) if has_more else None
    tell(request, items=len(entries))
    return json_answer(history_answer(message_id, entries, masked=caller.is_masked, following=following))


def get_body(service: Service, caller: Caller, request: Request) -> Response:
    """The exact bytes of one event as they were received."""
    if caller.is_masked:
        raise Forbidden("a key with the scope 'masked' may not read exact bytes")
    text = path_text(request, "version")
    version = version_asked(text)
    if version is None:
        raise NotFound(f"there is no version {text[:40]!r}; versions are 1, 2, 3 …")
    entry = service.ledger.entry(path_text(request, "messageId"), version)
    return bytes_answer(entry.event.receipt.body)
