"""How many signed webhooks a second become durable and are answered: against rivals, by connections, by processes, by mix."""

from tests.benchmarks.bench import Bench, Mix
from tests.benchmarks.contenders import best, no_op, one_inserts, ours, standing_still, textbooks, without_projections
from tests.benchmarks.databases import ENGINES, TITLE, Engine
from tests.benchmarks.measuring import Ingest, rounds, under_load
from tests.benchmarks.section import INGEST_HEADER, Section, ingest_row
from tests.benchmarks.subjects.ceilings import raw_commits_per_second

CONNECTIONS = 64
SWEEP = (1, 8, 32, 64, 128, 256)
LAYOUTS = ((1, 1), (1, 16), (2, 1), (2, 16))
"""(server processes, partitions), on PostgreSQL."""

MIXES: tuple[Mix, ...] = ("single facts", "lifecycles", "duplicates")


def against_rivals(bench: Bench) -> Section:
    """The ledger beside what people would write instead, on the same work: verified, deduplicated, durable, answered."""
    contenders = [no_op(bench)]
    for engine in ENGINES:
        contenders += [
            ours(bench, engine),
            standing_still(bench, engine),
            without_projections(bench, engine),
            best(bench, textbooks(bench, engine)),
            best(bench, one_inserts(bench, engine)),
        ]
    measure = under_load(bench.deliveries(), connections=CONNECTIONS, seconds=bench.seconds)
    found = rounds(contenders, measure, count=bench.rounds)
    base = found[contenders[0].name]
    return Section(
        "ingest",
        "Webhooks in",
        f"{CONNECTIONS} connections, messages of four facts each, every fact new; {bench.settings}. The ratio is to the no-op "
        "route. Of each rival the best of several ways to set it up, which stands beside its name.",
        INGEST_HEADER,
        [ingest_row(name, each, base) for name, each in found.items()],
        [
            _in_words(found, "the ledger, SQLite", "SQLite"),
            _in_words(found, "the ledger, PostgreSQL", "PostgreSQL"),
        ],
    )


def _in_words(found: dict[str, Ingest], name: str, engine: str) -> str:
    """The ledger's rate in those of its rivals on the same engine, and what projecting takes of it."""
    taken = 1 - found[name].per_second.over(found[f"{name}, no projections"].per_second)
    rivals = [rival for rival in found if f", {engine} (" in rival]
    ratios = [
        f"{found[name].per_second.over(found[rival].per_second):.1f} × {rival.partition(',')[0]}" for rival in rivals
    ]
    return f"On {engine} the ledger does {' and '.join(ratios)}. Projecting takes {max(taken, 0.0):.0%} of the webhooks away."


def by_connections(bench: Bench) -> Section:
    """The ledger by the number of connections that deliver at once."""
    section = Section(
        "connections",
        "By connections",
        f"{bench.settings.capitalize()}. The ratio is to the no-op route at as many connections.",
        INGEST_HEADER,
    )
    for connections in SWEEP:
        measure = under_load(bench.deliveries(), connections=connections, seconds=bench.seconds)
        contenders = [no_op(bench), *(ours(bench, engine) for engine in ENGINES)]
        found = rounds(contenders, measure, count=bench.rounds)
        base = found[contenders[0].name]
        section.rows.extend(ingest_row(f"{connections}: {name}", each, base) for name, each in found.items())
        if connections == 1:
            section.notes.extend(
                _alone(bench, engine, found[contender.name].per_second.median, base.per_second.median)
                for engine, contender in zip(ENGINES, contenders[1:], strict=True)
            )
    return section


def _alone(bench: Bench, engine: Engine, ledger: float, no_op_route: float) -> str:
    commits = raw_commits_per_second(bench, engine, 1)
    one_then_the_other = 1 / (1 / no_op_route + 1 / commits)
    return (
        f"One client alone on {TITLE[engine]} gets {ledger / commits:.2f} of the {commits:,.0f} single commits/s that the database"
        " does with nothing else to do (a row of the log each). The no-op route and after it such a commit would be"
        f" {one_then_the_other / commits:.2f}."
    )


def by_processes(bench: Bench) -> Section:
    """The ledger on PostgreSQL, with several server processes and partitions."""
    measure = under_load(
        bench.deliveries(shares=max(processes for processes, _ in LAYOUTS)),
        connections=CONNECTIONS,
        seconds=bench.seconds,
    )
    contenders = [
        no_op(bench),
        *(ours(bench, "postgresql", processes=processes, partitions=partitions) for processes, partitions in LAYOUTS),
        ours(bench, "sqlite", partitions=16),
    ]
    found = rounds(contenders, measure, count=bench.rounds)
    base = found[contenders[0].name]
    return Section(
        "processes",
        "By server processes and partitions",
        f"{CONNECTIONS} connections in all, {bench.settings}. The ratio is to the no-op route (one process).",
        INGEST_HEADER,
        [ingest_row(name, each, base) for name, each in found.items()],
    )


def by_mix(bench: Bench) -> Section:
    """The ledger by what is delivered: messages of one fact, of four, and nothing but duplicates."""
    section = Section("mixes", "By what is delivered", f"{CONNECTIONS} connections, {bench.settings}.", INGEST_HEADER)
    for mix in MIXES:
        measure = under_load(bench.deliveries(mix), connections=CONNECTIONS, seconds=bench.seconds)
        contenders = [no_op(bench), *(ours(bench, engine) for engine in ENGINES)]
        found = rounds(contenders, measure, count=bench.rounds)
        base = found[contenders[0].name]
        section.rows.extend(ingest_row(f"{mix}: {name}", each, base) for name, each in found.items())
    return section
