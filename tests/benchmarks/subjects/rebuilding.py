"""Whether anybody notices a rebuild: readers who know what the answer must be, webhooks at a fixed pace, and a rebuild of the whole."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import httpx2

from projections.message_status import MESSAGE_STATUS
from tests.benchmarks.bench import Bench
from tests.benchmarks.closed_loop import LoadFailed
from tests.benchmarks.databases import ENGINES, TITLE
from tests.benchmarks.measuring import tell
from tests.benchmarks.open_loop import open_loop
from tests.benchmarks.prepared import FAILS_EACH, LIFECYCLE, message_id, single_facts, write_deliveries
from tests.benchmarks.processes import Server, ledger_servers
from tests.benchmarks.section import Section

EVENTS, EVENTS_QUICK, EVENTS_BIG = 200_000, 50_000, 1_000_000
FACTS_A_MESSAGE = 5
WEBHOOKS_PER_SECOND = 200
WEBHOOKS_PREPARED = 200_000
ROUND_S = 5
READERS = 2
READS_PER_SECOND = 50
"""Of each reader."""

FIRST_NEW = 900_000_000
PAGE = 20
WRONG_SHOWN_MAX = 5
SHARES = (0.5, 0.99, 0.999)

JSON = dict[str, Any]


@dataclass
class Reader:
    """Asks for messages whose past is over, and for a full page of a list; remembers what should not have been answered."""

    port: int
    messages: int
    dice: Random
    waits_ms: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def read_until(self, done: threading.Event) -> None:
        """Reads at a steady pace."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not done.wait(1 / READS_PER_SECOND):
            number = self.dice.randrange(self.messages)
            self._read(connection, f"/messages/{message_id(number)}", partial(_is_final, number=number))
            self._read(connection, f"/messages?status=delivered&limit={PAGE}", _is_a_full_page)

    def _read(self, connection: http.client.HTTPConnection, path: str, is_right: Callable[[JSON], bool]) -> None:
        asked_s = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        said = answer.read()
        self.waits_ms.append((time.perf_counter() - asked_s) * 1_000)
        if answer.status != http.client.OK or not is_right(json.loads(said)):
            self.wrong.append(f"{path}: {answer.status} {said[:200]!r}")


def rebuilding(bench: Bench) -> Section:
    """What readers see and how long they wait, without and beside a rebuild of message-status, while webhooks come."""
    events = EVENTS_QUICK if bench.quick else EVENTS_BIG if bench.big else EVENTS
    section = Section(
        "rebuilding",
        "Reads beside a rebuild",
        f"{events:,} events; {WEBHOOKS_PER_SECOND} webhooks/s, and {READERS * READS_PER_SECOND * 2} reads/s by readers who know "
        "the answer; wrong is an error, an empty or shorter page, or an older state.",
        ("", "reads", "wrong", "p50 ms", "p99 ms", "p99.9 ms", "rebuilt events/s"),
    )
    for engine in ENGINES:
        with bench.pasts.lent(engine, events) as url, ledger_servers(url, bench.folder) as (server,):
            webhooks = write_deliveries(bench.folder / "beside", single_facts(FIRST_NEW), WEBHOOKS_PREPARED)
            for name, work in (("no rebuild", _wait), ("a rebuild", _rebuild)):
                row = _seen(server, webhooks, events, work)
                tell(f"  {engine}, {name}: " + ", ".join(row))
                section.rows.append((f"{TITLE[engine]}: {name}", *row))
    return section


def _seen(server: Server, webhooks: Path, events: int, work: Callable[[Server], None]) -> Sequence[str]:
    """What readers saw while webhooks came and `work` was done."""
    done = threading.Event()
    readers = [Reader(server.port, events // FACTS_A_MESSAGE, Random(number)) for number in range(READERS)]
    with ThreadPoolExecutor(READERS + 1) as pool:
        doing = [pool.submit(reader.read_until, done) for reader in readers]
        doing.append(pool.submit(_deliver_until, server, webhooks, done))
        try:
            began_s = time.monotonic()
            work(server)
            took_s = time.monotonic() - began_s
        finally:
            done.set()
        for each in doing:
            each.result()
    wrong = [each for reader in readers for each in reader.wrong]
    for sight in wrong[:WRONG_SHOWN_MAX]:
        tell(f"    WRONG: {sight}")
    waits_ms = sorted(wait_ms for reader in readers for wait_ms in reader.waits_ms)
    shown = [f"{waits_ms[int(len(waits_ms) * share)]:.1f}" for share in SHARES]
    return f"{len(waits_ms):,}", f"{len(wrong)}", *shown, "" if work is _wait else f"{events / took_s:,.0f}"


def _deliver_until(server: Server, webhooks: Path, done: threading.Event) -> None:
    sent = 0
    while not done.is_set():
        load = open_loop(server.port, webhooks, per_second=WEBHOOKS_PER_SECOND, seconds=ROUND_S, skip=sent)
        sent += load.requests
        if load.refused or load.broken:
            raise LoadFailed(f"{load.refused + load.broken} webhooks were refused")


def _wait(_server: Server) -> None:
    time.sleep(2 * ROUND_S)


def _rebuild(server: Server) -> None:
    """A rebuild of message-status by the server itself, until the new rows are live."""
    answer = httpx2.post(f"{server.url}/projections/{MESSAGE_STATUS}/rebuild")
    if answer.status_code != http.client.ACCEPTED:
        raise LoadFailed(f"the rebuild did not begin: {answer.status_code} {answer.text}")
    while _state_of(server) == "rebuilding":
        time.sleep(0.1)


def _state_of(server: Server) -> str:
    items = httpx2.get(f"{server.url}/projections").json()["items"]
    return next(str(each["state"]) for each in items if each["name"] == MESSAGE_STATUS)


def _is_final(said: JSON, number: int) -> bool:
    ended = "failed" if number % FAILS_EACH == 0 else "delivered"
    return (said["status"], said["eventCount"]) == (ended, len(LIFECYCLE))


def _is_a_full_page(said: JSON) -> bool:
    return len(said["items"]) == PAGE and all(each["status"] == "delivered" for each in said["items"])
