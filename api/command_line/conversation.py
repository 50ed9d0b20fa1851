"""`ledger conversation`: what a customer wrote."""

import sys
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer
from rich.padding import Padding

from api.answers import conversation_answer, conversation_message_answer, written
from api.audit.acts import Act
from api.command_line.opening import opened_read_models, warn_if_behind
from api.command_line.terminal import AsJson, counted, print_json, print_table, said, to_stdout, when
from api.command_line.witnessing import note
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.page_cursors import LIMIT_MAX
from projections.queries_conversations import Conversation, ConversationMessage
from projections.read_models import ReadModels

COLUMNS = ("occurred (UTC)", "received (UTC)", "messageId", "from", "to", "body", "media")


def conversation(
    conversation_id: Annotated[str, typer.Argument(metavar="CONVERSATION_ID", help="Red Cloud's conversationId.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show a conversation: what the customer wrote, oldest first.

    Media are shown as the links that came, and are never fetched.

    For example:

    $ ledger conversation conv_abc123

    Exit status: 0 shown; 1 there is no such conversation; 2 wrong usage or
    settings.
    """
    with opened_read_models() as read_models:
        warn_if_behind(read_models, INBOUND_CONVERSATIONS)
        found = read_models.conversation(conversation_id)
        messages = list(_messages(read_models, conversation_id))
    note(Act.READ_CONVERSATION, conversation_id, items=len(messages))
    if as_json:
        shown = msgspec.to_builtins(conversation_answer(found))
        print_json({**shown, "messages": [conversation_message_answer(each) for each in messages]})
    elif sys.stdout.isatty():
        _print(found, messages)
    else:
        print_table(COLUMNS, map(_row, messages))


def _messages(read_models: ReadModels, conversation_id: str) -> Iterator[ConversationMessage]:
    cursor: str | None = None
    while True:
        page = read_models.conversation_messages(conversation_id, cursor=cursor, limit=LIMIT_MAX)
        yield from page.items
        cursor = page.next
        if cursor is None:
            return


def _print(found: Conversation, messages: list[ConversationMessage]) -> None:
    console = to_stdout()
    between = " and ".join(found.participants) or "nobody named"
    console.print(said(found.conversation_id, "bold"), said(f"· {counted(len(messages), 'message')} between {between}"))
    for message in messages:
        console.print()
        time_us = message.received_at_us if message.occurred_at_us is None else message.occurred_at_us
        heading = said(message.sender or "(no sender)", "bold cyan").append(f"  {when(time_us)}", "dim")
        console.print(heading.append_text(said(f"  {message.message_id}", "dim")), soft_wrap=True)
        console.print(Padding(said("" if message.body is None else written(message.body)), (0, 0, 0, 2)))
        for medium in message.media if isinstance(message.media, list) else [message.media]:
            if medium:
                console.print(Padding(said(f"medium: {written(medium)}", "dim"), (0, 0, 0, 2)))


def _row(message: ConversationMessage) -> tuple[object, ...]:
    return (
        None if message.occurred_at_us is None else when(message.occurred_at_us),
        when(message.received_at_us),
        message.message_id,
        message.sender,
        message.recipient,
        *(None if each is None else written(each) for each in (message.body, message.media)),
    )
