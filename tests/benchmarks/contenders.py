"""Everything that receives webhooks here, and how each is started: ours, the ceilings, the rivals."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import product
from pathlib import Path

from sqlalchemy import make_url

from tests.benchmarks.bench import Bench
from tests.benchmarks.databases import TITLE, Engine
from tests.benchmarks.measuring import Contender, best_of, rounds, tell, under_load
from tests.benchmarks.processes import Server, ledger_environment, ledger_servers, serving

USUAL_TURNS_S, SHORT_TURNS_S = "0.005", "0.0005"
TUNING_CONNECTIONS = 64
TUNING_SECONDS = 2


def ours(bench: Bench, engine: Engine, *, processes: int = 1, partitions: int = 1) -> Contender:
    """`ledger serve`, projections running as always."""

    @contextmanager
    def start() -> Iterator[list[Server]]:
        with (
            bench.place(engine) as url,
            ledger_servers(url, bench.folder, processes=processes, LEDGER_PARTITIONS=str(partitions)) as servers,
        ):
            yield servers

    extra = "" if processes == partitions == 1 else f", {processes} × server, {partitions} × partition"
    return Contender(f"the ledger, {TITLE[engine]}{extra}", start)


def ceiling(bench: Bench, module: str, name: str) -> Contender:
    """An application that keeps nothing."""

    @contextmanager
    def start() -> Iterator[list[Server]]:
        with bench.place("sqlite") as url, _serving(bench, module, ledger_environment(url)) as server:
            yield [server]

    return Contender(name, start)


def bare(bench: Bench) -> Contender:
    """A bare ASGI application."""
    return ceiling(bench, "bare", "bare ASGI application")


def no_op(bench: Bench) -> Contender:
    """A Starlette route that verifies and parses."""
    return ceiling(bench, "no_op", "no-op Starlette route")


def without_store(bench: Bench) -> Contender:
    """The ledger's own application without its store."""
    return ceiling(bench, "without_store", "the ledger without its store")


def standing_still(bench: Bench, engine: Engine) -> Contender:
    """`ledger serve` without the runner of the projections."""

    @contextmanager
    def start() -> Iterator[list[Server]]:
        command = ["-m", "tests.benchmarks.rivals.standing_still", "serve"]
        with (
            bench.place(engine) as url,
            serving(command, ledger_environment(url), bench.folder, port_name="LEDGER_PORT") as server,
        ):
            yield [server]

    return Contender(f"the ledger, {TITLE[engine]}, no projections", start)


def without_projections(bench: Bench, engine: Engine) -> Contender:
    """The ledger as `create_app` gives it: threads of one process commit; the runner of the projections is left out."""

    @contextmanager
    def start() -> Iterator[list[Server]]:
        with bench.place(engine) as url, _serving(bench, "without_projections", ledger_environment(url)) as server:
            yield [server]

    return Contender(f"the ledger, {TITLE[engine]}, one process, no projections", start)


def textbooks(
    bench: Bench,
    engine: Engine,
    threads: Sequence[int] = (1, 4, 16),
    caches: Sequence[str] = ("0", "2000"),
    turns_s: Sequence[str] = (USUAL_TURNS_S, SHORT_TURNS_S),
) -> list[Contender]:
    """The textbook use of eventsourcing, set up in several ways: threads, the library's cache, Python's switch interval."""

    def contender(count: int, cached: str, turns_s: str) -> Contender:
        @contextmanager
        def start() -> Iterator[list[Server]]:
            with bench.place(engine) as url:
                settings = {
                    "STORE_THREADS": str(count),
                    "SWITCH_INTERVAL_S": turns_s,
                    **library_environment(url, threads=count),
                }
                if cached != "0":
                    settings["AGGREGATE_CACHE_MAXSIZE"] = cached
                with _serving(bench, "textbook", settings) as server:
                    yield [server]

        words = _words(count, turns_s) + (f", cache of {cached}" if cached != "0" else "")
        return Contender(f"textbook eventsourcing, {TITLE[engine]} ({words})", start)

    return [contender(*each) for each in product(threads, caches, turns_s)]


def one_inserts(bench: Bench, engine: Engine, threads: Sequence[int] = (1, 4, 16)) -> list[Contender]:
    """One INSERT … ON CONFLICT and commit a webhook, set up in several ways."""

    def contender(count: int, turns_s: str) -> Contender:
        @contextmanager
        def start() -> Iterator[list[Server]]:
            with bench.place(engine) as url:
                settings = {"STORE_THREADS": str(count), "SWITCH_INTERVAL_S": turns_s, "DATABASE_URL": url}
                with _serving(bench, "one_insert", settings) as server:
                    yield [server]

        return Contender(f"one INSERT and commit each, {TITLE[engine]} ({_words(count, turns_s)})", start)

    return [contender(*each) for each in product(threads, (USUAL_TURNS_S, SHORT_TURNS_S))]


def best(bench: Bench, contenders: Sequence[Contender]) -> Contender:
    """Of several ways to set up a rival the one that does most, as its best user would find out."""
    tried = contenders[0].name
    if tried in bench.chosen:
        return next(contender for contender in contenders if contender.name == bench.chosen[tried])
    tell(f"  choosing among {len(contenders)} ways to set up: {contenders[0].name.partition(' (')[0]}")
    measure = under_load(bench.deliveries(), connections=TUNING_CONNECTIONS, seconds=TUNING_SECONDS)
    found = rounds(contenders, measure, count=1)
    bench.chosen[tried] = best_of(found, [contender.name for contender in contenders])
    return next(contender for contender in contenders if contender.name == bench.chosen[tried])


def _serving(bench: Bench, module: str, environment: dict[str, str]) -> AbstractContextManager[Server]:
    return serving(["-m", "tests.benchmarks.rivals.server", module], environment, bench.folder)


def _words(threads: int, turns_s: str) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}" + (", short turns" if turns_s == SHORT_TURNS_S else "")


def library_environment(url: str, *, threads: int) -> dict[str, str]:
    """The library's own settings."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return {
            "PERSISTENCE_MODULE": "eventsourcing.sqlite",
            "SQLITE_DBNAME": str(Path(parsed.database or "")),
            "SQLITE_LOCK_TIMEOUT": "30",
        }
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parsed.database or "",
        "POSTGRES_HOST": parsed.host or "",
        "POSTGRES_PORT": str(parsed.port),
        "POSTGRES_USER": parsed.username or "",
        "POSTGRES_PASSWORD": parsed.password or "",
        "POSTGRES_POOL_SIZE": str(threads),
        "POSTGRES_MAX_OVERFLOW": "0",
    }
