"""What is asked of `message-status`: the status of one message, and lists of messages, newest update first.

What a list is read from is decided in `message_ranges.py`.
"""

from collections.abc import Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from sqlalchemy import Connection

from ledger.events import stream_key
from ledger.facts import partition_of
from ledger.message import Message
from ledger.positions import Position
from ledger.store.driver import Row, fetch, placeholder_of
from projections.checkpoints import Generation, checkpoints_of
from projections.message_ranges import Condition, MessageFilters, merged, ranges_of, statement_of
from projections.message_status import MESSAGES, decode_message
from projections.page_cursors import AfterMessage, check_limit, read_cursor, write_cursor
from projections.pages import read_page
from projections.queries_counts import narrowest
from projections.rows import select_by_key

T = TypeVar("T")


class MessageStatus(NamedTuple):
    """A message as the read model (or a fold of the log) has it, and the position of its last event there: the ETag.

    `parked_from`: what it is without, because the event there could not be folded; only `status_now` tells it.
    """

    message: Message
    position: Position
    parked_from: Position | None = None


class Page(NamedTuple, Generic[T]):
    """Some items of a list, and the cursor of what comes after them (None at the end)."""

    items: list[T]
    next: str | None


def held_status(
    connection: Connection, generation: Generation, message_id: str, partitions: int
) -> MessageStatus | None:
    """What the read model has of a message; None where it has not come to it, or cannot."""
    return current_statuses(connection, generation, [message_id], partitions).get(message_id)


def current_statuses(
    connection: Connection, generation: Generation, message_ids: Iterable[str], partitions: int
) -> dict[str, MessageStatus]:
    """The statuses of many messages, by id; what nothing is known of is left out."""
    streams: dict[int, list[bytes]] = {}
    for message_id in message_ids:
        stream = stream_key(message_id)
        streams.setdefault(partition_of(stream, partitions), []).append(stream)
    found: dict[str, MessageStatus] = {}
    for partition, some in streams.items():
        for position, state in select_by_key(
            connection, MESSAGES.of(generation), ("position", "state"), "stream_id", partition, some
        ):
            message = decode_message(state)
            found[message.message_id] = MessageStatus(message, Position(partition, position))
    return found


def messages(
    connection: Connection, generation: Generation, filters: MessageFilters, *, cursor: str | None, limit: int
) -> Page[MessageStatus]:
    """A page of messages. What is not updated while it is paged appears once; what is updated, at most once."""
    check_limit(limit)
    after = read_cursor(cursor, AfterMessage)
    bounds = after.bounds if after else tuple(each.position for each in checkpoints_of(connection, generation))
    begin = (after.updated_at_us, after.partition, after.position) if after else None
    ranges = ranges_of(filters, narrowest(connection, generation, filters))

    def rows_after(last: Row | None, wanted: int) -> list[Row]:
        place, found = _place_of(last) if last else begin, list[Row]()
        while len(found) < wanted:
            asked = wanted - len(found)
            rows = _newest(connection, generation, filters, ranges, place, asked)
            found += [row for row in rows if row[1] < len(bounds) and row[2] <= bounds[row[1]]]
            if len(rows) < asked:
                break
            place = _place_of(rows[-1])
        return found

    shown, has_more = read_page(rows_after, limit)
    following = write_cursor(AfterMessage(*_place_of(shown[-1]), bounds)) if has_more else None
    return Page([MessageStatus(decode_message(row[3]), Position(row[1], row[2])) for row in shown], following)


def _newest(
    connection: Connection,
    generation: Generation,
    filters: MessageFilters,
    ranges: Sequence[Sequence[Condition]],
    place: tuple[int, ...] | None,
    wanted: int,
) -> list[Row]:
    if not ranges:
        return []
    table, placeholder = MESSAGES.of(generation), placeholder_of(connection)
    statements = [statement_of(table, conditions, filters, place, placeholder) for conditions in ranges]
    found = fetch(connection, *merged([(text, (*values, wanted)) for text, values in statements]))
    return sorted(found, key=_place_of, reverse=True)[:wanted]


def _place_of(row: Row) -> tuple[int, int, int]:
    return row[0], row[1], row[2]
