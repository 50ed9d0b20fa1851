"""Whether the read models are what a fresh fold of the log gives: by the rule itself, and by a rebuild from nothing."""

import time
from collections import defaultdict
from typing import Any

from sqlalchemy import Connection

from ledger.ledger import Ledger
from ledger.message import fold
from ledger.store import reads
from ledger.store.database import Database
from ledger.store.driver import Row, fetch
from projections.checkpoints import Generation
from projections.inbound_conversations import InboundConversationsProjection
from projections.message_status import COLUMNS, MESSAGE_STATUS, MESSAGES, MessageStatusProjection, row_of
from projections.projection import Projection
from projections.read_models import ReadModels, read_models_url
from projections.register import live

CATCHES_UP_WITHIN_S = 30.0
PAGE = 1_000


def read_model_violations(ledger: Ledger, *, rebuilding: bool = False) -> list[str]:
    """Catches the read models up, and compares them with the log; `rebuilding` also with what a rebuild makes."""
    with ReadModels.open(ledger) as models:
        models.catch_up()
        return compared(ledger, models, rebuilding=rebuilding)


def served_read_model_violations(ledger: Ledger, *, rebuilding: bool = False) -> list[str]:
    """The same beside a running server, which must catch up by itself."""
    with ReadModels.open(ledger) as models:
        deadline_s = time.monotonic() + CATCHES_UP_WITHIN_S
        while behind := [each for each in models.projections() if each.lag_events or each.parked]:
            if time.monotonic() > deadline_s:
                return [f"READ MODEL: {each.name} does not catch up: {each}" for each in behind]
            time.sleep(0.02)
        return compared(ledger, models, rebuilding=rebuilding)


def compared(ledger: Ledger, models: ReadModels, *, rebuilding: bool) -> list[str]:
    """Where read models that have caught up are not what the log says."""
    found = _unlike_the_fold(ledger)
    for projection in (MessageStatusProjection(), InboundConversationsProjection(ledger.partitions)):
        if rebuilding:
            before = rows_of(ledger, projection)
            models.claim_rebuild(projection.name).run()
            if rows_of(ledger, projection) != before:
                found.append(f"READ MODEL: a rebuild of {projection.name} gives other rows")
    return found


def rows_of(ledger: Ledger, projection: Projection) -> dict[str, list[Row]]:
    """Every row of the live generation, by table."""
    database = Database(read_models_url(ledger.database.url).render_as_string(hide_password=False), durable=False)
    try:
        with database.reading() as connection:
            generation = live(connection, projection.name).generation
            return {kind.name: _rows(connection, kind, generation) for kind in projection.tables}
    finally:
        database.close()


def _rows(connection: Connection, kind: Any, generation: Generation) -> list[Row]:  # noqa: ANN401 - any table kind
    columns = ", ".join(kind.columns)
    statement = f"SELECT {columns} FROM {kind.of(generation)} ORDER BY {columns}"  # noqa: S608 - no value in it
    return [_plain(row) for row in fetch(connection, statement, ())]


def _plain(row: Row) -> Row:
    return tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)


def _unlike_the_fold(ledger: Ledger) -> list[str]:
    """Messages whose row is not that of a fold of all their events."""
    expected = sorted(_folded(ledger))
    found = rows_of(ledger, MessageStatusProjection())[MESSAGES.name]
    if sorted(found) == expected:
        return []
    unlike = [row for row in found if row not in expected] or [row for row in expected if row not in found]
    name = COLUMNS.index("message_id")
    return [f"READ MODEL: {MESSAGE_STATUS} has {len(found)} rows, the fold {len(expected)}; unlike: {unlike[0][name]}"]


def _folded(ledger: Ledger) -> list[Row]:
    rows: list[Row] = []
    for partition in range(ledger.partitions):
        events = defaultdict(list)
        last: dict[bytes, int] = {}
        after = 0
        while True:
            with ledger.database.reading() as connection:
                page = reads.events_after(connection, partition, after, PAGE)
            if not page:
                break
            for row in page:
                stream = bytes(row.stream_id)
                events[stream].append(ledger.codec.decode(row.topic, row.state))
                last[stream] = after = row.position
        rows += [row_of(partition, stream, last[stream], fold(each)) for stream, each in events.items()]
    return rows
