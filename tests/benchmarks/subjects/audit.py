"""What the audit trail costs: how long a question waits for its entry, and whether webhooks notice."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from sqlalchemy import make_url

from ledger.store.place import TRAIL
from tests.benchmarks.bench import Bench
from tests.benchmarks.closed_loop import Load
from tests.benchmarks.databases import ENGINES, TITLE
from tests.benchmarks.measuring import tell
from tests.benchmarks.open_loop import open_loop
from tests.benchmarks.prepared import get_request, message_id, single_facts, write_deliveries, write_requests
from tests.benchmarks.processes import Server, ledger_servers
from tests.benchmarks.section import Section

EVENTS = 20_000
FACTS_A_MESSAGE = 5
QUESTIONS_PER_SECOND = 100
WEBHOOKS_PER_SECOND = 1_000
FIRST_NEW = 800_000_000
KEYS = {"masked, which leaves no entry": "masked-key", "in clear, which leaves one": "reader-key"}
SETTING = "masked:masked:masked-key,reader:read:reader-key"


def audit(bench: Bench) -> Section:
    """The status of a message asked for at a fixed pace, by who leaves an entry and by who leaves none."""
    section = Section(
        "audit",
        "The audit trail",
        f"The status of a message, {QUESTIONS_PER_SECOND} a second at random times (open loop), {2 * bench.seconds} s each; "
        f"beside {WEBHOOKS_PER_SECOND:,} webhooks/s or none.",
        ("", "p50 ms", "p99 ms", "p99 ms of webhooks"),
    )
    for engine in ENGINES:
        with bench.pasts.lent(engine, EVENTS) as url:
            with ledger_servers(url, bench.folder, LEDGER_API_KEYS=SETTING) as (server,):
                for turn, (name, key) in enumerate(KEYS.items()):
                    asked = write_requests(bench.folder / "questions", _asked(bench, key))
                    alone, _ = _measured(bench, server, asked, None)
                    beside, webhooks = _measured(bench, server, asked, turn)
                    title = f"{TITLE[engine]}: {name}"
                    section.rows.append(_row(title, alone, None))
                    section.rows.append(_row(f"{title}; beside webhooks", beside, webhooks))
                    tell(f"  {title}: p99 {alone.p99_ms:.1f} ms, beside webhooks {beside.p99_ms:.1f} ms")
            entries = 4 * bench.seconds * QUESTIONS_PER_SECOND
            if engine == "sqlite":
                file = Path(f"{make_url(url).database}{TRAIL}")
                size = file.stat().st_size / entries
                section.notes.append(f"SQLite's file has {size:,.0f} bytes an entry after about {entries:,} of them.")
    return section


def _measured(bench: Bench, server: Server, asked: Path, turn: int | None) -> tuple[Load, Load | None]:
    """Questions alone, or while webhooks come."""
    seconds = 2 * bench.seconds
    with ThreadPoolExecutor(1) as pool:
        delivering = None
        if turn is not None:
            count = int(WEBHOOKS_PER_SECOND * seconds * 1.3)
            deliveries = write_deliveries(bench.folder / "beside", single_facts(FIRST_NEW + turn * 10 * count), count)
            delivering = pool.submit(
                open_loop, server.port, deliveries, per_second=WEBHOOKS_PER_SECOND, seconds=seconds
            )
        load = open_loop(server.port, asked, per_second=QUESTIONS_PER_SECOND, seconds=seconds)
        return load, None if delivering is None else delivering.result()


def _row(title: str, load: Load, webhooks: Load | None) -> tuple[str, ...]:
    failed = load.refused + load.broken
    return (
        title + (f" ({failed} FAILED)" if failed else ""),
        f"{load.p50_ms:.1f}",
        f"{load.p99_ms:.1f}",
        "" if webhooks is None else f"{webhooks.p99_ms:.1f}",
    )


def _asked(bench: Bench, key: str) -> Iterator[bytes]:
    dice = Random(key)
    for _ in range(QUESTIONS_PER_SECOND * bench.seconds * 3):
        path = f"/messages/{message_id(dice.randrange(EVENTS // FACTS_A_MESSAGE))}"
        yield get_request(path, key)
