"""Ledgers as an older, or a newer, version of the program would have left them."""

from sqlalchemy import text

from ledger.store.database import Database


def set_version(url: str, to: str) -> None:
    database = Database(url)
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": to})
    database.close()


def to_the_first_schema(url: str) -> None:
    """What the first version made of the indices."""
    database = Database(url)
    with database.writing() as connection:
        for statement in (
            "DROP INDEX quarantine_by_time",
            "DROP INDEX events_by_fact",
            "DROP INDEX events_by_stream",
            "CREATE UNIQUE INDEX events_by_stream ON events (stream_id, version, partition)",
            "CREATE UNIQUE INDEX events_by_fact ON events (fact_key, partition)",
        ):
            connection.execute(text(statement))
    database.close()
    set_version(url, "0001")
