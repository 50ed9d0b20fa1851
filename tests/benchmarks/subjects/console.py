"""How long the server takes for each page of the console, on the ledger of a shop: with `--big` one of a million messages."""

import time
from collections.abc import Iterator
from random import Random
from urllib.parse import quote

import httpx2

from ledger.ledger import Ledger
from tests.benchmarks import shop
from tests.benchmarks.bench import Bench
from tests.benchmarks.databases import TITLE
from tests.benchmarks.measuring import tell
from tests.benchmarks.prepared import message_id
from tests.benchmarks.processes import Server, ledger_servers
from tests.benchmarks.section import Section, ratio

MESSAGES, MESSAGES_QUICK, MESSAGES_BIG = 50_000, 5_000, 1_000_000
ASKED, ASKED_QUICK = 200, 40
P50, P95 = 50, 95
LIVEZ = "/livez"

PAGES = {
    "sign-in": "/console/sign-in",
    "front page": "/console",
    "search: a message": "/console/search?q={message}",
    "search: a reference": "/console/search?q={reference}",
    "search: a campaign's reference": f"/console/search?q={shop.CAMPAIGN}",
    "search: a number": "/console/search?q={number}",
    "search: the busiest number": f"/console/search?q={quote(shop.BUSIEST)}",
    "search: a provider's reference": "/console/search?q={provider_ref}",
    "search: a conversation": "/console/search?q={conversation}",
    "search: nothing": "/console/search?q=nothing",
    "a message": "/console/messages/{message}",
    "an event with its proof": "/console/messages/{message}/events/2",
    "an event's bytes": "/console/messages/{message}/events/2/body",
    "messages": "/console/messages",
    "messages: failed": "/console/messages?status=failed",
    "messages: failed with a rare code": "/console/messages?status=failed&code=21610",
    "messages: a code, of a day": "/console/messages?code=30003&age=24h",
    "messages: a code, of a rare number": f"/console/messages?code=30034&number={shop.RARE_NUMBER}",
    "messages: a code, of a status that has none": "/console/messages?status=sent&code=30003",
    "messages: of a number": "/console/messages?number={number}",
    "messages: failed, of the busiest number": f"/console/messages?status=failed&number={quote(shop.BUSIEST)}",
    "messages: failed, of a campaign": f"/console/messages?status=failed&reference={shop.CAMPAIGN}",
    "messages: failed, of one of ours": "/console/messages?status=failed&number=num_3",
    "messages: submitted, of a campaign": f"/console/messages?status=submitted&reference={shop.CAMPAIGN}",
    "messages: old, sent": "/console/messages?status=sent&age=over-90m",
    "messages: old, of a rare number": f"/console/messages?number={shop.RARE_NUMBER}&age=over-24h",
    "stuck or lost": "/console/stuck",
    "failures by code": "/console/failures?since=ever",
    "conversations": "/console/conversations",
    "conversations with a number": "/console/conversations?with={customer}",
    "conversations of one of ours": "/console/conversations?with=num_3",
    "a conversation": "/console/conversations/{conversation}",
    "a request to send": "/console/sends/{send}",
    "operations": "/console/operations",
    "quarantine": "/console/quarantine",
    "audit trail": "/console/audit",
}
EXPORT = {"messages as CSV, 10,000 of them": "/console/messages.csv"}
"""A download, not a page: measured, and promised nothing."""


def console(bench: Bench) -> Section:
    """The server's time for each page of the console."""
    messages = MESSAGES_BIG if bench.big else MESSAGES_QUICK if bench.quick else MESSAGES
    urls = bench.pasts.shop(messages)
    with Ledger.open_existing(urls["sqlite"]) as ledger:
        events = sum(head.position for head in ledger.heads())
    section = Section(
        "console",
        "The console's pages",
        f"{messages:,} messages, {events:,} events; {ASKED_QUICK if bench.quick else ASKED} visits one after the other. "
        "The times are as the server tells them (`Server-Timing`); `CPU ms` is what its process used for a visit; the ratio is of "
        "medians as a client sees them, to `GET /livez` asked by turns with the page.",
        ("", "p50 ms", "p95 ms", "CPU ms", "× livez"),
    )
    for engine, url in urls.items():
        with ledger_servers(url, bench.folder) as (server,):
            section.rows.extend(_rows(bench, server, TITLE[engine], messages))
    return section


def _rows(bench: Bench, server: Server, engine: str, messages: int) -> Iterator[tuple[str, ...]]:
    asked = ASKED_QUICK if bench.quick else ASKED
    with httpx2.Client(trust_env=False, timeout=60) as client:
        for name, page in (PAGES | EXPORT).items():
            told_ms, seen_s, livez_s = [], [], []
            before_s = server.cpu_s()
            for path in _paths(name, page, messages, asked if name in PAGES else 3):
                answer, took_s = _asked(client, server.url + path)
                told_ms.append(float(answer.headers["server-timing"].partition("=")[2]))
                seen_s.append(took_s)
                livez_s.append(_asked(client, server.url + LIVEZ)[1])
            cpu_ms = (server.cpu_s() - before_s) * 1_000 / len(told_ms)
            p50, p95 = (sorted(told_ms)[len(told_ms) * share // 100] for share in (P50, P95))
            times = sorted(seen_s)[len(seen_s) // 2] / sorted(livez_s)[len(livez_s) // 2]
            tell(f"  {engine}: {name}: {p50:.1f} ms, p95 {p95:.1f} ms, CPU {cpu_ms:.1f} ms, {times:.1f} × livez")
            yield f"{engine}: {name}", f"{p50:.1f}", f"{p95:.1f}", f"{cpu_ms:.1f}", ratio(times)


def _paths(name: str, page: str, messages: int, asked: int) -> Iterator[str]:
    dice = Random(name)
    for _ in range(asked):
        # One that was sent, and told of more than once.
        one = dice.randrange(messages // shop.INBOUND) * shop.INBOUND + 4
        conversation = shop.conversation_of(dice.randrange(messages))
        yield page.format(
            message=shop.identity(one),
            reference=shop.reference(one),
            number=quote(shop.recipient(one)),
            provider_ref=f"SM{message_id(one)[4:]}",
            conversation=f"conv_{conversation}",
            customer=quote(f"+1555{conversation:07}"),
            send=shop.send_key(one),
        )


def _asked(client: httpx2.Client, url: str) -> tuple[httpx2.Response, float]:
    began_s = time.perf_counter()
    answer = client.get(url)
    took_s = time.perf_counter() - began_s
    if answer.status_code >= httpx2.codes.BAD_REQUEST:
        raise AssertionError(f"{url} was answered {answer.status_code}")
    return answer, took_s
