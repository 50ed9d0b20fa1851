"""Small charts as paths of an inline SVG: made here, drawn by the browser, moved on by the page's script."""

from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 600, 96
CEILINGS = (1, 2, 5)


class Chart(NamedTuple):
    """A line, the area under it, and what its top stands for."""

    line: str
    area: str
    ceiling: int


def chart_of(values: Sequence[float], places: int) -> Chart:
    """The latest values, the newest at the right edge, in a drawing with room for so many."""
    shown = list(values[-places:])
    ceiling = ceiling_of(max(shown, default=0.0))
    step = WIDTH / max(1, places - 1)
    points = [
        (WIDTH - step * (len(shown) - 1 - number), HEIGHT * (1 - value / ceiling)) for number, value in enumerate(shown)
    ]
    if not points:
        return Chart("", "", ceiling)
    line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return Chart(line, f"{line}L{WIDTH} {HEIGHT}L{points[0][0]:.1f} {HEIGHT}Z", ceiling)


def ceiling_of(highest: float) -> int:
    """The next of 1, 2, 5, 10, 20 …, so that the scale stays still while values move."""
    scale = 1
    while highest > CEILINGS[-1] * scale:
        scale *= 10
    return next(scale * each for each in CEILINGS if highest <= scale * each)
