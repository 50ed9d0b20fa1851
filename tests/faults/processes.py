"""A program as the system sees it: its process and those that it has started, which can all be stopped for a while."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def family(pid: int) -> list[int]:
    """A process and all that descend from it, parents first."""
    children = (file.read_text().split() for file in Path(f"/proc/{pid}/task").glob("*/children"))
    return [pid, *(each for child in {int(one) for many in children for one in many} for each in family(child))]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """None of them gets any time for the length of a `with`."""
    processes = family(pid)
    _signal(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(reversed(processes), signal.SIGCONT)


def _signal(processes: Iterable[int], number: signal.Signals) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
