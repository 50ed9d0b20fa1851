"""How many: counts of messages that stay cheap whatever the table holds, because each stops at a bound.

A count reads one range of an index, and never more of it than `at_most`; whoever shows it says "1,000 or more".
"""

from typing import NamedTuple

from sqlalchemy import Connection

from ledger.provider import Status
from ledger.store.driver import fetch, placeholder_of
from projections.checkpoints import Generation
from projections.message_ranges import UNSORTED, MessageFilters, count_statement_of, ranges_of
from projections.message_status import MESSAGES

FEW = 2_000
"""So many messages are looked through in a few milliseconds."""


class FailureGroup(NamedTuple):
    """Failed messages with the same code (None: the provider told none), and when the latest was updated."""

    failure_code: str | None
    messages: int
    latest_us: int


class Failures(NamedTuple):
    """Failed messages by code, the most frequent first. `looked_at` messages were counted, the newest ones."""

    groups: list[FailureGroup]
    looked_at: int


def count_messages(connection: Connection, generation: Generation, filters: MessageFilters, *, at_most: int) -> int:
    """How many messages there are, but at most `at_most`."""
    table, place, counted = MESSAGES.of(generation), placeholder_of(connection), 0
    for conditions in ranges_of(filters):
        statement, values = count_statement_of(table, conditions, filters, place)
        ((some,),) = fetch(connection, statement, (*values, at_most - counted))
        counted += some
        if counted >= at_most:
            break
    return counted


def narrowest(connection: Connection, generation: Generation, filters: MessageFilters, *, few: int = FEW) -> str | None:
    """Of several filters the first that few messages match, to read a list by; None: the usual one will do.

    What a reference of the provider's names is sorted, so it has to be few as well.
    """
    alone = filters.each_alone
    if len(alone) > 1 or UNSORTED in alone:
        for name, each in alone.items():
            if count_messages(connection, generation, each, at_most=few) < few:
                return name
    return "status" if next(iter(alone), None) == UNSORTED else None


def failures_by_code(
    connection: Connection, generation: Generation, *, updated_after_us: int, look_at_most: int
) -> Failures:
    """Failed messages updated since then, by code; of very many, the newest `look_at_most`."""
    place = placeholder_of(connection)
    statement = (
        f"SELECT failure_code, count(*), max(updated_at_us) FROM (SELECT failure_code, updated_at_us "  # noqa: S608 - no value in it
        f"FROM {MESSAGES.of(generation)} WHERE status = {place} AND updated_at_us >= {place} "
        f"ORDER BY updated_at_us DESC, partition DESC, position DESC LIMIT {place}) AS newest "
        f"GROUP BY failure_code ORDER BY 2 DESC, 3 DESC"
    )
    found = fetch(connection, statement, (Status.FAILED.value, updated_after_us, look_at_most))
    groups = [FailureGroup(*row) for row in found]
    return Failures(groups, sum(group.messages for group in groups))
