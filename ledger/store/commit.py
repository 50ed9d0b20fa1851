"""One commit: whatever waits becomes durable in one transaction, and only then is any of it answered."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ledger.errors import StoreUnavailable
from ledger.facts import Fact, Item, Outcome, Send, UnreadableDelivery
from ledger.store import registers
from ledger.store.database import Database
from ledger.store.driver import said
from ledger.store.log import append, lock_head, lock_heads

T = TypeVar("T")


def commit(database: Database, items: Sequence[Item]) -> list[Outcome]:
    """The outcome of each item, in order, once all of them are on disk; StoreUnavailable where none is known to be.

    Where the end of a transaction was not learnt, the append finds under its lock what the first try stored, so nothing is
    stored twice, whichever way the first try ended.
    """
    return durably(database, lambda again: _commit(database, items, again=again))


class Readable(NamedTuple):
    """A delivery in quarantine, by its id and partition, that can be read by now: as the fact that it is."""

    quarantine_id: bytes
    partition: int
    fact: Fact


def replay(database: Database, deliveries: Sequence[Readable], replayed_at_us: int) -> int:
    """Records what was in quarantine, and notes there that it is; how many of them nobody had replayed before. StoreUnavailable."""
    return durably(database, lambda again: _replay(database, deliveries, replayed_at_us, again=again))


def durably(database: Database, transaction: Callable[[bool], T]) -> T:
    """What a transaction gives, once it is on disk; StoreUnavailable where it is not known to be.

    One whose end we did not learn is tried once more on a new connection, and is told so (`again`).
    """
    try:
        return transaction(False)  # noqa: FBT003 - a Callable names no parameters
    except SQLAlchemyError as error:
        if not _worth_another_try(error):
            database.after_failure(error)
            raise StoreUnavailable(f"the database refused a commit: {said(error)}") from error
    try:
        return transaction(True)  # noqa: FBT003 - as above
    except SQLAlchemyError as error:
        database.after_failure(error)
        raise StoreUnavailable(f"the database refused a commit twice: {said(error)}") from error


def _commit(database: Database, items: Sequence[Item], *, again: bool) -> list[Outcome]:
    with database.writing() as connection:
        facts = [item for item in items if isinstance(item, Fact)]
        heads = lock_heads(connection, {item.partition for item in items})
        placed = iter(append(connection, heads, facts, again=again) if facts else ())
        return [next(placed) if isinstance(item, Fact) else _keep(connection, item, again=again) for item in items]


def _replay(database: Database, deliveries: Sequence[Readable], replayed_at_us: int, *, again: bool) -> int:
    facts = [each.fact for each in deliveries]
    homes = sorted({each.partition for each in facts} | {each.partition for each in deliveries})
    with database.writing() as connection:
        # A partition at a time: a distributed PostgreSQL locks and asks no rows of several machines in one statement.
        heads = {partition: lock_head(connection, partition) for partition in homes}
        for partition in homes:
            append(connection, heads, [fact for fact in facts if fact.partition == partition], again=again)
        return sum(
            registers.mark_replayed(connection, each.partition, each.quarantine_id, replayed_at_us, again=again)
            for each in deliveries
        )


def _keep(connection: Connection, item: UnreadableDelivery | Send, *, again: bool) -> Outcome:
    match item:
        case UnreadableDelivery():
            return registers.keep_unreadable(connection, item, again=again)
        case Send():
            return registers.register_send(connection, item, again=again)


def _worth_another_try(error: SQLAlchemyError) -> bool:
    """A lost connection or a deadlock: both may succeed at once on a new transaction."""
    return isinstance(error, DBAPIError) and (error.connection_invalidated or _sqlstate(error).startswith("40"))


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")
