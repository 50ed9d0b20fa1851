"""The library's own way to a read model: a `Projection` that a `ProjectionRunner` feeds, event by event.

Run as a program it projects everything that `textbook.Messages` recorded, and prints events and seconds as JSON. As the
runner cannot follow SQLite (its recorder has no subscription), there the same is done with `select_notifications`.
"""

import json
import os
import sys
import time
from typing import Any
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import InfrastructureFactory, Tracking, TrackingRecorder
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.sqlite import SQLiteTrackingRecorder
from eventsourcing.utils import Environment
from psycopg.sql import SQL

from ledger.webhooks import parse
from tests.benchmarks.filled import past
from tests.benchmarks.rivals.textbook import Message, Messages

PAGE = 500
WAIT_S = 600.0


class StatusView(TrackingRecorder):
    """The status of every message."""

    def put(self, stream: UUID, kind: str, sequence: int, tracking: Tracking) -> None:
        """Writes a status, if it is newer, and the tracking, in one transaction."""
        raise NotImplementedError


class PostgresStatusView(PostgresTrackingRecorder, StatusView):
    """On PostgreSQL."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - as the library has it
        super().__init__(*arguments, **named)
        self.sql_create_statements.append(
            SQL("CREATE TABLE IF NOT EXISTS status (stream uuid PRIMARY KEY, kind text, sequence bigint)").format()
        )

    def put(self, stream: UUID, kind: str, sequence: int, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(
                "INSERT INTO status VALUES (%s, %s, %s) ON CONFLICT (stream) DO UPDATE SET kind = excluded.kind, "
                "sequence = excluded.sequence WHERE status.sequence < excluded.sequence",
                (stream, kind, sequence),
                prepare=True,
            )
            self._insert_tracking(cursor, tracking)


class SQLiteStatusView(SQLiteTrackingRecorder, StatusView):
    """On SQLite."""

    def construct_create_table_statements(self) -> list[str]:
        table = "CREATE TABLE IF NOT EXISTS status (stream TEXT PRIMARY KEY, kind TEXT, sequence INTEGER)"
        return [*super().construct_create_table_statements(), table]

    def put(self, stream: UUID, kind: str, sequence: int, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(
                "INSERT INTO status VALUES (?, ?, ?) ON CONFLICT (stream) DO UPDATE SET kind = excluded.kind, "
                "sequence = excluded.sequence WHERE status.sequence < excluded.sequence",
                (stream.hex, kind, sequence),
            )
            self._insert_tracking(cursor, tracking)


class MessageStatus(Projection[StatusView]):
    """Puts what each event reports."""

    def process_event(self, domain_event: DomainEventProtocol[UUID], tracking: Tracking) -> None:
        if isinstance(domain_event, Message.Reported):  # type: ignore[attr-defined]
            self.view.put(domain_event.originator_id, domain_event.kind, domain_event.sequence, tracking)
        else:
            self.view.insert_tracking(tracking)


def on_postgres() -> int:
    """Runs the runner until it has everything; how many events these were."""
    with ProjectionRunner(
        application_class=Messages, projection_class=MessageStatus, view_class=PostgresStatusView
    ) as runner:
        last = runner.app.recorder.max_notification_id() or 0
        runner.wait(last, timeout=WAIT_S)
    return last


def on_sqlite() -> int:
    """Does what the runner does; how many events these were."""
    messages = Messages()
    factory = InfrastructureFactory[SQLiteStatusView].construct(Environment("MessageStatus", dict(os.environ)))
    projection = MessageStatus(factory.tracking_recorder(SQLiteStatusView))
    done = 0
    while page := messages.recorder.select_notifications(start=done, limit=PAGE, inclusive_of_start=False):
        for notification in page:
            event = messages.mapper.to_domain_event(notification)
            projection.process_event(event, Tracking(messages.name, notification.id))
            done = notification.id
    return done


def record(facts: int) -> None:
    """Records so many facts, before the clock starts."""
    messages = Messages()
    for body, _ in zip(past(), range(facts), strict=False):
        messages.record(parse(body), body)
    messages.close()


def main() -> None:
    """Records, projects, prints."""
    record(int(sys.argv[1]))
    began_s = time.perf_counter()
    events = on_sqlite() if "sqlite" in os.environ["PERSISTENCE_MODULE"] else on_postgres()
    print(json.dumps({"events": events, "seconds": time.perf_counter() - began_s}))  # noqa: T201 - read by the benchmark


if __name__ == "__main__":
    main()
