"""What commands share when they speak: data to stdout, everything else to stderr, and nobody's control characters to either.

In a terminal data is a table; in a pipe it is lines of tab-separated text, or JSON in HTTP's shapes with `--json`.
"""

import json
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from api.visible import visible
from ledger.durations import lasting
from ledger.times import write_time

JSON_INDENT = 2
MILLISECOND_END, SECOND_END = -4, -8
ID_CHARACTERS_KEPT = 36
BETWEEN_COLUMNS = 2
BAR_CELLS_MIN = 8

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, in the shape of the HTTP API.")]

STYLE_OF = {
    "applied": "green",
    "created": "green",
    "noted": "cyan",
    "superseded": "yellow",
    "repeated": "yellow",
    "conflicting": "bold red",
    "unreadable": "bold red",
    "delivered": "bold green",
    "received": "bold green",
    "failed": "bold red",
    "sent": "bold cyan",
    "accepted": "bold cyan",
    "submitted": "bold cyan",
    "unknown": "bold yellow",
    "live": "green",
    "catching up": "yellow",
    "rebuilding": "yellow",
    "stopped": "bold red",
}
"""How effects, statuses and states look, wherever one of these words is a cell of its own."""


def to_stderr() -> Console:
    """For progress, warnings and advice."""
    return Console(stderr=True, highlight=False, emoji=False, markup=False)


def to_stdout() -> Console:
    """For data."""
    return Console(highlight=False, emoji=False, markup=False)


def said(text: object, style: str = "") -> Text:
    """Text of strangers: no markup in it counts, and no control character is obeyed."""
    return Text(visible(str(text)), style)


def print_json(value: object) -> None:
    """A value as JSON, bodies in it to the letter; in a terminal with control characters shown."""
    try:
        text = msgspec.json.format(msgspec.json.encode(value), indent=JSON_INDENT).decode()
    except (msgspec.DecodeError, UnicodeEncodeError):
        # A body may have a lone surrogate, which only Python's own JSON takes.
        text = json.dumps(value, indent=JSON_INDENT, default=lambda each: json.loads(msgspec.json.encode(each)))
    if sys.stdout.isatty():
        text = "\n".join(map(visible, text.split("\n")))
    typer.echo(text)


def print_bytes(content: bytes) -> None:
    """Exact bytes into a pipe or file; in a terminal with control characters shown."""
    if sys.stdout.isatty():
        typer.echo(visible(content.decode("utf-8", "replace")))
    else:
        typer.echo(content, nl=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], spared: Sequence[str] = ()) -> None:
    """A table in a terminal, without its empty columns; tab-separated lines with a heading in a pipe. None is empty.

    An id or a number that is cut in two cannot be copied. In a terminal that is too narrow for that, columns in `spared` are
    left out, one after the other, and named.
    """
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            typer.echo("\t".join(visible(_cell(each)) for each in row))
        return
    cells = [[said(_cell(each), STYLE_OF.get(_cell(each), "")) for each in row] for row in rows]
    if not cells:
        return
    console = to_stdout()
    natural = {
        column: max(cell_len(column), *(row[index].cell_len for row in cells))
        for index, column in enumerate(columns)
        if any(row[index].plain for row in cells)
    }
    least = {column: _least_width(column, [row[columns.index(column)] for row in cells]) for column in natural}
    left_out = []
    for column in spared:
        if column in least and _width(least) > console.width:
            left_out.append(column)
            del least[column]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    room = console.width - _width(least)
    for column, width in least.items():
        more = max(0, min(natural[column] - width, room))
        room -= more
        table.add_column(
            column,
            justify="right" if column in NUMBERS else "left",
            overflow="fold",
            width=width + more if room >= 0 else None,
        )
    for row in cells:
        table.add_row(*(row[columns.index(column)] for column in least))
    console.print(table)
    if left_out:
        console.print(
            said(f"Too narrow for: {', '.join(left_out)}. A wider terminal, a pipe and --json have them.", "dim")
        )


def rows_without_lines(columns: int, *, gap: int = 2) -> Table:
    """A table without lines around it, for who adds rows of so many cells. What is too long is folded, and never cut."""
    table = Table(show_header=False, box=None, padding=(0, gap, 0, 0), pad_edge=False)
    for _ in range(columns):
        table.add_column(overflow="fold")
    return table


def print_found(columns: Sequence[str], rows: Sequence[Sequence[object]], spared: Sequence[str] = ()) -> None:
    """The table of what was looked for, which may be nothing."""
    print_table(columns, rows, spared)
    if not rows:
        to_stderr().print("There are none.")


def tell_of_more(shown: int) -> None:
    """Says that there is more than a limit let through."""
    to_stderr().print(said(f"There are more than these {shown:,}; ask for more with --limit.", "yellow"))


def _least_width(column: str, cells: Sequence[Text]) -> int:
    """How narrow a column may be: no command, no time and no word is cut in two, unless a word is longer than an id is."""
    if column in COMMANDS:
        return max(map(cell_len, [column, *(each.plain for each in cells)]))
    texts = [each.plain for each in cells]
    words = texts if column.endswith("(UTC)") else [word for text in texts for word in text.split()]
    heading = max(map(cell_len, column.split()))
    return max(heading, min(max(map(cell_len, words), default=0), ID_CHARACTERS_KEPT))


def _width(widths: Mapping[str, int]) -> int:
    """The width of a table with columns of these widths."""
    return sum(widths.values()) + BETWEEN_COLUMNS * len(widths) + 1


NUMBERS = frozenset({"version", "sequence", "attempts", "bytes", "lag", "parked", "since", "messages", "number"})
"""Columns that are aligned to the right."""
COMMANDS = frozenset({"look with"})
"""Columns of what people copy whole."""


def when(time_us: int) -> str:
    """A time for people: UTC, milliseconds."""
    return write_time(time_us).replace("T", " ")[:MILLISECOND_END]


def when_about(time_us: int) -> str:
    """A time for people where many are listed: UTC, seconds."""
    return write_time(time_us).replace("T", " ")[:SECOND_END]


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 event`, `2 events`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


class Bar:
    """A bar on stderr: how much of how much is done, the time left, and how it goes."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress = progress
        self._what = what
        self._task = progress.add_task("", total=None, told=what)

    def show(self, done: int, total: int, rate: str | None = None, left_s: float | None = None) -> None:
        """Moves on. What is not given is what the bar has seen: events a second, and the time left at that rate."""
        self._progress.update(self._task, completed=done, total=total)
        (task,) = self._progress.tasks
        left_s = task.time_remaining if left_s is None else left_s
        told = [
            f"{done:,} of {total:,}",
            "" if left_s is None else f"{lasting(left_s)} left",
            rate if rate is not None else f"{task.speed:,.0f} events/s" if task.speed else "",
        ]
        room = self._progress.console.width - BAR_CELLS_MIN
        self._progress.update(self._task, told="  ".join(what_fits([self._what, *filter(None, told)], room)))


@contextmanager
def progress_bar(what: str) -> Iterator[Bar | None]:
    """A bar, if somebody is looking."""
    console = to_stderr()
    if not console.is_terminal:
        yield None
        return
    with Progress(TextColumn("{task.fields[told]}"), BarColumn(), console=console, transient=True) as progress:
        yield Bar(progress, what)


def what_fits(parts: Sequence[str], room: int) -> list[str]:
    """The parts without the last ones, two spaces apart, as many as there is room for; the first in any case."""
    kept = list(parts)
    while len(kept) > 1 and sum(cell_len(each) + BETWEEN_COLUMNS for each in kept) > room:
        kept.pop()
    return kept


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def called_as() -> str:
    """How to call this program again: by its name where the shell finds it, else as it was called."""
    called = sys.argv[0]
    if not called.endswith("ledger"):
        return f"{shlex.quote(sys.executable)} -m api.command_line"
    found = shutil.which("ledger")
    return "ledger" if found and Path(found).samefile(called) else shlex.quote(called)
