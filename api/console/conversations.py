"""What customers wrote: the list of conversations, and one of them as a chat."""

from typing import NamedTuple

from starlette.responses import Response

from api.console.rendering import conversation_url, query_url
from api.console.visit import Visit
from api.console.written import Written, written_of
from api.phones import phone_in
from projections.queries_conversations import Conversation, ConversationMessage

PAGE_CONVERSATIONS = 50
PAGE_MESSAGES = 100


class Line(NamedTuple):
    """A conversation in a list, as this visitor may see it."""

    conversation_id: str
    customers: list[str]
    our_number: str | None
    number_id: str | None
    messages: int
    last_at_us: int


class Bubble(NamedTuple):
    """One message of a chat, as this visitor may see it."""

    message_id: str
    sender: str | None
    written: Written
    at_us: int
    is_told_time: bool


def conversations_page(visit: Visit) -> Response:
    """The conversations, latest message first."""
    wanted = visit.asked("with")
    participant = phone_in(wanted or "")
    page = visit.service.read_models.conversations(
        participant=participant,
        number_id=wanted if participant is None else None,
        cursor=visit.asked("cursor"),
        limit=PAGE_CONVERSATIONS,
    )
    visit.tell(items=len(page.items))
    ours = visit.service.read_models.our_numbers([each.conversation_id for each in page.items])
    return visit.page(
        "conversations.html",
        wanted=wanted,
        lines=[_line(visit, each, ours.get(each.conversation_id)) for each in page.items],
        older=query_url("conversations", {"with": wanted, "cursor": page.next}) if page.next else None,
        newest=query_url("conversations", {"with": wanted}) if visit.asked("cursor") else None,
    )


def conversation_page(visit: Visit) -> Response:
    """One conversation, oldest message first."""
    conversation_id = visit.id_in("conversationId")
    read_models, cursor = visit.service.read_models, visit.asked("cursor")
    conversation = read_models.conversation(conversation_id)
    page = read_models.conversation_messages(conversation_id, cursor=cursor, limit=PAGE_MESSAGES)
    later = None
    if page.next:
        address = conversation_url(conversation_id)
        later = f"{address}{'&' if '?' in address else '?'}cursor={page.next}"
    visit.tell(items=len(page.items))
    return visit.page(
        "conversation.html",
        line=_line(visit, conversation, read_models.our_numbers([conversation_id]).get(conversation_id)),
        whole_numbers=[] if visit.masked else list(conversation.participants),
        first_at_us=conversation.first_message_at_us,
        bubbles=[_bubble(visit, each) for each in page.items],
        later=later,
        is_continued=cursor is not None,
    )


def _line(visit: Visit, conversation: Conversation, our_number: str | None) -> Line:
    others = [each for each in conversation.participants if each != our_number]
    return Line(
        conversation.conversation_id,
        sorted(filter(None, map(visit.phone, others))),
        visit.phone(our_number),
        conversation.number_id,
        conversation.message_count,
        conversation.last_message_at_us,
    )


def _bubble(visit: Visit, message: ConversationMessage) -> Bubble:
    return Bubble(
        message.message_id,
        visit.phone(message.sender),
        written_of(visit, message.body, message.media),
        message.received_at_us if message.occurred_at_us is None else message.occurred_at_us,
        message.occurred_at_us is not None,
    )
