"""Places in the log: the position of an event, and a reader's cursor over all partitions.

Positions go out as text ("0-17"), because JSON consoles lose whole numbers above 2^53.
"""

import base64
import binascii
import re
from typing import NamedTuple, Self

from ledger.errors import MalformedQuestion

POSITION_MAX = 2**63 - 1

_POSITION = re.compile(r"(0|[1-9][0-9]{0,4})-(0|[1-9][0-9]{0,18})", re.ASCII)
_CURSOR = re.compile(rb"feed1((?:,[0-9]{1,19})+)")
_CURSOR_CHARACTERS_MAX = 65_536


class Position(NamedTuple):
    """A partition, and the number of an event in it: 1, 2, 3 … without holes. Number 0 is before the first event."""

    partition: int
    number: int

    def __str__(self) -> str:
        return f"{self.partition}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The position written as `0-17`, or MalformedQuestion."""
        match = _POSITION.fullmatch(text)
        if match is None or int(match[2]) > POSITION_MAX:
            raise MalformedQuestion(f"expected a position such as 0-17, got {text[:40]!r}")
        return cls(int(match[1]), int(match[2]))


class Cursor(NamedTuple):
    """How far a reader of the feed has read in each partition. Outside it is one opaque text."""

    numbers: tuple[int, ...]

    @classmethod
    def start(cls, partitions: int) -> Self:
        """The cursor before the first event."""
        return cls((0,) * partitions)

    def advanced(self, position: Position) -> "Cursor":
        """The cursor after the event at `position`."""
        numbers = list(self.numbers)
        numbers[position.partition] = position.number
        return Cursor(tuple(numbers))

    def __str__(self) -> str:
        written = "feed1" + "".join(f",{number}" for number in self.numbers)
        return base64.urlsafe_b64encode(written.encode("ascii")).decode("ascii").rstrip("=")

    @classmethod
    def parse(cls, text: str, partitions: int) -> Self:
        """The cursor that an earlier answer gave as `next`, or MalformedQuestion."""
        numbers = _numbers(text)
        if len(numbers) != partitions or max(numbers, default=0) > POSITION_MAX:
            raise MalformedQuestion(
                "the cursor is not one that this ledger gave out; start without one, or use a `next`"
            )
        return cls(numbers)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        padded = text[:_CURSOR_CHARACTERS_MAX] + "=" * (-len(text) % 4)
        written = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return ()
    match = _CURSOR.fullmatch(written)
    return tuple(int(number) for number in match[1][1:].split(b",")) if match else ()
