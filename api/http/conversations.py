"""GET /conversations and what is below it: what customers wrote, from the read model."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller
from api.answers import conversation_answer, conversation_message_answer, page_answer
from api.audit.witness import tell
from api.http.found import found
from api.http.questions import path_text, query_limit, query_phone, query_text
from api.http.responses import json_answer
from api.service import Service
from projections.inbound_conversations import INBOUND_CONVERSATIONS


def get_conversations(service: Service, caller: Caller, request: Request) -> Response:
    """Conversations, latest message first."""
    ask = partial(
        service.read_models.conversations,
        number_id=query_text(request, "numberId"),
        participant=query_phone(request, "participant"),
        cursor=query_text(request, "cursor"),
        limit=query_limit(request),
    )
    page = found(service, INBOUND_CONVERSATIONS, request, ask)
    tell(request, items=len(page.items))
    return json_answer(page_answer(page, conversation_answer, masked=caller.is_masked))


def get_conversation(service: Service, caller: Caller, request: Request) -> Response:
    """One conversation."""
    ask = partial(service.read_models.conversation, path_text(request, "conversationId"))
    conversation = found(service, INBOUND_CONVERSATIONS, request, ask)
    return json_answer(conversation_answer(conversation, masked=caller.is_masked))


def get_conversation_messages(service: Service, caller: Caller, request: Request) -> Response:
    """The messages of a conversation, oldest first."""
    conversation_id, cursor = path_text(request, "conversationId"), query_text(request, "cursor")
    ask = partial(service.read_models.conversation_messages, conversation_id, cursor=cursor, limit=query_limit(request))
    page = found(service, INBOUND_CONVERSATIONS, request, ask)
    tell(request, items=len(page.items))
    return json_answer(page_answer(page, conversation_message_answer, masked=caller.is_masked))
