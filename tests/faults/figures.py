"""What a campaign found, as one line. A fault that never hit proves nothing, so hits are counted and a run without any fails."""

from collections import Counter
from dataclasses import dataclass, field

VIOLATIONS_SHOWN = 10
ZERO_IN_N = 3
"""Where nothing was found in n trials, its probability is below 3/n at 95 % confidence ("rule of three")."""


@dataclass
class Figures:
    """The figures of one campaign: `hits` are the trials in which the fault really hit."""

    name: str
    trials: int = 0
    hits: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def violated(self, *said: str) -> None:
        """Notes what must not be."""
        self.violations.extend(said)

    @property
    def fine(self) -> bool:
        """Whether the fault hit and nothing was violated."""
        return self.hits > 0 and not self.violations

    def __str__(self) -> str:
        counted = ", ".join(f"{count:,} {what}" for what, count in self.counts.items())
        end = f"{len(self.violations)} violations"
        if self.hits == 0:
            end += "; THE FAULT NEVER HIT"
        elif not self.violations:
            end += f" (0 in {self.hits}: < {ZERO_IN_N / self.hits:.2%} at 95 %)"
        return f"{self.name}: {self.trials} trials, {self.hits} hits, {counted}; {end}"

    def told(self) -> str:
        """The line, and the first violations below it."""
        return "\n".join([str(self), *(f"  violation: {each}" for each in self.violations[:VIOLATIONS_SHOWN])])
