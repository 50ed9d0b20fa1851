"""What every subject works with: how long to measure, empty places on each engine, and prepared requests."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal, Self

from tests.benchmarks.databases import Engine, KeptPostgres
from tests.benchmarks.pasts import Pasts
from tests.benchmarks.prepared import lifecycles, repeated, single_facts, write_deliveries
from tests.engines import PrivatePostgres

Mix = Literal["lifecycles", "single facts", "duplicates"]

DUPLICATED = 500
DELIVERIES_PER_SECOND_MAX = 25_000
FIRST_MESSAGE_OF_SHARE = 100_000_000


@dataclass
class Bench:
    """One run of the suite. Everything that it makes lies in `folder`, and is gone afterwards, but for what `keep` is to hold."""

    folder: Path
    rounds: int
    seconds: int
    big: bool = False
    keep: Path | None = None
    """Where filled ledgers and PostgreSQL's data stay, for those who measure twice."""
    chosen: dict[str, str] = field(default_factory=dict)
    _places: int = 0
    _prepared: dict[tuple[Mix, int], Path] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def begun(
        cls, *, quick: bool, big: bool = False, beside: Path | None = None, keep: Path | None = None
    ) -> Iterator[Self]:
        """A run, with a folder on the disk that is measured; `quick` measures less, for a first look."""
        with tempfile.TemporaryDirectory(prefix="ledger-benchmarks-", dir=beside) as folder:
            bench = cls(Path(folder), rounds=1 if quick else 3, seconds=2 if quick else 5, big=big, keep=keep)
            try:
                yield bench
            finally:
                if "postgres" in bench.__dict__:
                    bench.postgres.__exit__()

    @property
    def quick(self) -> bool:
        """Whether only a first look is wanted."""
        return self.rounds == 1

    @cached_property
    def postgres(self) -> PrivatePostgres:
        """A PostgreSQL server of our own, with its usual settings and every sync on. Raises NotInstalled."""
        return (PrivatePostgres() if self.keep is None else KeptPostgres(self.keep / "postgres")).__enter__()

    @cached_property
    def pasts(self) -> Pasts:
        """Filled ledgers. Raises NotInstalled."""
        return Pasts(self.keep or self.folder, self.postgres)

    @contextmanager
    def place(self, engine: Engine) -> Iterator[str]:
        """The URL of an empty database, for the length of the block."""
        if engine == "postgresql":
            with self.postgres.fresh_database() as url:
                yield url
            return
        self._places += 1
        folder = self.folder / f"place-{self._places}"
        folder.mkdir()
        try:
            yield f"sqlite:///{folder}/ledger.db"
        finally:
            shutil.rmtree(folder)

    def deliveries(self, mix: Mix = "lifecycles", *, shares: int = 1) -> Path:
        """Signed deliveries for one run: in a file, with one file more for each further server."""
        count = DELIVERIES_PER_SECOND_MAX * (self.seconds + 1)
        for share in range(shares):
            if (mix, share) not in self._prepared:
                file = self.folder / mix.replace(" ", "-")
                file = file if share == 0 else file.with_suffix(f".{share}")
                facts = FACTS[mix](share * FIRST_MESSAGE_OF_SHARE)
                self._prepared[mix, share] = write_deliveries(file, facts, count)
        return self._prepared[mix, 0]

    @property
    def settings(self) -> str:
        """How it was measured, in words."""
        times = "once" if self.rounds == 1 else f"{self.rounds} rounds by turns"
        return f"{times}, {self.seconds} s each after a second of warm-up, on an empty store each time"


def _duplicates(first: int) -> Iterator[bytes]:
    return repeated(islice(single_facts(first), DUPLICATED))


FACTS: dict[Mix, Callable[[int], Iterator[bytes]]] = {
    "lifecycles": lifecycles,
    "single facts": single_facts,
    "duplicates": _duplicates,
}
