"""Log lines that a stranger or an outage could ask for by the thousand: one a second of a kind, with how many were left out."""

from collections import Counter

EVERY_S = 1.0


class Seldom:
    """Which lines are written. The clock is an argument, in seconds."""

    def __init__(self) -> None:
        self._written_at_s: dict[str, float] = {}
        self._left_out = Counter[str]()

    def left_out(self, kind: str, now_s: float) -> int | None:
        """How many of a kind were left out since its last line; None where this one is left out as well."""
        if kind in self._written_at_s and now_s - self._written_at_s[kind] < EVERY_S:
            self._left_out[kind] += 1
            return None
        self._written_at_s[kind] = now_s
        return self._left_out.pop(kind, 0)
