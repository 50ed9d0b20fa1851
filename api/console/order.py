"""The order that was meant beside the order that came: rows on the left and right, and a line from each claim to its event.

The provider's sequence says what was meant; the log says how it came. Lines that cross are webhooks that overtook others.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from api.explanation import STATUS_WORDS
from ledger.events import event_type_of, sequence_of
from ledger.log_entries import LogEntry
from ledger.provider import Effect

ROW_PX = 48
ROWS_MAX = 40


class Meant(NamedTuple):
    """A row on the left: a sequence and what was claimed of it, or a hole from `sequence` to `last`."""

    sequence: int
    last: int
    words: str
    is_hole: bool


class Came(NamedTuple):
    """A row on the right: an event, in the order of recording."""

    entry: LogEntry
    words: str


class Way(NamedTuple):
    """A line from a sequence to its event, as a path in a drawing that is 100 wide and `ROW_PX` a row high."""

    path: str
    effect: Effect


class Order(NamedTuple):
    """Both orders. `is_as_meant` says that no line crosses another."""

    meant: list[Meant]
    came: list[Came]
    ways: list[Way]
    is_as_meant: bool

    @property
    def words(self) -> str:
        """What there is to say of an order in which nothing overtook anything."""
        is_whole = not any(row.is_hole for row in self.meant) and len(self.meant) == len(self.came)
        return "It came as it was meant." if is_whole else "Nothing overtook anything; but see what is marked."

    @property
    def height(self) -> int:
        """Of the drawing."""
        return ROW_PX * max(len(self.meant), len(self.came))


def order_of(entries: Sequence[LogEntry]) -> Order | None:
    """Both orders of a history; None where there is no order to show, or too much of it for a picture."""
    sequenced = [entry for entry in entries if sequence_of(entry.event) is not None]
    distinct = sorted({sequence_of(entry.event) or 0 for entry in sequenced})
    meant = _meant(sequenced, distinct)
    if not distinct or len(sequenced) + len(meant) <= 2 or max(len(meant), len(sequenced)) > ROWS_MAX:  # noqa: PLR2004
        return None
    place = {row.sequence: number for number, row in enumerate(meant) if not row.is_hole}
    ways = [
        Way(_path(place[sequence_of(entry.event) or 0], number), entry.effect) for number, entry in enumerate(sequenced)
    ]
    first_seen = list(dict.fromkeys(sequence_of(entry.event) or 0 for entry in sequenced))
    came = [Came(entry, word_of(entry)) for entry in sequenced]
    return Order(meant, came, ways, first_seen == distinct)


def word_of(entry: LogEntry) -> str:
    """What an event claims, in a word."""
    kind = event_type_of(entry.event)
    return STATUS_WORDS.get(kind, kind)


def _meant(sequenced: Sequence[LogEntry], distinct: Sequence[int]) -> list[Meant]:
    words: dict[int, dict[str, None]] = {}
    for entry in sequenced:
        words.setdefault(sequence_of(entry.event) or 0, {})[word_of(entry)] = None
    rows = [Meant(sequence, sequence, " / ".join(words[sequence]), is_hole=False) for sequence in distinct]
    holes = [
        Meant(before + 1, after - 1, "never came", is_hole=True)
        for before, after in pairwise(distinct)
        if after - before > 1
    ]
    return sorted(rows + holes)


def _path(left: int, right: int) -> str:
    start, end = ROW_PX * left + ROW_PX // 2, ROW_PX * right + ROW_PX // 2
    return f"M0 {start} C45 {start} 55 {end} 100 {end}"
