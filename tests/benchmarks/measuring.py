"""Contenders, measured by turns: every round measures each of them once, and what counts is the median and the spread."""

import gc
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.closed_loop import Generator, Load
from tests.benchmarks.processes import Server

WARM_UP_S = 1


class Contender(NamedTuple):
    """What is measured: a name, and how to start it afresh, with an empty store."""

    name: str
    start: Callable[[], AbstractContextManager[list[Server]]]


@dataclass(frozen=True)
class Figures:
    """The same figure of every round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """How far the lowest and the highest are apart, as a share of the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0

    def over(self, other: "Figures") -> float:
        """The ratio to another contender's: the median of the ratios of each round, in which both met the same machine."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.values, other.values, strict=True))


class Ingest(NamedTuple):
    """What one contender did in all rounds."""

    per_second: Figures
    p50_ms: Figures
    p99_ms: Figures
    p999_ms: Figures
    cpu_us: Figures
    generator_cpu: Figures
    failures: int


class Run(NamedTuple):
    """One run of load on one contender; `cpu_us` is what the servers' processes used for each request."""

    load: Load
    cpu_us: float


def rounds(
    contenders: Sequence[Contender],
    measure: Callable[[list[Server]], Run],
    *,
    count: int,
) -> dict[str, Ingest]:
    """Measures all contenders by turns, `count` times."""
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for number in range(1, count + 1):
        for contender in contenders:
            gc.collect()
            with contender.start() as servers:
                run = measure(servers)
            runs[contender.name].append(run)
            tell(
                f"  round {number} of {count}: {contender.name}: {run.load.per_second:,.0f}/s, p99 {run.load.p99_ms:.1f} ms"
            )
    return {name: _ingest(each) for name, each in runs.items()}


def under_load(requests: Path, *, connections: int, seconds: float) -> Callable[[list[Server]], Run]:
    """A measurement: a warm-up, then prepared requests from so many connections, shared among the servers."""

    def measure(servers: list[Server]) -> Run:
        share = max(connections // len(servers), 1)
        files = shares_of(requests, len(servers))
        warm = [Generator(s.url, f, connections=share, seconds=WARM_UP_S) for s, f in zip(servers, files, strict=True)]
        # What the warm-up sent is not sent again; those under way at its end were sent as well.
        skips = [(load := generator.load()).requests + share + 1 for generator in warm]
        before_s = sum(server.cpu_s() for server in servers)
        running = [
            Generator(server.url, file, connections=share, seconds=seconds, skip=skip)
            for server, file, skip in zip(servers, files, skips, strict=True)
        ]
        load = together([generator.load() for generator in running])
        used_s = sum(server.cpu_s() for server in servers) - before_s
        return Run(load, used_s * 1e6 / max(load.requests, 1))

    return measure


def shares_of(requests: Path, count: int) -> list[Path]:
    """The file for each of several servers; `write_shares` of prepared.py made those beyond the first."""
    return [requests if index == 0 else requests.with_suffix(f".{index}") for index in range(count)]


def together(loads: Sequence[Load]) -> Load:
    """Several runs at once as one: rates added; of latencies the worst."""
    if len(loads) == 1:
        return loads[0]
    return Load(
        requests=sum(load.requests for load in loads),
        seconds=max(load.seconds for load in loads),
        p50_ms=max(load.p50_ms for load in loads),
        p99_ms=max(load.p99_ms for load in loads),
        p999_ms=max(load.p999_ms for load in loads),
        max_ms=max(load.max_ms for load in loads),
        refused=sum(load.refused for load in loads),
        broken=sum(load.broken for load in loads),
        generator_cpu=max(load.generator_cpu for load in loads),
    )


def best_of(found: Mapping[str, Ingest], names: Sequence[str]) -> str:
    """The contender of these that did most."""
    return max(names, key=lambda name: found[name].per_second.median)


def tell(line: str) -> None:
    """Progress, for who waits."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is a command


def _ingest(runs: Sequence[Run]) -> Ingest:
    def figures(pick: Callable[[Run], float]) -> Figures:
        return Figures(tuple(pick(run) for run in runs))

    return Ingest(
        per_second=figures(lambda run: run.load.per_second),
        p50_ms=figures(lambda run: run.load.p50_ms),
        p99_ms=figures(lambda run: run.load.p99_ms),
        p999_ms=figures(lambda run: run.load.p999_ms),
        cpu_us=figures(lambda run: run.cpu_us),
        generator_cpu=figures(lambda run: run.load.generator_cpu),
        failures=sum(run.load.refused + run.load.broken for run in runs),
    )
