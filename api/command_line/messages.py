"""`ledger messages` and `ledger conversations`: finding what one has no id of, and what is stuck."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import typer

from api.answers import conversation_answer, status_answer
from api.audit.acts import Act
from api.command_line.endings import SOMETHING_WRONG
from api.command_line.opening import opened, opened_read_models, warn_if_behind
from api.command_line.terminal import AsJson, print_found, print_json, tell_of_more, when_about
from api.command_line.witnessing import note
from api.phones import phone_in
from ledger import clock
from ledger.errors import MalformedQuestion
from ledger.json_values import JSONObject
from ledger.message import external_reference
from ledger.provider import Direction, Status
from ledger.times import asked_time
from projections.failures import code_of
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.message_ranges import MessageFilters
from projections.message_status import MESSAGE_STATUS
from projections.page_cursors import LIMIT_DEFAULT, LIMIT_MAX
from projections.queries_conversations import Conversation
from projections.queries_messages import MessageStatus
from projections.read_models import ReadModels
from projections.stuck import STUCK_AFTER_S, stuck_filters

COLUMNS = ("messageId", "status", "updated (UTC)", "reference", "phone", "code")
SPARED = ("code", "updated (UTC)", "phone")
CONVERSATION_COLUMNS = ("conversationId", "last message (UTC)", "messages", "participants")


class Listed(NamedTuple):
    """What is shown, whether there is more, and the cursor after it where one can go on."""

    items: Sequence[MessageStatus]
    has_more: bool
    next: str | None = None


Limit = Annotated[int, typer.Option("--limit", min=1, max=LIMIT_MAX, help="How many at most.")]
After = Annotated[
    str | None,
    typer.Option("--cursor", help="Go on after a page: the `next` that --json told.", show_default=False),
]


def _time(option: str, words: str) -> Any:  # noqa: ANN401 - what makes an option has no type
    return typer.Option(option, metavar="TIME", help=f"{words}: RFC 3339 with a zone.", show_default=False)


def messages(  # noqa: PLR0913 - a parameter is an option
    *,
    status: Annotated[Status | None, typer.Option("--status", help="Only these.", show_default=False)] = None,
    reference: Annotated[str | None, typer.Option("--reference", help="Your own, exactly.", show_default=False)] = None,
    provider_reference: Annotated[
        str | None,
        typer.Option("--provider-reference", help="Red Cloud's own (providerMessageRef).", show_default=False),
    ] = None,
    phone: Annotated[
        str | None, typer.Option("--phone", help="Either end, as you type it.", show_default=False)
    ] = None,
    number: Annotated[str | None, typer.Option("--number", help="Your own numberId.", show_default=False)] = None,
    direction: Annotated[Direction | None, typer.Option("--direction", help="Only these.", show_default=False)] = None,
    code: Annotated[str | None, typer.Option("--failure-code", help="As told.", show_default=False)] = None,
    updated_after: Annotated[str | None, _time("--updated-after", "From then on")] = None,
    updated_before: Annotated[str | None, _time("--updated-before", "Earlier than that")] = None,
    stuck: Annotated[bool, typer.Option("--stuck", help="Only those that should have gone on by now.")] = False,
    send: Annotated[
        str | None,
        typer.Option("--send", metavar="KEY", help="Of that request to send: its idempotency key.", show_default=False),
    ] = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: After = None,
    as_json: AsJson = False,
) -> None:
    """Find messages: by reference, phone, status, failure, time or request; or those stuck.

    Newest update first. Stuck is what has been submitted for 15 minutes, or
    accepted or sent for 90, without another word.

    For example:

    $ ledger messages --reference order_789

    $ ledger messages --status failed --failure-code 30003

    $ ledger messages --phone "+1 555 123-4567" --updated-after 2026-11-23T00:00:00Z

    $ ledger messages --send campaign-2026-11 --status failed

    $ ledger messages --stuck

    Exit status: 0 listed; 1 with --stuck: there are some, with --send: no such
    request; 2 wrong usage or settings.
    """
    if send is not None and (stuck or cursor is not None):
        raise MalformedQuestion("--send: goes with neither --stuck nor --cursor")
    if stuck and cursor is not None:
        raise MalformedQuestion("--cursor: what is stuck has no further pages; ask for more with --limit")
    filters = MessageFilters(
        status=status,
        external_reference=reference,
        provider_message_ref=provider_reference,
        phone=phone and (phone_in(phone) or phone),
        number_id=number,
        direction=direction,
        failure_code=code,
        updated_after_us=_time_asked("--updated-after", updated_after),
        updated_before_us=_time_asked("--updated-before", updated_before),
    )
    with opened_read_models() as read_models:
        warn_if_behind(read_models, MESSAGE_STATUS)
        if send is not None:
            listed = _of_a_send(read_models, send, filters, limit)
        else:
            listed = _stuck(read_models, filters, limit) if stuck else _found(read_models, filters, limit, cursor)
    asked = {
        "status": status,
        "externalReference": reference,
        "providerMessageRef": provider_reference,
        "phone": filters.phone,
        "numberId": number,
        "direction": direction,
        "failureCode": code,
        "updatedAfter": updated_after,
        "updatedBefore": updated_before,
        "stuck": stuck or None,
        "send": send,
    }
    note(Act.LIST_MESSAGES, asked=asked, items=len(listed.items))
    if as_json:
        more: JSONObject = {"hasMore": listed.has_more} if stuck or send is not None else {}
        print_json({"items": [status_answer(each) for each in listed.items], "next": listed.next, **more})
    else:
        print_found(COLUMNS, [_row(each) for each in listed.items], _spared(filters))
    if listed.has_more:
        tell_of_more(len(listed.items))
    if stuck and listed.items:
        raise typer.Exit(SOMETHING_WRONG)


def conversations(
    *,
    participant: Annotated[
        str | None, typer.Option("--participant", help="A phone number, as you type it.", show_default=False)
    ] = None,
    number: Annotated[str | None, typer.Option("--number", help="Your own numberId.", show_default=False)] = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: After = None,
    as_json: AsJson = False,
) -> None:
    """Find conversations by who takes part; the latest message first.

    For example:

    $ ledger conversations --participant +15551234567

    Exit status: 0 listed; 2 wrong usage or settings.
    """
    participant = participant and (phone_in(participant) or participant)
    with opened_read_models() as read_models:
        warn_if_behind(read_models, INBOUND_CONVERSATIONS)
        page = read_models.conversations(number_id=number, participant=participant, cursor=cursor, limit=limit)
    note(Act.LIST_CONVERSATIONS, asked={"numberId": number, "participant": participant}, items=len(page.items))
    if as_json:
        print_json({"items": [conversation_answer(each) for each in page.items], "next": page.next})
    else:
        print_found(CONVERSATION_COLUMNS, [_conversation_row(each) for each in page.items])
    if page.next is not None:
        tell_of_more(len(page.items))


def _time_asked(option: str, text: str | None) -> int | None:
    return None if text is None else asked_time(option, text)


def _found(read_models: ReadModels, filters: MessageFilters, limit: int, cursor: str | None) -> Listed:
    page = read_models.messages(filters, cursor=cursor, limit=limit)
    return Listed(page.items, has_more=page.next is not None, next=page.next)


def _stuck(read_models: ReadModels, filters: MessageFilters, limit: int) -> Listed:
    now_us = clock.now_us()
    found, has_more = list[MessageStatus](), False
    for each in STUCK_AFTER_S:
        if filters.status in (None, each):
            page = read_models.messages(stuck_filters(each, now_us, filters), limit=limit)
            found += page.items
            has_more = has_more or page.next is not None
    found.sort(key=lambda each: each.message.updated_at_us, reverse=True)
    return Listed(found[:limit], has_more=has_more or len(found) > limit)


def _of_a_send(read_models: ReadModels, key: str, filters: MessageFilters, limit: int) -> Listed:
    """The messages of a request to send that the read model has, in the order of its response. NotFound."""
    if replace(filters, status=None, failure_code=None) != MessageFilters():
        raise MalformedQuestion("--send: goes with --status and --failure-code alone")
    with opened() as ledger:
        _, accepted = ledger.accepted_request(key)
    now = read_models.current_statuses([each.message_id for each in accepted.results])
    found = [now[each.message_id] for each in accepted.results if each.message_id in now]
    if filters.status is not None:
        found = [each for each in found if each.message.status is filters.status]
    if filters.failure_code is not None:
        found = [each for each in found if code_of(each.message) == filters.failure_code]
    return Listed(found[:limit], has_more=len(found) > limit)


def _row(found: MessageStatus) -> tuple[object, ...]:
    message = found.message
    inbound, acceptance = message.inbound, message.acceptance
    phone = inbound.sender if inbound else acceptance.recipient if acceptance else None
    reference = external_reference(message)
    updated = when_about(message.updated_at_us)
    return message.message_id, message.status.value, updated, reference, phone, code_of(message)


def _spared(filters: MessageFilters) -> tuple[str, ...]:
    """What a narrow terminal is without: first what is the same in all rows, as it was asked for; of failures, last why."""
    asked = {"status": filters.status, "reference": filters.external_reference, "phone": filters.phone}
    same = [column for column, value in asked.items() if value is not None]
    rest = [column for column in SPARED if column not in same]
    if filters.status is Status.FAILED:
        rest.sort(key="code".__eq__)
    return (*same, *rest)


def _conversation_row(found: Conversation) -> tuple[object, ...]:
    participants = " ".join(found.participants)
    return found.conversation_id, when_about(found.last_message_at_us), found.message_count, participants
