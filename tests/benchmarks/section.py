"""What a subject found: a table and a few sentences, printed, and kept in docs/BENCHMARKS.md between two marks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.measuring import Figures, Ingest


@dataclass(frozen=True)
class Section:
    """One table. `settings` says how it was measured."""

    name: str
    title: str
    settings: str
    header: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        widths = [max(len(cell) for cell in column) for column in zip(self.header, *self.rows, strict=True)]
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in (self.header, ["-" * width for width in widths], *self.rows)
        ]
        notes = [f"\n{note}" for note in self.notes]
        return "\n".join([f"### {self.title}\n", f"{self.settings}\n", *lines, *notes])


def write(file: Path, name: str, content: str, order: Sequence[str]) -> None:
    """Puts what was measured in the place of what was measured last time, or else before the next one in the order of names."""
    text = file.read_text() if file.exists() else "# Benchmarks\n"
    block = f"{_begin(name)}\n{content}\n{_end(name)}"
    marked = re.compile(re.escape(_begin(name)) + ".*?" + re.escape(_end(name)), re.DOTALL)
    later = [_begin(each) for each in order[order.index(name) + 1 :] if _begin(each) in text]
    if marked.search(text):
        file.write_text(marked.sub(lambda _: block, text))
    elif later:
        file.write_text(text.replace(later[0], f"{block}\n\n{later[0]}"))
    else:
        file.write_text(f"{text.rstrip()}\n\n{block}\n")


def _begin(name: str) -> str:
    return f"<!-- begin {name} -->"


def _end(name: str) -> str:
    return f"<!-- end {name} -->"


INGEST_HEADER = ("", "answers/s", "spread", "ratio", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs")


def ingest_row(name: str, found: Ingest, base: Ingest) -> list[str]:
    """A contender beside the one that the ratio is to."""
    row = [
        name,
        f"{found.per_second.median:,.0f}",
        percent(found.per_second),
        ratio(found.per_second.over(base.per_second)),
        f"{found.p50_ms.median:.1f}",
        f"{found.p99_ms.median:.1f}",
        f"{found.p999_ms.median:.1f}",
        f"{found.cpu_us.median:.0f}",
    ]
    if found.failures:
        row[0] += f" ({found.failures} FAILED)"
    return row


def percent(figures: Figures) -> str:
    """The spread."""
    return f"{figures.spread:.0%}"


def ratio(value: float) -> str:
    """A ratio, with as many digits as mean something."""
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 3 else f"{value:.2f}"
