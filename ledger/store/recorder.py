"""The log behind the eventsourcing library's interfaces: its Application, Repository and EventStore run on it.

One recorder is one partition, because the library's notification ids are one sequence: they are our positions.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn
from uuid import UUID

from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    Notification,
    OperationalError,
    PersistenceError,
    ProgrammingError,
    StoredEvent,
)
from sqlalchemy import Connection, func, select
from sqlalchemy import exc as sql_errors

from ledger.facts import partition_of
from ledger.store.database import Database
from ledger.store.log import Head, LogRow, insert_events, latest_versions, lock_head, row_after
from ledger.store.tables import events


class LogRecorder(ApplicationRecorder):
    """One partition of the log. Appending is durable, gapless and in commit order; a version conflict is IntegrityError.

    ProgrammingError for a stream that belongs to another partition: nobody would look for it in this one.
    """

    first_versions: ClassVar[Collection[int]] = (1,)
    """What a stream may begin with. The library would begin one at 0 as well; read models and `ledger verify` count from 1."""

    def __init__(self, database: Database, partition: int, partitions: int) -> None:
        self._database = database
        self._partition = partition
        self._partitions = partitions

    def insert_events(self, stored_events: Sequence[StoredEvent], **_kwargs: Any) -> Sequence[int]:  # noqa: ANN401
        """Appends events whose versions the caller decided; the positions that they got."""
        with translated_errors(), self._database.writing() as connection:
            head = lock_head(connection, self._partition)
            rows = self._numbered(connection, head, stored_events)
            if rows:
                insert_events(connection, rows)
        return [row.position for row in rows]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The events of one stream, by version."""
        order = events.c.version.desc() if desc else events.c.version
        statement = (
            select(events.c.version, events.c.topic, events.c.state)
            .where(events.c.partition == self._partition, events.c.stream_id == stream_bytes(originator_id))
            .order_by(order)
            .limit(limit)
        )
        statement = statement if gt is None else statement.where(events.c.version > gt)
        statement = statement if lte is None else statement.where(events.c.version <= lte)
        with translated_errors(), self._database.reading() as connection:
            found = connection.execute(statement).all()
        return [StoredEvent(originator_id, row.version, row.topic, bytes(row.state)) for row in found]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Events by position; `limit` bounds how many."""
        after = (start or 0) - 1 if inclusive_of_start else (start or 0)
        statement = (
            select(events)
            .where(events.c.partition == self._partition, events.c.position > after)
            .order_by(events.c.position)
            .limit(limit)
        )
        statement = statement if stop is None else statement.where(events.c.position <= stop)
        statement = statement if not topics else statement.where(events.c.topic.in_(topics))
        with translated_errors(), self._database.reading() as connection:
            return [_notification(LogRow(*row)) for row in connection.execute(statement)]

    def max_notification_id(self) -> int | None:
        """The last position, or None before the first event."""
        with translated_errors(), self._database.reading() as connection:
            last = select(func.max(events.c.position)).where(events.c.partition == self._partition)
            position: int | None = connection.execute(last).scalar_one()
        return position

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> NoReturn:
        """Not offered: pull with `select_notifications`, or follow `GET /feed/stream`."""
        raise NotImplementedError(
            f"pull with select_notifications(start={gt}, topics={list(topics)}) instead of subscribing"
        )

    def _numbered(self, connection: Connection, head: Head, stored_events: Sequence[StoredEvent]) -> list[LogRow]:
        streams = {stream_bytes(each.originator_id) for each in stored_events}
        for stream in streams:
            self._expect_at_home(stream)
        versions = latest_versions(connection, self._partition, streams)
        rows: list[LogRow] = []
        for each in stored_events:
            stream = stream_bytes(each.originator_id)
            self._expect_next(each, versions.get(stream))
            versions[stream] = each.originator_version
            rows.append(row_after(head, self._partition, stream, each.originator_version, each.topic, None, each.state))
            head = Head(rows[-1].position, rows[-1].hash)
        return rows

    def _expect_at_home(self, stream: bytes) -> None:
        home = partition_of(stream, self._partitions)
        if home != self._partition:
            raise ProgrammingError(
                f"stream {UUID(bytes=stream)} belongs to partition {home}, and this recorder is of partition"
                f" {self._partition}: take that of `Ledger.recorder(message_id)`"
            )

    def _expect_next(self, event: StoredEvent, latest: int | None) -> None:
        expected = self.first_versions if latest is None else (latest + 1,)
        if event.originator_version not in expected:
            raise IntegrityError(
                f"stream {event.originator_id}: expected version {max(expected)} next, got {event.originator_version}"
            )


def stream_bytes(originator_id: UUID | str) -> bytes:
    """The stored form of a stream's id."""
    return (originator_id if isinstance(originator_id, UUID) else UUID(originator_id)).bytes


@contextmanager
def translated_errors() -> Iterator[None]:
    """Database errors as the library's own classes."""
    try:
        yield
    except sql_errors.IntegrityError as error:
        raise IntegrityError(str(error.orig)) from error
    except sql_errors.OperationalError as error:
        raise OperationalError(str(error.orig)) from error
    except sql_errors.SQLAlchemyError as error:
        raise PersistenceError(type(error).__name__) from error


def _notification(row: LogRow) -> Notification:
    return Notification(UUID(bytes=bytes(row.stream_id)), row.version, row.topic, bytes(row.state), row.position)
