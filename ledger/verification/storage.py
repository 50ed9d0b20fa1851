"""Whether the database itself is whole: the parts of it that a walk along the events does not touch."""

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SQLAlchemyError

from ledger.store.database import Database
from ledger.store.tables import events
from ledger.verification.findings import RESTORE, Finding
from ledger.verification.partition_walk import cannot_be_read

DAMAGES_TOLD_MAX = 5


def damages(database: Database) -> list[Finding]:
    """What SQLite says of damaged pages, and the indices of the log that are gone: they keep a fact from being stored twice."""
    try:
        with database.reading() as connection:
            pages = damaged_pages(connection) if database.is_sqlite else []
            return [*pages, *_missing_indices(connection)]
    except SQLAlchemyError as error:
        return [Finding(None, cannot_be_read(error))]


def damaged_pages(connection: Connection) -> list[Finding]:
    """What SQLite says of damaged pages, and of entries that an index lacks: what is looked for there would not be found."""
    told = connection.exec_driver_sql(f"PRAGMA integrity_check({DAMAGES_TOLD_MAX})").scalars().all()
    return [Finding(None, f"the file is damaged: {words}; {RESTORE}") for words in told if words != "ok"]


def _missing_indices(connection: Connection) -> list[Finding]:
    held = {index["name"] for index in inspect(connection).get_indexes(events.name) if index["unique"]}
    missing = sorted(str(index.name) for index in events.indexes if index.name not in held)
    return [Finding(None, f"the unique index {name} of the log is gone; {RESTORE}") for name in missing]
