"""Does a deed and dies at its n-th step; in a process of its own (`tests/forks.py`).

A step is a statement or a commit, of any database; dying is SIGKILL just before it. Whoever lives tells how many steps there were.
"""

import os
import signal
import sys
import threading
from itertools import count

from sqlalchemy import Engine, event

from tests.faults.deeds import DEEDS


def main() -> None:
    """Its arguments are the deed, the URL of the ledger, and the step to die at (0: none)."""
    deed, url, dies_at = sys.argv[1:]
    steps = _dying_at(int(dies_at))
    DEEDS[deed](url)
    print(next(steps) - 1)  # noqa: T201 - its answer


def _dying_at(number: int) -> "count[int]":
    """Lets this process die at its n-th step (0: never); gives what counts them."""
    steps = count(1)

    def step(*_: object) -> None:
        # The main thread does the deed: others, which run beside it, take steps without end.
        if threading.current_thread() is threading.main_thread() and next(steps) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", step)
    event.listen(Engine, "commit", step)
    return steps
