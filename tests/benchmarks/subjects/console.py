"""How long the server takes for each page of the console, on a ledger with a past: with `--big` one of a million messages."""

from collections.abc import Iterator
from random import Random

import httpx2

from tests.benchmarks.bench import ENGINES, TITLE, Bench
from tests.benchmarks.filled import INBOUND_EACH, MESSAGES_A_CONVERSATION, fill
from tests.benchmarks.measuring import tell
from tests.benchmarks.prepared import message_id
from tests.benchmarks.processes import ledger_servers
from tests.benchmarks.section import Section

EVENTS, EVENTS_QUICK, EVENTS_BIG = 400_000, 20_000, 5_000_000
FACTS_A_MESSAGE = 5
ASKED, ASKED_QUICK = 200, 40
P50, P95 = 50, 95

PAGES = {
    "front page": "/console",
    "search, one hit": "/console/search?q={message}",
    "search, nothing": "/console/search?q=nothing",
    "a message": "/console/messages/{message}",
    "an event with its proof": "/console/messages/{message}/events/2",
    "messages": "/console/messages",
    "messages, filtered": "/console/messages?status=failed&age=over-15m",
    "stuck or lost": "/console/stuck",
    "failures by code": "/console/failures?since=ever",
    "conversations": "/console/conversations",
    "a conversation": "/console/conversations/{conversation}",
    "operations": "/console/operations",
}


def console(bench: Bench) -> Section:
    """The server's time for each page of the console."""
    events = EVENTS_BIG if bench.big else EVENTS_QUICK if bench.quick else EVENTS
    asked = ASKED_QUICK if bench.quick else ASKED
    section = Section(
        "console",
        "The console's pages",
        f"{events // FACTS_A_MESSAGE:,} messages, {events:,} events; {asked} visits one after the other, "
        "as the server itself tells them (`Server-Timing`).",
        ("", "p50 ms", "p95 ms"),
    )
    for engine in ENGINES:
        with bench.place(engine) as url:
            tell(f"  filling {engine}")
            fill(url, events)
            with ledger_servers(url, bench.folder) as (server,), httpx2.Client(trust_env=False) as client:
                for name in PAGES:
                    times_ms = sorted(_time_ms(client, server.url + path) for path in _paths(name, events, asked))
                    p50, p95 = (times_ms[len(times_ms) * share // 100] for share in (P50, P95))
                    tell(f"  {engine}: {name}: {p50:.1f} ms, p95 {p95:.1f} ms")
                    section.rows.append((f"{TITLE[engine]}: {name}", f"{p50:.1f}", f"{p95:.1f}"))
    return section


def _paths(name: str, events: int, asked: int) -> Iterator[str]:
    dice = Random(name)
    messages = events // FACTS_A_MESSAGE
    conversations = max(messages // INBOUND_EACH // MESSAGES_A_CONVERSATION, 1)
    for _ in range(asked):
        yield PAGES[name].format(
            message=message_id(dice.randrange(messages)), conversation=f"conv_{dice.randrange(conversations)}"
        )


def _time_ms(client: httpx2.Client, url: str) -> float:
    answer = client.get(url)
    if answer.status_code >= httpx2.codes.BAD_REQUEST:
        raise AssertionError(f"{url} was answered {answer.status_code}")
    return float(answer.headers["server-timing"].partition("=")[2])
