"""The simulator against the real server: what it delivered in any order is in the ledger exactly once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from api.access import ApiKey, Scope, sha256_of
from api.service import Service
from api.serving.server import listening, server_of, url_of
from api.settings import Settings
from api.simulator import Plan, Summary, simulate
from api.simulator.audit import Verdict
from ledger.signatures import Secret
from tests.simulator.receiver import SECRET

APPLICATION_KEY = "prefix_application"
MASKED_KEY = "prefix_masked"


def settings(folder: Path) -> Settings:
    return Settings(
        database_url=f"sqlite:///{folder / 'ledger.db'}",
        secrets=(Secret("main", b"s3cret"),),
        api_keys=(
            ApiKey("application", frozenset({Scope.WRITE, Scope.READ}), sha256_of(APPLICATION_KEY)),
            ApiKey("masked", frozenset({Scope.MASKED}), sha256_of(MASKED_KEY)),
        ),
    )


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    """The URL of a server on a fresh embedded ledger."""
    ready = asyncio.Event()
    server = server_of(Service.open(settings(folder)), ready.set)
    listener = listening("127.0.0.1", 0)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    await ready.wait()
    try:
        yield url_of(listener)
    finally:
        server.should_exit = True
        await running


def summaries(folder: Path, *keys: str | None) -> list[Summary]:
    """The same run for each key, one after the other, against one server."""

    async def scene() -> list[Summary]:
        async with serving(folder) as url:
            return [await simulate(plan(url, key)) for key in keys]

    return asyncio.run(scene())


def plan(url: str, key: str | None) -> Plan:
    return Plan(
        url=url,
        secret=SECRET,
        messages=40,
        seed=6,
        shuffle=True,
        duplicates=0.3,
        drop=0.05,
        sends=key == APPLICATION_KEY,
        api_key=key,
    )


def test_the_ledger_holds_every_delivered_fact_once_and_a_second_run_adds_nothing(tmp_path: Path) -> None:
    first, second = summaries(tmp_path, APPLICATION_KEY, APPLICATION_KEY)

    delivered = first.facts - first.dropped
    assert (first.recorded, first.duplicate) == (delivered, first.sent - delivered)
    assert (second.recorded, second.duplicate) == (0, second.sent)
    assert first.sends_recorded == second.sends_recorded > 0
    assert [(run.audit.verdict, run.audit.messages, run.fine) for run in (first, second)] == [
        (Verdict.YES, 40, True)
    ] * 2


def test_without_a_key_that_shows_bodies_it_says_that_it_may_not_look(tmp_path: Path) -> None:
    without_key, masked = summaries(tmp_path, None, MASKED_KEY)

    assert [run.audit.verdict for run in (without_key, masked)] == [Verdict.NOT_ALLOWED] * 2
    assert masked.audit.reason == "the API key has the scope masked, and comparing needs the scope read"
