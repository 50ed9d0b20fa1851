"""`ledger messages` and `ledger conversations`: finding what one has no id of, and what is stuck."""

import time
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import typer

from api.audit.acts import Act
from api.command_line.endings import SOMETHING_WRONG
from api.command_line.opening import opened_read_models, warn_if_behind
from api.command_line.terminal import AsJson, print_found, print_json, tell_of_more, when_about
from api.command_line.witnessing import note
from ledger.message import external_reference
from ledger.provider import Status
from projections.failures import failure_code, failure_details
from projections.read_models import (
    INBOUND_CONVERSATIONS,
    LIMIT_DEFAULT,
    LIMIT_MAX,
    MESSAGE_STATUS,
    Conversation,
    MessageFilters,
    MessageStatus,
    ReadModels,
    conversation_json,
    status_json,
)
from projections.stuck import STUCK_AFTER_S, stuck_filters

COLUMNS = ("messageId", "status", "updated (UTC)", "reference", "phone", "code")
SPARED = ("code", "updated (UTC)", "phone")
CONVERSATION_COLUMNS = ("conversationId", "last message (UTC)", "messages", "participants")


class Listed(NamedTuple):
    """What is shown, the cursor after it where there is one, and whether there is more."""

    items: Sequence[MessageStatus]
    next: str | None
    has_more: bool


Limit = Annotated[int, typer.Option("--limit", min=1, max=LIMIT_MAX, help="How many at most.")]


def messages(
    *,
    status: Annotated[Status | None, typer.Option("--status", help="Only these.", show_default=False)] = None,
    reference: Annotated[str | None, typer.Option("--reference", help="Your own, exactly.", show_default=False)] = None,
    provider_reference: Annotated[
        str | None,
        typer.Option("--provider-reference", help="Red Cloud's own (providerMessageRef).", show_default=False),
    ] = None,
    phone: Annotated[str | None, typer.Option("--phone", help="Either end, E.164.", show_default=False)] = None,
    code: Annotated[str | None, typer.Option("--failure-code", help="As told.", show_default=False)] = None,
    stuck: Annotated[bool, typer.Option("--stuck", help="Only those that should have gone on by now.")] = False,
    limit: Limit = LIMIT_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Find messages: by reference, phone, status or failure; or those stuck.

    Newest update first. Stuck is what has been submitted for 15 minutes, or
    accepted or sent for 90, without another word.

    For example:

    $ ledger messages --reference order_789

    $ ledger messages --status failed --failure-code 30003

    $ ledger messages --stuck

    Exit status: 0 listed; 1 with --stuck: there are some; 2 wrong usage or
    settings.
    """
    filters = MessageFilters(
        status=status,
        external_reference=reference,
        provider_message_ref=provider_reference,
        phone=phone,
        failure_code=code,
    )
    with opened_read_models() as read_models:
        warn_if_behind(read_models, MESSAGE_STATUS)
        listed = _stuck(read_models, filters, limit) if stuck else _found(read_models, filters, limit)
    asked = {
        "status": status,
        "externalReference": reference,
        "providerMessageRef": provider_reference,
        "phone": phone,
        "failureCode": code,
        "stuck": stuck or None,
    }
    note(Act.LIST_MESSAGES, asked=asked, items=len(listed.items))
    if as_json:
        print_json({"items": [status_json(each) for each in listed.items], "next": listed.next})
    else:
        print_found(COLUMNS, [_row(each) for each in listed.items], SPARED)
    if listed.has_more:
        tell_of_more(len(listed.items))
    if stuck and listed.items:
        raise typer.Exit(SOMETHING_WRONG)


def conversations(
    *,
    participant: Annotated[
        str | None, typer.Option("--participant", help="A phone number, E.164.", show_default=False)
    ] = None,
    number: Annotated[str | None, typer.Option("--number", help="Your own numberId.", show_default=False)] = None,
    limit: Limit = LIMIT_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Find conversations by who takes part; the latest message first.

    For example:

    $ ledger conversations --participant +15551234567

    Exit status: 0 listed; 2 wrong usage or settings.
    """
    with opened_read_models() as read_models:
        warn_if_behind(read_models, INBOUND_CONVERSATIONS)
        page = read_models.conversations(number_id=number, participant=participant, limit=limit)
    note(Act.LIST_CONVERSATIONS, asked={"numberId": number, "participant": participant}, items=len(page.items))
    if as_json:
        print_json({"items": [conversation_json(each) for each in page.items], "next": page.next})
    else:
        print_found(CONVERSATION_COLUMNS, [_conversation_row(each) for each in page.items])
    if page.next is not None:
        tell_of_more(len(page.items))


def _found(read_models: ReadModels, filters: MessageFilters, limit: int) -> Listed:
    page = read_models.messages(filters, limit=limit)
    return Listed(page.items, page.next, has_more=page.next is not None)


def _stuck(read_models: ReadModels, filters: MessageFilters, limit: int) -> Listed:
    now_us = time.time_ns() // 1_000
    found, has_more = list[MessageStatus](), False
    for each in STUCK_AFTER_S:
        if filters.status in (None, each):
            page = read_models.messages(stuck_filters(each, now_us, filters), limit=limit)
            found += page.items
            has_more = has_more or page.next is not None
    return Listed(found[:limit], None, has_more=has_more or len(found) > limit)


def _row(found: MessageStatus) -> tuple[object, ...]:
    message = found.message
    inbound, acceptance, body = message.inbound, message.acceptance, message.failure_body
    phone = inbound.sender if inbound else acceptance.recipient if acceptance else None
    code = None if body is None else failure_code(failure_details(body))
    reference = external_reference(message)
    return message.message_id, message.status.value, when_about(message.updated_at_us), reference, phone, code


def _conversation_row(found: Conversation) -> tuple[object, ...]:
    participants = " ".join(found.participants)
    return found.conversation_id, when_about(found.last_message_at_us), found.message_count, participants
