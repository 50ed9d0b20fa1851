"""What commands show while they work, in the terminal that there is."""

from io import StringIO

import pytest
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from api.command_line.terminal import Bar

MINUTES = 61.0


def drawn(columns: int, *moves: tuple[int, int]) -> str:
    """The last line of a bar after these moves, each told with the time that is left."""
    console = Console(file=StringIO(), width=columns, force_terminal=True, color_system=None)
    progress = Progress(TextColumn("{task.fields[told]}"), BarColumn(), console=console)
    bar = Bar(progress, "rebuilding inbound-conversations")
    for done, total in moves:
        bar.show(done, total, "12,345 events/s", MINUTES)
    with console.capture() as captured:
        console.print(progress)
    return captured.get().rstrip("\n")


def test_the_time_left_is_told_whatever_the_log_grows_meanwhile() -> None:
    assert "  570,000 of 583,123  1 min left  12,345 events/s " in drawn(120, (569_000, 583_000), (570_000, 583_123))


@pytest.mark.parametrize(
    "columns, whole",
    [
        (120, "rebuilding inbound-conversations  5,700,000 of 5,831,234  1 min left  12,345 events/s"),
        (80, "rebuilding inbound-conversations  5,700,000 of 5,831,234  1 min left"),
        (66, "rebuilding inbound-conversations  5,700,000 of 5,831,234"),
        (50, "rebuilding inbound-conversations"),
    ],
)
def test_a_bar_leaves_out_what_matters_least_and_cuts_nothing(columns: int, whole: str) -> None:
    line = drawn(columns, (5_700_000, 5_831_234))

    assert line.startswith(f"{whole} ")
    assert set(line.removeprefix(whole)) <= set(" ━╸╺")
