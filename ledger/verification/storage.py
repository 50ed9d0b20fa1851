"""Whether the database itself is whole: the parts of it that a walk along the events does not touch."""

from collections.abc import Mapping

from sqlalchemy import Connection, Index, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex

from ledger.store.database import Database
from ledger.store.sqlite import damages_in
from ledger.store.tables import events, metadata
from ledger.verification.findings import RESTORE, Finding
from ledger.verification.partition_walk import cannot_be_read

DAMAGES_TOLD_MAX = 5
FIND_OUT = "find out who did that, and what else"
CHECK_CACHE_KIB = 65_536
"""SQLite looks each row up in each index, all over them: a reader's usual cache would have it read pages again and again."""


def damages(database: Database) -> list[Finding]:
    """What SQLite says of damaged pages, the indices of the log that are gone (by them an append knows what is there), strangers."""
    try:
        with database.reading() as connection:
            pages = damaged_pages(connection) if database.is_sqlite else []
            return [*pages, *_missing_indices(connection), *strangers(connection)]
    except SQLAlchemyError as error:
        return [Finding(None, cannot_be_read(error))]


def damaged_pages(connection: Connection) -> list[Finding]:
    """What SQLite says of damaged pages, and of entries that an index lacks: what is looked for there would not be found."""
    usual = connection.exec_driver_sql("PRAGMA cache_size").scalar_one()
    connection.exec_driver_sql(f"PRAGMA cache_size=-{CHECK_CACHE_KIB}")
    told = connection.exec_driver_sql(f"PRAGMA integrity_check({DAMAGES_TOLD_MAX})").scalars().all()
    connection.exec_driver_sql(f"PRAGMA cache_size={usual}")
    return [Finding(None, f"the file is damaged: {words}; {RESTORE}") for words in damages_in(told)[:DAMAGES_TOLD_MAX]]


def _missing_indices(connection: Connection) -> list[Finding]:
    held = {
        (
            index["name"],
            bool(index["unique"]),
            tuple(index["column_names"]),
            _condition(index.get("dialect_options", {})),
        )
        for index in inspect(connection).get_indexes(events.name)
    }
    return [
        Finding(
            None,
            f"the index {index.name} of the log is gone, or is another; {FIND_OUT}, and {_make_again(connection, index)}",
        )
        for index in sorted(events.indexes, key=lambda index: str(index.name))
        if (index.name, bool(index.unique), tuple(index.columns.keys()), _condition(index.dialect_kwargs)) not in held
    ]


def _condition(options: Mapping[str, object]) -> str:
    """What an index of some rows alone says of them."""
    return next((str(said).strip("()") for name, said in options.items() if name.endswith("_where")), "")


def _make_again(connection: Connection, index: Index) -> str:
    statement = " ".join(str(CreateIndex(index).compile(dialect=connection.dialect)).split())
    return f"make it again while no server runs: {statement}"


def strangers(connection: Connection) -> list[Finding]:
    """Triggers, rules and views: the ledger makes none, and they change or hide what is stored without leaving a trace in it."""
    statement = _STRANGERS_OF_SQLITE if connection.dialect.name == "sqlite" else _STRANGERS_OF_POSTGRESQL
    found = connection.exec_driver_sql(statement).all()
    return [
        Finding(None, f"the {kind} {name} on {table} is not the ledger's: {FIND_OUT}; {RESTORE}")
        for kind, name, table in found
    ]


_STRANGERS_OF_SQLITE = (
    "SELECT type, name, tbl_name FROM sqlite_schema WHERE type IN ('trigger', 'view') ORDER BY type, name LIMIT 20"
)
# Other views beside the tables hide nothing: an extension may have some there, and so may who reports from the ledger.
_STRANGERS_OF_POSTGRESQL = f"""
    SELECT 'trigger', tgname, relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
      WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace
    UNION ALL SELECT 'rule', rulename, tablename FROM pg_rules WHERE schemaname = current_schema()
    UNION ALL SELECT 'view', viewname, viewname FROM pg_views
      WHERE schemaname = current_schema() AND viewname IN ({", ".join(f"'{name}'" for name in sorted(metadata.tables))})
    ORDER BY 1, 2 LIMIT 20
"""  # noqa: S608 - no value of anybody's in it
