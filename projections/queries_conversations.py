"""What is asked of `inbound-conversations`: one conversation, lists of them, and the messages of one."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from ledger.errors import NotFound, UnreadableBody
from ledger.facts import partition_of
from ledger.json_values import parse_object
from ledger.positions import Position
from ledger.store.driver import Row, fetch, placeholder_of
from projections.checkpoints import Generation
from projections.inbound_conversations import (
    CONVERSATIONS,
    MESSAGES,
    PARTICIPANTS,
    Summary,
    conversation_key,
    decode_entry,
    decode_summary,
)
from projections.page_cursors import AfterConversation, AfterConversationMessage, check_limit, read_cursor, write_cursor
from projections.pages import read_page
from projections.projection import indexed
from projections.queries_messages import Page


class Conversation(NamedTuple):
    """A conversation; `position` is that of the message that was received last. Times are microseconds since 1970."""

    conversation_id: str
    number_id: str | None
    participants: tuple[str, ...]
    message_count: int
    first_message_at_us: int
    last_message_at_us: int
    position: Position


class Said(msgspec.Struct, frozen=True):
    """What an inbound webhook's body tells besides what an entry holds."""

    body: object = None
    media: object = None


_said = msgspec.json.Decoder(Said).decode


class ConversationMessage(NamedTuple):
    """One message of a conversation; `body` and `media` as the provider sent them, any JSON value."""

    message_id: str
    sender: str | None
    recipient: str | None
    body: object
    media: object
    occurred_at_us: int | None
    received_at_us: int
    position: Position


def conversation(connection: Connection, generation: Generation, conversation_id: str, partitions: int) -> Conversation:
    """One conversation, or NotFound."""
    key = conversation_key(conversation_id)
    place = placeholder_of(connection)
    table = CONVERSATIONS.of(generation)
    statement = f"SELECT summary FROM {table} WHERE partition = {place} AND conversation_key = {place}"  # noqa: S608 - no value in it
    found = fetch(connection, statement, (partition_of(key, partitions), key))
    if not found:
        raise NotFound(f"there is no conversation {conversation_id[:128]!r}")
    return conversation_of(decode_summary(found[0][0]))


def conversation_of(summary: Summary) -> Conversation:
    """A conversation as people see it."""
    last = summary.received_last
    return Conversation(
        summary.conversation_id,
        summary.first_number[1] if summary.first_number else None,
        summary.participants,
        summary.message_count,
        summary.first_at_us,
        summary.last_at_us,
        Position(last.partition, last.number),
    )


def conversations(
    connection: Connection,
    generation: Generation,
    *,
    number_id: str | None,
    participant: str | None,
    cursor: str | None,
    limit: int,
) -> Page[Conversation]:
    """A page of conversations, latest message first. The time of a latest message only grows, so nothing appears twice."""
    check_limit(limit)
    begin = read_cursor(cursor, AfterConversation)

    def rows_after(last: Row | None, wanted: int) -> list[Row]:
        after = _after_conversation(last) if last else begin
        statement, values = conversations_statement(
            generation,
            number_id=number_id,
            participant=participant,
            after=after,
            placeholder=placeholder_of(connection),
        )
        return fetch(connection, statement, (*values, wanted))

    shown, has_more = read_page(rows_after, limit)
    following = write_cursor(_after_conversation(shown[-1])) if has_more else None
    return Page([conversation_of(decode_summary(row[2])) for row in shown], following)


def conversations_statement(
    generation: Generation,
    *,
    number_id: str | None,
    participant: str | None,
    after: AfterConversation | None,
    placeholder: str,
) -> tuple[str, Row]:
    """The statement of a page, without its LIMIT's value, and the values of its places."""
    conversations_table = CONVERSATIONS.of(generation)
    conditions: list[tuple[str, Row]] = []
    if participant is None:
        source, ordered = conversations_table + " c", "c"
        if number_id is not None:
            conditions.append(("c.number_id = {}", (indexed(number_id),)))
    else:
        # CROSS JOIN keeps SQLite's planner from beginning with the other table.
        source, ordered = f"{PARTICIPANTS.of(generation)} p CROSS JOIN {conversations_table} c", "p"
        conditions.append(("p.participant = {}", (indexed(participant),)))
        conditions.append(("c.partition = p.partition AND c.conversation_key = p.conversation_key", ()))
        if number_id is not None:
            conditions.append(("(c.number_id || '') = {}", (indexed(number_id),)))
    if after is not None:
        place = f"({ordered}.last_message_at_us, {ordered}.conversation_key) < ({{}}, {{}})"
        conditions.append((place, (after.last_message_at_us, after.key)))
    where = " AND ".join(text.replace("{}", placeholder) for text, _ in conditions)
    statement = (
        f"SELECT {ordered}.last_message_at_us, {ordered}.conversation_key, c.summary FROM {source} "  # noqa: S608 - no value in it
        f"{'WHERE ' + where if where else ''} "
        f"ORDER BY {ordered}.last_message_at_us DESC, {ordered}.conversation_key DESC LIMIT {placeholder}"
    )
    return statement, tuple(value for _, values in conditions for value in values)


def conversation_messages(
    connection: Connection, generation: Generation, conversation_id: str, *, cursor: str | None, limit: int
) -> Page[ConversationMessage]:
    """A page of a conversation's messages, oldest first; empty where there is no such conversation."""
    check_limit(limit)
    begin = read_cursor(cursor, AfterConversationMessage)
    key = conversation_key(conversation_id)

    def rows_after(last: Row | None, wanted: int) -> list[Row]:
        after = AfterConversationMessage(*last[:3]) if last else begin
        statement, values = conversation_messages_statement(generation, key, after, placeholder_of(connection))
        return fetch(connection, statement, (*values, wanted))

    shown, has_more = read_page(rows_after, limit)
    following = write_cursor(AfterConversationMessage(*shown[-1][:3])) if has_more else None
    return Page([_conversation_message(row) for row in shown], following)


def our_numbers(
    connection: Connection, generation: Generation, conversation_ids: Sequence[str]
) -> Mapping[str, str | None]:
    """The number of each conversation that is ours: the one that its first message was written to."""
    numbers: dict[str, str | None] = {}
    for conversation_id in conversation_ids:
        key = conversation_key(conversation_id)
        statement, values = conversation_messages_statement(generation, key, None, placeholder_of(connection))
        for *_, entry in fetch(connection, statement, (*values, 1)):
            numbers[conversation_id] = decode_entry(entry).recipient
    return numbers


def conversation_messages_statement(
    generation: Generation, key: bytes, after: AfterConversationMessage | None, placeholder: str
) -> tuple[str, Row]:
    """The statement of a page, without its LIMIT's value, and the values of its places."""
    conditions = [f"conversation_key = {placeholder}"]
    values: Row = (key,)
    if after is not None:
        conditions.append(f"(ordered_at_us, partition, position) > ({placeholder}, {placeholder}, {placeholder})")
        values = (*values, after.ordered_at_us, after.partition, after.position)
    statement = (
        f"SELECT ordered_at_us, partition, position, message_id, entry FROM {MESSAGES.of(generation)} "  # noqa: S608 - no value in it
        f"WHERE {' AND '.join(conditions)} ORDER BY ordered_at_us, partition, position LIMIT {placeholder}"
    )
    return statement, values


def _after_conversation(row: Row) -> AfterConversation:
    return AfterConversation(row[0], bytes(row[1]))


def _conversation_message(row: Row) -> ConversationMessage:
    entry = decode_entry(row[4])
    said = said_in(entry.raw)
    return ConversationMessage(
        row[3],
        entry.sender,
        entry.recipient,
        said.body,
        said.media,
        entry.occurred_at_us,
        entry.received_at_us,
        Position(row[1], row[2]),
    )


def said_in(raw: bytes) -> Said:
    """What a body says, which was read by `parse_object` when it was received: the same values, in a tenth of the time."""
    try:
        return _said(raw)
    except msgspec.MsgspecError:  # text that is half of a surrogate pair, for one: no encoder but Python's own takes it
        return _said_by_python(raw)


def _said_by_python(raw: bytes) -> Said:
    try:
        members = parse_object(raw)
    except UnreadableBody:
        return Said()  # written by a program of its own, not received by us; the exact bytes are in the history
    return Said(members.get("body"), members.get("media"))
