"""Whether anything slows down as a ledger grows: all of it at several sizes, measured by turns, on each engine."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple

from sqlalchemy import make_url

from api.serving.interpreter import rare_collections
from ledger.ledger import Ledger
from ledger.verification import verify
from projections.message_status import MESSAGE_STATUS
from tests.benchmarks.bench import Bench
from tests.benchmarks.closed_loop import Load, closed_loop
from tests.benchmarks.commands import command
from tests.benchmarks.databases import ENGINES, TITLE, Engine
from tests.benchmarks.measuring import Figures, tell, under_load
from tests.benchmarks.prepared import get_request, lifecycles, message_id, write_deliveries, write_requests
from tests.benchmarks.processes import ledger_servers
from tests.benchmarks.section import Section, ratio

SIZES, SIZES_QUICK, SIZES_BIG = (10_000, 1_000_000), (10_000, 100_000), (10_000, 1_000_000, 5_000_000)
CONNECTIONS = 64
READERS = 16
ASKED = 50_000
FACTS_A_MESSAGE = 5
FIRST_NEW_MESSAGE = 500_000_000
MESSAGES_A_RUN = 1_000_000
DELIVERIES_PER_SECOND_MAX = 20_000


class Rebuilt(NamedTuple):
    """What a rebuild by the command line did."""

    per_second: float
    peak_mib: float


@dataclass
class Grown:
    """A ledger of some size, and what was measured on it."""

    bench: Bench
    events: int
    url: str
    webhooks: list[Load] = field(default_factory=list)
    reads: list[Load] = field(default_factory=list)
    started_in_s: list[float] = field(default_factory=list)
    server_mib: list[float] = field(default_factory=list)

    def measure(self, engine: Engine, deliveries: Path, questions: Path) -> None:
        """One round: a server, webhooks, reads."""
        with ledger_servers(self.url, self.bench.folder) as servers:
            (server,) = servers
            load = under_load(deliveries, connections=CONNECTIONS, seconds=self.bench.seconds)
            self.webhooks.append(load(servers).load)
            self.reads.append(closed_loop(server.url, questions, connections=READERS, seconds=self.bench.seconds))
            self.started_in_s.append(server.started_in_s)
            self.server_mib.append(server.peak_mib())
        tell(
            f"  {engine}, {self.events:,}: {self.webhooks[-1].per_second:,.0f} webhooks/s, {self.reads[-1].per_second:,.0f} reads/s"
        )

    def figures(self, pick: Callable[["Grown"], list[Load]], of: Callable[[Load], float]) -> Figures:
        """One figure of all rounds."""
        return Figures(tuple(of(load) for load in pick(self)))


def growth(bench: Bench) -> Section:
    """Webhooks, reads, rebuild, verification, memory, start-up and disk at growing sizes."""
    sizes = SIZES_QUICK if bench.quick else SIZES_BIG if bench.big else SIZES
    section = Section(
        "growth",
        "Growth",
        f"Ledgers filled beforehand. Webhooks from {CONNECTIONS} connections and then status reads of random messages from "
        f"{READERS}, {bench.rounds} × {bench.seconds} s by turns; the rest once. In brackets the ratio to the smallest.",
        ("", *(f"{size:,} events" for size in sizes)),
    )
    for engine in ENGINES:
        with ExitStack() as stack:
            grown = [Grown(bench, size, stack.enter_context(bench.pasts.lent(engine, size))) for size in sizes]
            section.rows.extend((f"{TITLE[engine]}: {name}", *cells) for name, *cells in _rows(bench, engine, grown))
    return section


def _rows(bench: Bench, engine: Engine, grown: list[Grown]) -> Iterator[tuple[str, ...]]:
    disk = [_bytes_on_disk(each.url) / each.events for each in grown]
    fresh = count(FIRST_NEW_MESSAGE, MESSAGES_A_RUN)
    for _ in range(bench.rounds):
        for each in grown:
            deliveries = bench.folder / "fresh"
            facts = lifecycles(next(fresh))
            write_deliveries(deliveries, facts, DELIVERIES_PER_SECOND_MAX * (bench.seconds + 1))
            each.measure(engine, deliveries, _questions(bench, each.events))
    yield "webhooks/s", *_beside_the_smallest([each.figures(_webhooks, _rate) for each in grown])
    yield "webhooks, p99 ms", *_beside_the_smallest([each.figures(_webhooks, _p99_ms) for each in grown])
    yield "status reads/s", *_beside_the_smallest([each.figures(_reads, _rate) for each in grown])
    yield "status reads, p99 ms", *_beside_the_smallest([each.figures(_reads, _p99_ms) for each in grown])
    yield "start-up, s", *(f"{min(each.started_in_s):.2f}" for each in grown)
    yield "server, peak MiB", *(f"{max(each.server_mib):.0f}" for each in grown)
    yield "log and read models on disk, bytes an event", *(f"{each:.0f}" for each in disk)
    rebuilds = [_rebuilt(each.url) for each in grown]
    yield "rebuild of message-status, events/s", *(f"{each.per_second:,.0f}" for each in rebuilds)
    yield "rebuild of message-status, peak MiB", *(f"{each.peak_mib:.0f}" for each in rebuilds)
    yield "verify, events/s", *(f"{_verified_per_second(each.url):,.0f}" for each in grown)
    yield "verify, peak MiB", *(f"{command(each.url, 'verify').peak_mib:.0f}" for each in grown)


def _webhooks(grown: Grown) -> list[Load]:
    return grown.webhooks


def _reads(grown: Grown) -> list[Load]:
    return grown.reads


def _rate(load: Load) -> float:
    return load.per_second


def _p99_ms(load: Load) -> float:
    return load.p99_ms


def _bytes_on_disk(url: str) -> int:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return sum(file.stat().st_size for file in Path(parsed.database or "").parent.iterdir())
    with Ledger.open_existing(url) as ledger, ledger.database.reading() as connection:
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())


def _questions(bench: Bench, events: int) -> Path:
    dice = Random(events)
    messages = max(events // FACTS_A_MESSAGE, 1)
    paths = (f"/messages/{message_id(dice.randrange(messages))}" for _ in range(ASKED * bench.seconds))
    return write_requests(bench.folder / "questions", map(get_request, paths))


def _rebuilt(url: str) -> Rebuilt:
    used = command(url, "rebuild", MESSAGE_STATUS, "--json")
    (told,) = json.loads(used.output[used.output.index("{") :])["items"]
    return Rebuilt(told["events"] / told["seconds"], used.peak_mib)


def _verified_per_second(url: str) -> float:
    with rare_collections(), Ledger.open_existing(url) as ledger:
        began_s = time.perf_counter()
        found = verify(ledger)
        return found.events / (time.perf_counter() - began_s)


def _beside_the_smallest(figures: list[Figures]) -> list[str]:
    smallest = figures[0]
    return [f"{each.median:,.1f} ({ratio(each.over(smallest))})" for each in figures]
