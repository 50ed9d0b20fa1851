"""One `INSERT … ON CONFLICT DO NOTHING` and one commit for each webhook, through SQLAlchemy Core."""

import os
from typing import Any

from sqlalchemy import BigInteger, Column, Engine, Integer, LargeBinary, MetaData, Table, Text, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from starlette.types import ASGIApp

from ledger.store.sqlite import SQLITE
from ledger.webhooks import Webhook
from tests.benchmarks.rivals.threads import THREADS, in_thread
from tests.benchmarks.rivals.webhook_route import application

metadata = MetaData()
webhooks = Table(
    "webhooks",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("fact_key", LargeBinary, unique=True, nullable=False),
    Column("message_id", Text, index=True, nullable=False),
    Column("kind", Text, nullable=False),
    Column("sequence", BigInteger),
    Column("body", LargeBinary, nullable=False),
)


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_size=THREADS, max_overflow=0)
    # The same SQLite and the same promise as the ledger's: WAL, on disk before the answer.
    engine = create_engine(
        url, module=SQLITE, pool_size=THREADS, max_overflow=0, connect_args={"check_same_thread": False, "timeout": 30}
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection has no type
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def create_app() -> ASGIApp:
    """The application."""
    engine = _engine(os.environ["DATABASE_URL"])
    metadata.create_all(engine)
    inserting = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    statement = inserting(webhooks).on_conflict_do_nothing(index_elements=["fact_key"]).returning(webhooks.c.id)

    def insert(values: dict[str, object]) -> bool:
        with engine.begin() as connection:
            return connection.execute(statement, values).first() is not None

    async def record(webhook: Webhook, body: bytes) -> bool:
        values = {
            "fact_key": webhook.fact_key,
            "message_id": webhook.message_id,
            "kind": webhook.event_type,
            "sequence": webhook.sequence,
            "body": body,
        }
        return await in_thread(insert, values)

    return application(record)
