"""Ledgers that are filled once for all who measure on them, on every engine at once; each size is grown from the next smaller one.

They lie in a folder that is gone after the run, or that somebody keeps for the next one.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ledger.clock import now_us
from tests.benchmarks import filled, shop
from tests.benchmarks.databases import ENGINES, Engine
from tests.benchmarks.measuring import tell
from tests.engines import PostgresServer

FILLING = "filling"
LENT = "lent"


class Pasts:
    """What is filled in one folder and on one PostgreSQL, by name: the name is there once all engines have it."""

    def __init__(self, folder: Path, postgres: PostgresServer) -> None:
        self._folder = folder.absolute()
        self._postgres = postgres

    def shop(self, messages: int) -> dict[Engine, str]:
        """The URLs of shops (`shop.py`) with so many messages, the last of them when they were filled. Not to be written to."""
        name = f"shop_{messages}"
        self._have(name, None, lambda urls: shop.fill(urls, messages, now_us()))
        return {engine: self._url(engine, name) for engine in ENGINES}

    @contextmanager
    def lent(self, engine: Engine, events: int) -> Iterator[str]:
        """The URL of a ledger of so many events (`filled.py`) for the length of the block: a copy, which may be written to."""
        name = _past(events)
        smaller = max((size for size in self._sizes() if size < events), default=None)
        self._have(name, _past(smaller) if smaller else None, lambda urls: filled.fill(urls, events))
        copy = f"{LENT}_{name}"
        self._copy(engine, name, copy)
        try:
            yield self._url(engine, copy)
        finally:
            self._drop(engine, copy)

    def _have(self, name: str, smaller: str | None, fill: Callable[[Sequence[str]], None]) -> None:
        if self._place(name).exists():
            return
        tell(f"  filling {name.replace('_', ' ')}")
        for engine in ENGINES:
            self._drop(engine, FILLING)  # of a run that was killed
            if smaller is None:
                self._create(engine, FILLING)
            else:
                self._copy(engine, smaller, FILLING)
        fill([self._url(engine, FILLING) for engine in ENGINES])
        # As autovacuum leaves it, which would else come at a moment of its own.
        self._postgres.execute("VACUUM (ANALYZE)", database=FILLING)
        self._postgres.execute(f"DROP DATABASE IF EXISTS {name}")
        self._postgres.execute(f"ALTER DATABASE {FILLING} RENAME TO {name}")
        self._place(FILLING).rename(self._place(name))

    def _sizes(self) -> list[int]:
        return [int(each.name.removeprefix(_past(""))) for each in self._folder.glob(_past("*"))]

    def _place(self, name: str) -> Path:
        return self._folder / name

    def _url(self, engine: Engine, name: str) -> str:
        return f"sqlite:///{self._place(name)}/ledger.db" if engine == "sqlite" else self._postgres.url_of(name)

    def _create(self, engine: Engine, name: str) -> None:
        if engine == "sqlite":
            self._place(name).mkdir(parents=True)
        else:
            self._postgres.execute(f"CREATE DATABASE {name}")

    def _copy(self, engine: Engine, name: str, copy: str) -> None:
        self._drop(engine, copy)
        if engine == "sqlite":
            shutil.copytree(self._place(name), self._place(copy))
            os.sync()  # what the disk still has to write of it must not be measured
        else:
            self._postgres.execute(f"CREATE DATABASE {copy} TEMPLATE {name} STRATEGY file_copy")

    def _drop(self, engine: Engine, name: str) -> None:
        if engine == "sqlite":
            shutil.rmtree(self._place(name), ignore_errors=True)
        else:
            self._postgres.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _past(events: int | str) -> str:
    return f"past_{events}"
