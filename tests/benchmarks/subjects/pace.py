"""How long a webhook waits for its answer at a provider's own pace, which does not slow down when we do."""

from tests.benchmarks.bench import Bench
from tests.benchmarks.contenders import best, no_op, one_inserts, ours, textbooks
from tests.benchmarks.databases import ENGINES
from tests.benchmarks.measuring import Run, rounds
from tests.benchmarks.open_loop import open_loop
from tests.benchmarks.processes import Server
from tests.benchmarks.section import Section

PACES = (500, 2_000)
WARM_UP_S = 1.0
RIVALS_UP_TO = 500
HEADER = ("", "p50 ms", "p99 ms", "p99.9 ms", "p99 of each round")


def pace(bench: Bench) -> Section:
    """Latency at a fixed pace, counted from when each request was due."""
    section = Section(
        "pace",
        "At a provider's pace",
        f"Arrivals are random and independent at a fixed mean rate (open loop, 128 connections); {bench.settings}. Every wait "
        "counts from when the request was due, also that for a free connection.",
        HEADER,
    )
    rivals = [best(bench, textbooks(bench, "sqlite")), best(bench, one_inserts(bench, "sqlite"))]
    for per_second in PACES:

        def measure(servers: list[Server], per_second: int = per_second) -> Run:
            (server,) = servers
            requests = bench.deliveries()
            warm = open_loop(server.port, requests, per_second=per_second, seconds=WARM_UP_S)
            before_s = server.cpu_s()
            load = open_loop(
                server.port, requests, per_second=per_second, seconds=2 * bench.seconds, skip=warm.requests
            )
            return Run(load, (server.cpu_s() - before_s) * 1e6 / load.requests)

        contenders = [no_op(bench), *(ours(bench, engine) for engine in ENGINES)]
        contenders += rivals if per_second <= RIVALS_UP_TO else []
        for name, found in rounds(contenders, measure, count=bench.rounds).items():
            each = ", ".join(f"{p99_ms:.1f}" for p99_ms in found.p99_ms.values)
            section.rows.append(
                (
                    f"{per_second:,}/s: {name}",
                    *(f"{figure.median:.2f}" for figure in (found.p50_ms, found.p99_ms, found.p999_ms)),
                    each,
                )
            )
    return section
