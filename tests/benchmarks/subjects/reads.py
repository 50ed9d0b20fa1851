"""How many questions a second are answered over HTTP, each kind by itself, on a ledger with a past."""

from collections.abc import Iterator
from random import Random

from ledger.positions import Cursor
from tests.benchmarks.bench import Bench
from tests.benchmarks.closed_loop import Load, closed_loop
from tests.benchmarks.databases import ENGINES, TITLE
from tests.benchmarks.filled import INBOUND_EACH, MESSAGES_A_CONVERSATION
from tests.benchmarks.measuring import Figures, tell
from tests.benchmarks.prepared import get_request, message_id, write_requests
from tests.benchmarks.processes import ledger_servers
from tests.benchmarks.section import Section, percent

EVENTS, EVENTS_QUICK = 200_000, 20_000
FACTS_A_MESSAGE = 5
CONNECTIONS = 16
ASKED_PER_SECOND_MAX = 30_000

QUESTIONS = {
    "status of a message": "/messages/{message}",
    "history of a message": "/messages/{message}/history",
    "status as of a position": "/messages/{message}?asOf=0-{position}",
    "newest 50 failed messages": "/messages?status=failed",
    "50 messages of a conversation": "/conversations/{conversation}/messages",
    "50 events of the feed": "/feed?limit=50&after={cursor}",
    "GET /livez": "/livez",
}
"""The last is there to tell what a question costs beyond the server."""


def reads(bench: Bench) -> Section:
    """Questions of each kind, nobody writing."""
    events = EVENTS_QUICK if bench.quick else EVENTS
    section = Section(
        "reads",
        "Reads",
        f"{CONNECTIONS} connections, {events:,} events, {bench.rounds} × {bench.seconds} s.",
        ("", "answers/s", "spread", "p50 ms", "p99 ms"),
    )
    for engine in ENGINES:
        with bench.pasts.lent(engine, events) as url, ledger_servers(url, bench.folder) as (server,):
            found: dict[str, list[Load]] = {name: [] for name in QUESTIONS}
            for _ in range(bench.rounds):
                for name in QUESTIONS:
                    requests = write_requests(bench.folder / "questions", _asked(bench, name, events))
                    found[name].append(
                        closed_loop(server.url, requests, connections=CONNECTIONS, seconds=bench.seconds)
                    )
        for name, loads in found.items():
            rate = Figures(tuple(load.per_second for load in loads))
            tell(f"  {engine}: {name}: {rate.median:,.0f}/s")
            failed = sum(load.refused + load.broken for load in loads)
            section.rows.append(
                (
                    f"{TITLE[engine]}: {name}" + (f" ({failed} FAILED)" if failed else ""),
                    f"{rate.median:,.0f}",
                    percent(rate),
                    f"{Figures(tuple(load.p50_ms for load in loads)).median:.1f}",
                    f"{Figures(tuple(load.p99_ms for load in loads)).median:.1f}",
                )
            )
    return section


def _asked(bench: Bench, name: str, events: int) -> Iterator[bytes]:
    dice = Random(name)
    messages = events // FACTS_A_MESSAGE
    conversations = max(messages // INBOUND_EACH // MESSAGES_A_CONVERSATION, 1)
    for _ in range(ASKED_PER_SECOND_MAX * bench.seconds):
        path = QUESTIONS[name].format(
            message=message_id(dice.randrange(messages)),
            position=events,
            cursor=Cursor((dice.randrange(events - 50),)),
            conversation=f"conv_{dice.randrange(conversations)}",
        )
        yield get_request(path)
