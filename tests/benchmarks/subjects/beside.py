"""How long readers wait while a provider delivers, on a ledger with a past, and how soon an answered webhook is listed."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from random import Random
from typing import TypeVar

from api.simulator.signing import signed_headers
from tests.benchmarks.bench import Bench
from tests.benchmarks.closed_loop import Load, LoadFailed
from tests.benchmarks.databases import ENGINES, TITLE
from tests.benchmarks.filled import INBOUND_EACH, MESSAGES_A_CONVERSATION
from tests.benchmarks.measuring import tell
from tests.benchmarks.open_loop import open_loop
from tests.benchmarks.prepared import (
    SECRET,
    WEBHOOK_PATH,
    body,
    get_request,
    message_id,
    single_facts,
    write_deliveries,
    write_requests,
)
from tests.benchmarks.processes import Server, ledger_servers
from tests.benchmarks.section import Section

MESSAGES, MESSAGES_BIG, MESSAGES_QUICK = 200_000, 1_000_000, 20_000
EVENTS_A_MESSAGE = 4.1
READS_PER_SECOND, BESIDE_READS_PER_SECOND = 100, 500
PROBES_PER_SECOND, BESIDE_PROBES_PER_SECOND = 50, 1_000
"""How often is asked, and how many webhooks come meanwhile."""

FIRST_NEW, FIRST_PROBE = 500_000_000, 700_000_000
MESSAGES_A_TURN_MAX = 1_000_000
READABLE_WITHIN_S = 10.0

T = TypeVar("T")

QUESTIONS = {
    "status of a message": "/messages/{message}",
    "history of a message": "/messages/{message}/history",
    "50 messages of a conversation": "/conversations/{conversation}/messages",
    "newest 50 failed messages": "/messages?status=failed",
}


def beside(bench: Bench) -> Section:
    """Reads while webhooks come at a fixed pace, and the time from a webhook's answer to its status."""
    messages = MESSAGES_QUICK if bench.quick else MESSAGES_BIG if bench.big else MESSAGES
    section = Section(
        "beside",
        "Reads beside deliveries",
        f"{messages:,} messages; {READS_PER_SECOND} questions/s of one kind beside {BESIDE_READS_PER_SECOND:,} webhooks/s, both at "
        f"random times (open loop), {2 * bench.seconds} s each; the last row beside {BESIDE_PROBES_PER_SECOND:,} webhooks/s.",
        ("", "p50 ms", "p99 ms", "p99.9 ms"),
    )
    for engine in ENGINES:
        with (
            bench.pasts.lent(engine, round(messages * EVENTS_A_MESSAGE)) as url,
            ledger_servers(url, bench.folder) as (server,),
        ):
            for name, load in _loads(bench, server, messages):
                tell(f"  {engine}: {name}: p99 {load.p99_ms:.1f} ms")
                failed = load.refused + load.broken
                section.rows.append(
                    (
                        f"{TITLE[engine]}: {name}" + (f" ({failed} FAILED)" if failed else ""),
                        f"{load.p50_ms:.1f}",
                        f"{load.p99_ms:.1f}",
                        f"{load.p999_ms:.1f}",
                    )
                )
            waits_ms = _beside(bench, server, BESIDE_PROBES_PER_SECOND, len(QUESTIONS), lambda: _probe(bench, server))
            shown = [f"{waits_ms[int(len(waits_ms) * share)]:.1f}" for share in (0.5, 0.99, 0.999)]
            tell(f"  {engine}: answered to listed: p99 {shown[1]} ms")
            section.rows.append((f"{TITLE[engine]}: from a webhook's answer until its message is listed", *shown))
    return section


def _loads(bench: Bench, server: Server, messages: int) -> Iterator[tuple[str, Load]]:
    for turn, name in enumerate(QUESTIONS):
        asked = write_requests(bench.folder / "questions", _asked(bench, name, messages))

        def ask(asked: Path = asked) -> Load:
            return open_loop(server.port, asked, per_second=READS_PER_SECOND, seconds=2 * bench.seconds)

        yield name, _beside(bench, server, BESIDE_READS_PER_SECOND, turn, ask)


def _beside(bench: Bench, server: Server, per_second: int, turn: int, ask: Callable[[], T]) -> T:
    """What `ask` measured while so many webhooks a second came."""
    seconds = 2 * bench.seconds + 1
    count = int(per_second * seconds * 1.3)
    deliveries = write_deliveries(bench.folder / "beside", single_facts(FIRST_NEW + turn * MESSAGES_A_TURN_MAX), count)
    with ThreadPoolExecutor(1) as pool:
        delivering = pool.submit(open_loop, server.port, deliveries, per_second=per_second, seconds=seconds)
        time.sleep(0.7)
        found = ask()
        load = delivering.result()
    tell(f"    beside {load.per_second:,.0f} webhooks/s, p99 {load.p99_ms:.1f} ms")
    return found


def _probe(bench: Bench, server: Server) -> list[float]:
    """Milliseconds from a webhook's answer until its message is listed, ascending: by its id it is told from the log before."""
    waits_ms: list[float] = []
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=READABLE_WITHIN_S)
    ends_s = time.monotonic() + 2 * bench.seconds
    for number in count(FIRST_PROBE):
        if (now_s := time.monotonic()) > ends_s:
            return sorted(waits_ms)
        _deliver(connection, body(number, 0))
        answered_s = time.perf_counter()
        while not _is_listed(connection, number):
            if time.perf_counter() - answered_s > READABLE_WITHIN_S:
                raise LoadFailed(f"{message_id(number)} could not be read after {READABLE_WITHIN_S} s")
        waits_ms.append((time.perf_counter() - answered_s) * 1_000)
        time.sleep(max(now_s + 1 / PROBES_PER_SECOND - time.monotonic(), 0))
    raise AssertionError(waits_ms)


def _deliver(connection: http.client.HTTPConnection, content: bytes) -> None:
    signed = signed_headers(SECRET, str(int(time.time())), content)
    headers = {name.decode("ascii"): value.decode("ascii") for name, value in signed}
    connection.request("POST", WEBHOOK_PATH, content, headers)
    connection.getresponse().read()


def _is_listed(connection: http.client.HTTPConnection, number: int) -> bool:
    connection.request("GET", f"/messages?externalReference=order_{number}")
    return bool(json.load(connection.getresponse())["items"])


def _asked(bench: Bench, name: str, messages: int) -> Iterator[bytes]:
    dice = Random(name)
    conversations = max(messages // INBOUND_EACH // MESSAGES_A_CONVERSATION, 1)
    for _ in range(READS_PER_SECOND * bench.seconds * 3):
        path = QUESTIONS[name].format(
            message=message_id(dice.randrange(messages)), conversation=f"conv_{dice.randrange(conversations)}"
        )
        yield get_request(path)
