"""What is asked of `message-status`: the status of one message, and lists of messages, newest update first.

A list is read from ranges of an index, each in the order of the list, and merged: all messages are those of every status, a
direction is a set of statuses, a phone number is either end. So whatever is filtered, no query reads more of a table than it
shows, nor sorts it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from sqlalchemy import Connection

from ledger.errors import NotFound
from ledger.events import stream_key
from ledger.facts import partition_of
from ledger.message import Message
from ledger.positions import Position
from ledger.provider import Direction, Status
from ledger.store.driver import Row, fetch, placeholder_of
from projections.checkpoints import Generation, checkpoints_of
from projections.message_status import MESSAGES, decode_message
from projections.page_cursors import AfterMessage, check_limit, read_cursor, write_cursor
from projections.pages import read_page
from projections.projection import indexed
from projections.rows import select_by_key

T = TypeVar("T")
Condition = tuple[str, tuple[object, ...]]

STATUSES_OF = {
    None: tuple(Status),
    Direction.INBOUND: (Status.RECEIVED,),
    Direction.OUTBOUND: (Status.SUBMITTED, Status.ACCEPTED, Status.SENT, Status.DELIVERED, Status.FAILED),
}
"""The statuses that messages of a direction have; `unknown` is of none."""


class MessageStatus(NamedTuple):
    """A message as the read model (or a fold of the log) has it, and the position of its last event there: the ETag."""

    message: Message
    position: Position


class Page(NamedTuple, Generic[T]):
    """Some items of a list, and the cursor of what comes after them (None at the end)."""

    items: list[T]
    next: str | None


@dataclass(frozen=True, slots=True)
class MessageFilters:
    """What `GET /messages` may ask for; None is "any". Times are microseconds since 1970: after is inclusive, before exclusive."""

    status: Status | None = None
    direction: Direction | None = None
    external_reference: str | None = None
    provider_message_ref: str | None = None
    number_id: str | None = None
    phone: str | None = None
    failure_code: str | None = None
    updated_after_us: int | None = None
    updated_before_us: int | None = None

    @property
    def statuses(self) -> tuple[Status, ...]:
        """The statuses that the filters leave."""
        allowed = STATUSES_OF[self.direction]
        return allowed if self.status is None else tuple(each for each in allowed if each is self.status)


def current_status(connection: Connection, generation: Generation, message_id: str, partitions: int) -> MessageStatus:
    """The status of a message, or NotFound."""
    stream = stream_key(message_id)
    partition = partition_of(stream, partitions)
    place = placeholder_of(connection)
    table = MESSAGES.of(generation)
    statement = f"SELECT position, state FROM {table} WHERE partition = {place} AND stream_id = {place}"  # noqa: S608 - no value in it
    found = fetch(connection, statement, (partition, stream))
    if not found:
        raise NotFound(f"nothing is known of message {message_id!r}")
    return MessageStatus(decode_message(found[0][1]), Position(partition, found[0][0]))


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

    def rows_after(last: Row | None, wanted: int) -> list[Row]:
        place, found = _place_of(last) if last else begin, list[Row]()
        while len(found) < wanted:
            asked = wanted - len(found)
            rows = _newest(connection, generation, filters, place, asked)
            found += [row for row in rows if row[1] < len(bounds) and row[2] <= bounds[row[1]]]
            if len(rows) < asked:
                break
            place = _place_of(rows[-1])
        return found

    shown, has_more = read_page(rows_after, limit)
    following = write_cursor(AfterMessage(*_place_of(shown[-1]), bounds)) if has_more else None
    return Page([MessageStatus(decode_message(row[3]), Position(row[1], row[2])) for row in shown], following)


def ranges_of(filters: MessageFilters) -> list[list[Condition]]:
    """The conditions of each range that the list is merged from; the first ones of a range are what its index is by.

    Other filters than those of the index are written as expressions, so that no planner without statistics takes another.
    """
    reference, provider_ref, phone, code, number = map(
        indexed,
        (
            filters.external_reference,
            filters.provider_message_ref,
            filters.phone,
            filters.failure_code,
            filters.number_id,
        ),
    )
    rest: dict[str, Condition] = {
        "external_reference": ("(external_reference || '') = {}", (reference,)),
        "provider_message_ref": ("(provider_message_ref || '') = {}", (provider_ref,)),
        "phone": ("((sender || '') = {} OR (recipient || '') = {})", (phone, phone)),
        "failure_code": ("(failure_code || '') = {}", (code,)),
        "number_id": ("(number_id || '') = {}", (number,)),
        "status": _status_condition(filters.statuses),
    }
    given = {
        "external_reference": reference,
        "provider_message_ref": provider_ref,
        "phone": phone,
        "failure_code": code,
        "number_id": number,
    }
    for name in [name for name, value in given.items() if value is None]:
        del rest[name]
    if len(rest) > 1 and filters.status is None and filters.direction is None:
        del rest["status"]
    if not filters.statuses:
        return []
    driving = next(iter(rest))
    if driving == "number_id":
        rest.pop("status", None)
    others = [condition for name, condition in rest.items() if name != driving]
    match driving:
        case "phone":
            either_end = [
                [("sender = {}", (phone,))],
                [("recipient = {}", (phone,)), ("(sender IS NULL OR (sender || '') <> {})", (phone,))],
            ]
            return [[*end, *others] for end in either_end]
        case "number_id":
            return [
                [("number_id = {}", (number,)), ("status = {}", (each.value,)), *others] for each in filters.statuses
            ]
        case "status":
            return [[("status = {}", (each.value,)), *others] for each in filters.statuses]
        case _:
            return [[(f"{driving} = {{}}", (given[driving],)), *others]]


def statement_of(
    table: str,
    conditions: Iterable[Condition],
    filters: MessageFilters,
    place: tuple[int, ...] | None,
    placeholder: str,
) -> Condition:
    """The statement that reads one range, without its LIMIT's value, and the values of its places."""
    every = list(conditions)
    if filters.updated_after_us is not None:
        every.append(("updated_at_us >= {}", (filters.updated_after_us,)))
    if filters.updated_before_us is not None:
        every.append(("updated_at_us < {}", (filters.updated_before_us,)))
    if place is not None:
        every.append(("(updated_at_us, partition, position) < ({}, {}, {})", place))
    where = " AND ".join(text.replace("{}", placeholder) for text, _ in every)
    statement = (
        f"SELECT updated_at_us, partition, position, state FROM {table} {'WHERE ' + where if where else ''} "  # noqa: S608 - no value in it
        f"ORDER BY updated_at_us DESC, partition DESC, position DESC LIMIT {placeholder}"
    )
    return statement, tuple(value for _, values in every for value in values)


def _newest(
    connection: Connection, generation: Generation, filters: MessageFilters, place: tuple[int, ...] | None, wanted: int
) -> list[Row]:
    found: list[Row] = []
    for conditions in ranges_of(filters):
        statement, values = statement_of(
            MESSAGES.of(generation), conditions, filters, place, placeholder_of(connection)
        )
        found += fetch(connection, statement, (*values, wanted))
    return sorted(found, key=_place_of, reverse=True)[:wanted]


def _place_of(row: Row) -> tuple[int, int, int]:
    return row[0], row[1], row[2]


def _status_condition(statuses: Sequence[Status]) -> Condition:
    places = ", ".join(["{}"] * len(statuses))
    return f"(status || '') IN ({places})", tuple(each.value for each in statuses)
