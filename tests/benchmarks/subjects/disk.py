"""How much disk an event takes: its body, and everything that the ledger keeps beside it."""

from sqlalchemy import Connection

from ledger.store.database import Database
from tests.benchmarks.bench import Bench
from tests.benchmarks.databases import ENGINES, TITLE
from tests.benchmarks.filled import BATCH, fill, past
from tests.benchmarks.section import Section

EVENTS, EVENTS_QUICK = 100_000, 20_000

SQLITE_SIZES = "SELECT 'file', page_count * page_size FROM pragma_page_count(), pragma_page_size()"
POSTGRES_SIZES = (
    "SELECT 'table', pg_table_size('events'::regclass) UNION ALL "
    "SELECT relname, pg_relation_size(indexrelid) FROM pg_index JOIN pg_class ON oid = indexrelid "
    "WHERE indrelid = 'events'::regclass"
)


def disk(bench: Bench) -> Section:
    """Bytes an event in the log, by table and index."""
    events = EVENTS_QUICK if bench.quick else EVENTS
    bodies = sum(len(body) for body, _ in zip(past(), range(events), strict=False)) / events
    section = Section(
        "disk",
        "Disk",
        f"{events:,} events in batches of {BATCH}, signed bodies of {bodies:.0f} bytes; bytes an event.",
        ("", "bytes an event", "beyond the body"),
    )
    for engine in ENGINES:
        with bench.place(engine) as url:
            fill([url], events, batch=BATCH)
            database = Database(url)
            with database.reading() as connection:
                sizes = _sizes(connection, events)
            database.close()
        total = sum(sizes.values())
        section.rows.append((f"{TITLE[engine]}: the log", f"{total:.0f}", f"{total - bodies:.0f}"))
        section.rows.extend((f"{TITLE[engine]}: {name}", f"{size:.0f}", "") for name, size in sizes.items())
    return section


def _sizes(connection: Connection, events: int) -> dict[str, float]:
    statement = SQLITE_SIZES if connection.dialect.name == "sqlite" else POSTGRES_SIZES
    return {str(name): size / events for name, size in connection.exec_driver_sql(statement)}
