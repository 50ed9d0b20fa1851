"""The one box: whatever an id, a reference or a number is of, it is found, and where only one thing is, one goes there."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from starlette.responses import Response

from api.console.listed import Line, line_of
from api.console.rendering import conversation_url, counted, message_url, query_url, see_other, send_url
from api.console.visit import Visit
from api.phones import phone_in
from ledger.errors import NotFound
from ledger.json_values import is_identifier
from projections.message_ranges import MessageFilters
from projections.queries_messages import MessageStatus

TEXT_CHARACTERS_MAX = 1_024
HITS_SHOWN = 20


class Hit(NamedTuple):
    """Something that was found: what it is, what it is called, where it is; `line` where it is a message."""

    what: str
    name: str
    url: str
    detail: str
    line: Line | None = None


class Found(NamedTuple):
    """What was found by reading the text as one thing; `more` is where the rest is listed."""

    tried: str
    hits: list[Hit]
    more: str | None = None


Lookup = Callable[[Visit, str], Found]


def search_page(visit: Visit) -> Response:
    """One hit: there. Several: a list of them. None: what was tried."""
    text = visit.asked("q") or ""
    if not text:
        return see_other("/console")
    found = (
        [] if len(text) > TEXT_CHARACTERS_MAX or not is_identifier(text) else [each(visit, text) for each in LOOKUPS]
    )
    urls = {hit.url for each in found for hit in each.hits}
    if len(urls) == 1 and not any(each.more for each in found):
        return see_other(urls.pop())
    visit.tell(items=len(urls))
    return visit.page(
        "search.html",
        text=text,
        found=[each for each in found if each.hits],
        tried=[each.tried for each in found],
        is_known=bool(urls),
    )


def _message(visit: Visit, text: str) -> Found:
    hits = []
    try:
        visit.service.ledger.history(text, limit=1)
        hits = [Hit("Message", text, message_url(text), "")]
    except NotFound:
        pass
    return Found("messageId", hits)


def _reference(visit: Visit, text: str) -> Found:
    return _messages(visit, "external reference", MessageFilters(external_reference=text), {"reference": text})


def _provider_reference(visit: Visit, text: str) -> Found:
    return _messages(visit, "providerMessageRef", MessageFilters(provider_message_ref=text), {})


def _phone(visit: Visit, text: str) -> Found:
    phone = phone_in(text)
    if phone is None:
        return Found("phone number", [])
    found = _messages(visit, "phone number", MessageFilters(phone=phone), {"number": phone})
    page = visit.service.read_models.conversations(participant=phone, limit=HITS_SHOWN)
    conversations = [
        Hit(
            "Conversation",
            each.conversation_id,
            conversation_url(each.conversation_id),
            counted(each.message_count, "message"),
        )
        for each in page.items
    ]
    return found._replace(hits=conversations + found.hits)


def _conversation(visit: Visit, text: str) -> Found:
    hits = []
    try:
        count = visit.service.read_models.conversation(text).message_count
        hits = [Hit("Conversation", text, conversation_url(text), counted(count, "message"))]
    except NotFound:
        pass
    return Found("conversationId", hits)


def _send(visit: Visit, text: str) -> Found:
    hits = []
    try:
        visit.service.ledger.accepted_request(text)
        hits = [Hit("Request to send", text, send_url(text), "")]
    except NotFound:
        pass
    return Found("idempotency key", hits)


def _messages(visit: Visit, tried: str, filters: MessageFilters, query: dict[str, str | None]) -> Found:
    page = visit.service.read_models.messages(filters, limit=HITS_SHOWN)
    more = query_url("messages", query) if page.next and query else None
    return Found(tried, list(_hits(visit, page.items)), more)


def _hits(visit: Visit, statuses: list[MessageStatus]) -> Iterator[Hit]:
    for status in statuses:
        line = line_of(visit, status)
        yield Hit("Message", line.message_id, message_url(line.message_id), "", line)


LOOKUPS: tuple[Lookup, ...] = (_message, _reference, _phone, _provider_reference, _conversation, _send)
