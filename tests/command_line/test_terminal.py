"""What commands show while they work, in the terminal that there is."""

import re
import sys
from io import StringIO

import pytest
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from api.command_line.projections import COLUMNS, print_projections
from api.command_line.rebuild import progress_shown
from api.command_line.terminal import Bar
from projections.health import LIVE, REBUILDING, ProjectionStatus
from projections.heartbeats import Seen
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.lease import RebuildProgress
from projections.message_status import MESSAGE_STATUS

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


def test_a_rebuild_s_bar_tells_the_rebuild_s_own_estimate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")

    with progress_shown(MESSAGE_STATUS) as show:
        assert show is not None
        show(RebuildProgress(569_000, 583_000, 12_345.0, 2 * MINUTES))
        show(RebuildProgress(570_000, 583_123, 12_345.0, MINUTES))

    assert "570,000 of 583,123  1 min left  12,345 events/s" in capsys.readouterr().err


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


@pytest.mark.parametrize("head", ["0-601181", ",".join(f"{partition}-150295" for partition in range(4))])
@pytest.mark.parametrize("columns, left_out", [(80, ["version", "position"]), (200, [])])
def test_read_models_are_listed_with_nothing_cut_in_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int, left_out: list[str], head: str
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    rebuild = RebuildProgress(570_000, 601_181, 12_345.0, 61.0)
    status = ProjectionStatus(
        MESSAGE_STATUS, 1, 1, REBUILDING, head, head, 601_181, 12_306.2, 6, rebuild, Seen("host:1", 0.1)
    )

    print_projections([status, status._replace(name=INBOUND_CONVERSATIONS, state=LIVE, lag_seconds=1.0, rebuild=None)])

    shown = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)
    words = set(shown.split())
    assert {MESSAGE_STATUS, INBOUND_CONVERSATIONS, "rebuilding", "601,181", "570,000", "3", "1.0", "6"} <= words
    assert {"0-601181", "3-150295"} & words
    assert [each for each in COLUMNS if f" {each} " not in shown] == left_out
    assert ("Too narrow for: version, position." in shown) == bool(left_out)
    assert max(map(len, shown.splitlines())) <= columns
