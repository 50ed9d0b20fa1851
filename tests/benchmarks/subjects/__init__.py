"""What can be measured, by name, in the order of docs/BENCHMARKS.md."""

from collections.abc import Callable

from tests.benchmarks.bench import Bench
from tests.benchmarks.section import Section
from tests.benchmarks.subjects import (
    audit,
    beside,
    ceilings,
    console,
    disk,
    growth,
    ingest,
    pace,
    reads,
    rebuild,
    rebuilding,
    traces,
)

SUBJECTS: dict[str, Callable[[Bench], Section]] = {
    "server": ceilings.server,
    "raw-inserts": ceilings.disk,
    "ingest": ingest.against_rivals,
    "connections": ingest.by_connections,
    "processes": ingest.by_processes,
    "mixes": ingest.by_mix,
    "pace": pace.pace,
    "reads": reads.reads,
    "beside": beside.beside,
    "console": console.console,
    "audit": audit.audit,
    "traces": traces.traces,
    "rebuild": rebuild.rebuild,
    "rebuilding": rebuilding.rebuilding,
    "growth": growth.growth,
    "disk": disk.disk,
}
