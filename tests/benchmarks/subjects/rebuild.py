"""Rebuilding a read model: ours, the library's own way, and one SQL statement, which is the most that a database can do."""

import json
import time

from api.serving.interpreter import rare_collections
from ledger.ledger import Ledger
from ledger.store.database import Database
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.message_status import MESSAGE_STATUS
from projections.read_models import ReadModels
from tests.benchmarks.bench import Bench
from tests.benchmarks.commands import python
from tests.benchmarks.contenders import library_environment
from tests.benchmarks.databases import ENGINES, TITLE, Engine
from tests.benchmarks.measuring import Figures, tell
from tests.benchmarks.section import Section, percent, ratio

EVENTS, EVENTS_QUICK = 400_000, 50_000
LIBRARY_FACTS = 3_000

# A status without a fold: the last row of each stream. What a message's status is takes more than that.
ONE_STATEMENT = (
    "CREATE TABLE one_statement AS SELECT partition, stream_id, position, topic, state FROM ("
    "SELECT *, row_number() OVER (PARTITION BY partition, stream_id ORDER BY version DESC) AS place FROM events"
    ") AS ranked WHERE place = 1"
)


def rebuild(bench: Bench) -> Section:
    """How many events a second become a read model."""
    events = EVENTS_QUICK if bench.quick else EVENTS
    section = Section(
        "rebuild",
        "Rebuild",
        f"{events:,} events, four facts a message and some inbound; the median of {bench.rounds} (each compares its rows with "
        f"the live ones as well). The library's runner: {LIBRARY_FACTS:,} facts of the same kind.",
        ("", "events/s", "spread", "× the library's runner"),
    )
    for engine in ENGINES:
        found: dict[str, list[float]] = {}
        with bench.pasts.lent(engine, events) as url:
            for _ in range(bench.rounds):
                for name in (MESSAGE_STATUS, INBOUND_CONVERSATIONS):
                    found.setdefault(f"the ledger, {name}", []).append(rebuilt_per_second(url, name))
                library = library_per_second(bench, engine)
                found.setdefault(RUNNER[engine], []).append(library)
                found.setdefault("one SQL statement", []).append(events / _seconds_of_one_statement(url))
        base = Figures(tuple(found[RUNNER[engine]]))
        for name, values in found.items():
            figures = Figures(tuple(values))
            tell(f"  {engine}: {name}: {figures.median:,.0f}/s")
            section.rows.append(
                (f"{TITLE[engine]}: {name}", f"{figures.median:,.0f}", percent(figures), ratio(figures.over(base)))
            )
    return section


RUNNER: dict[Engine, str] = {
    "sqlite": "what ProjectionRunner would do",
    "postgresql": "ProjectionRunner",
}


def rebuilt_per_second(url: str, name: str) -> float:
    """One rebuild by the ledger."""
    with rare_collections(), Ledger.open_existing(url) as ledger, ReadModels.open(ledger) as read_models:
        report = read_models.claim_rebuild(name).run()
        return report.events / report.seconds


def library_per_second(bench: Bench, engine: Engine, facts: int = LIBRARY_FACTS) -> float:
    """One projection by the library."""
    with bench.place(engine) as url:
        environment = library_environment(url, threads=4)
        used = python(["-m", "tests.benchmarks.rivals.projection_runner", str(facts)], environment)
    result = json.loads(used.output.splitlines()[-1])
    return float(result["events"]) / float(result["seconds"])


def _seconds_of_one_statement(url: str) -> float:
    database = Database(url)
    try:
        with database.writing() as connection:
            began_s = time.perf_counter()
            connection.exec_driver_sql(ONE_STATEMENT)
            took_s = time.perf_counter() - began_s
            connection.exec_driver_sql("DROP TABLE one_statement")
    finally:
        database.close()
    return took_s
