"""What verification says: findings, and heads to be noted elsewhere."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from ledger.errors import MalformedQuestion
from ledger.positions import Position

FINDINGS_PER_PARTITION_MAX = 20
NOTED_PREFIX = "audit-"
RESTORE = "compare with a backup (docs/RUNBOOK.md, verify)"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was recorded: where, what was expected and found, and what to do.

    `position` is None for what has no place in the log: the quarantine and the register of sends. `count` is how many it stands
    for, where there are too many to tell each.
    """

    position: Position | None
    message: str
    count: int = 1

    def __str__(self) -> str:
        return self.message if self.position is None else f"{self.position}: {self.message}"


@dataclass(frozen=True, slots=True)
class NotedHead:
    """That an event with this hash once stood at this position; `noted_in` names the entry of the audit trail that says so."""

    position: Position
    hash: bytes
    noted_in: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.position}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str, noted_in: str | None = None) -> "NotedHead":
        """The head that an earlier verification wrote as `0-17:HASH`, or MalformedQuestion."""
        place, _, written = text.strip().partition(":")
        try:
            noted = bytes.fromhex(written)
        except ValueError:
            noted = b""
        if len(noted) != hashlib.sha256().digest_size:
            raise MalformedQuestion(
                f"expected a noted head such as 0-17:HASH with 64 hexadecimal digits, got {text[:90]!r}"
            )
        return cls(Position.parse(place), noted, noted_in)


class Findings:
    """What was found in one partition: the first twenty, and how many more."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._first: list[Finding] = []
        self._more = 0

    @property
    def room(self) -> int:
        """How many more are kept."""
        return FINDINGS_PER_PARTITION_MAX - len(self._first)

    def add(self, number: int | None, message: str) -> None:
        """Keeps a finding at a position of the partition, or about none."""
        if self.room <= 0:
            self._more += 1
            return
        place = None if number is None else Position(self._partition, number)
        self._first.append(Finding(place, message))

    def listed(self) -> list[Finding]:
        """The first of them, and how many more there are."""
        if not self._more:
            return self._first
        more = f"partition {self._partition} has {self._more:,} findings more"
        return [*self._first, Finding(None, more, self._more)]


def count_of(findings: Iterable[Finding]) -> int:
    """How many there are, with those that are not told one by one."""
    return sum(each.count for each in findings)


def shown(stored: object) -> str:
    """Stored bytes as hexadecimal digits; whatever else stands there, briefly."""
    return stored.hex() if isinstance(stored, bytes) else repr(stored)[:80]
