"""What this machine can do at most: the server without a store, and the disk and the databases without a server."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice

from ledger.events import receipt_of
from ledger.facts import Fact
from ledger.reception import Reception
from ledger.store.database import Database
from ledger.store.log import Head, LogRow, next_row
from ledger.store.schema import open_or_create
from ledger.store.statements import insert_rows
from tests.benchmarks.bench import Bench
from tests.benchmarks.contenders import bare, no_op, without_store
from tests.benchmarks.databases import ENGINES, TITLE, Engine
from tests.benchmarks.machine import syncs_per_second
from tests.benchmarks.measuring import rounds, tell, under_load
from tests.benchmarks.prepared import lifecycles
from tests.benchmarks.section import INGEST_HEADER, Section, ingest_row

CONNECTIONS = 64
BATCHES = (1, 64, 256)
NOW_US = 1_763_913_600_000_000
ROWS_PREPARED = 100_000


def server(bench: Bench) -> Section:
    """The server without a store: what the load generator, the HTTP server and our own work a request leave room for."""
    contenders = [bare(bench), no_op(bench), without_store(bench)]
    found = rounds(
        contenders, under_load(bench.deliveries(), connections=CONNECTIONS, seconds=bench.seconds), count=bench.rounds
    )
    base = found[contenders[1].name]
    section = Section(
        "server",
        "The server without a store",
        f"{CONNECTIONS} connections, {bench.settings}.",
        INGEST_HEADER,
        [ingest_row(name, each, base) for name, each in found.items()],
    )
    generator = found[contenders[0].name]
    section.notes.append(
        f"The generator's own ceiling is the first line, {generator.per_second.median:,.0f}/s with "
        f"{generator.generator_cpu.median:.2f} of a core: nothing else here comes near it."
    )
    return section


def disk(bench: Bench) -> Section:
    """The disk and the databases without a server: the rows of the log, prepared, inserted with nothing else to do."""
    syncs = syncs_per_second(bench.folder, seconds=bench.seconds)
    section = Section(
        "raw-inserts",
        "The disk and the databases without a server",
        f"The rows of the log, with all its indices, prepared beforehand; {bench.seconds} s each, one connection.",
        ("", "commits/s", "rows/s"),
        [("append 4 KiB and fdatasync", f"{syncs:,.0f}", "")],
    )
    for engine in ENGINES:
        for rows in BATCHES:
            commits = raw_commits_per_second(bench, engine, rows)
            tell(f"  {engine}, {rows} rows a commit: {commits:,.0f} commits/s")
            section.rows.append((f"{TITLE[engine]}, {rows} a commit", f"{commits:,.0f}", f"{commits * rows:,.0f}"))
    return section


def raw_commits_per_second(bench: Bench, engine: Engine, rows: int) -> float:
    """How many transactions a second insert that many rows of the log each."""
    batches = _batches(rows)
    with _log(bench, engine) as database:
        done, began_s = 0, time.perf_counter()
        while batches and time.perf_counter() - began_s < bench.seconds:
            with database.writing() as connection:
                insert_rows(connection, "events", LogRow._fields, batches.pop())
            done += 1
        return done / (time.perf_counter() - began_s)


def _batches(rows: int) -> list[list[LogRow]]:
    """Batches to be taken from the end."""
    made = _rows()
    return [list(islice(made, rows)) for _ in range(ROWS_PREPARED // rows)][::-1]


@contextmanager
def _log(bench: Bench, engine: Engine) -> Iterator[Database]:
    with bench.place(engine) as url:
        database = Database(url)
        open_or_create(database, 1)
        try:
            yield database
        finally:
            database.close()


def _rows() -> Iterator[LogRow]:
    """Rows of the log without end."""
    reception = Reception(None, 1)
    versions: dict[bytes, int] = {}
    head = Head(0, bytes(32))
    for number, body in zip(count(), lifecycles(), strict=False):
        fact = reception.read(receipt_of(body, None, NOW_US + number))
        assert isinstance(fact, Fact)
        version = versions[fact.stream] = versions.get(fact.stream, 0) + 1
        row = next_row(head, fact, version)
        head = Head(row.position, row.hash)
        yield row
