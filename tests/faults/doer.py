"""The process whose forks do deeds and die: a line of JSON in, how the fork ended and how many steps it took out.

A step is a statement or a commit, of any database; dying is SIGKILL just before it. Python takes a second to import the program,
which a fork has done already.
"""

import json
import os
import signal
import sys
import threading
from itertools import count
from typing import NoReturn

from sqlalchemy import Engine, event

from tests.faults.deeds import DEEDS

COUNTED_THREADS = ("MainThread", "ledger-rebuild-writer")
"""Those that do the deed: others, which run beside it, take steps without end."""


def do_deeds() -> None:
    """Forks for each line, until there are no more."""
    for line in sys.stdin:
        order = json.loads(line)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            _do(order["deed"], order["url"], order["dies_at"], write)
        os.close(write)
        _, status = os.waitpid(pid, 0)
        with os.fdopen(read) as told:
            steps = int(told.read() or 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status), "steps": steps}), flush=True)  # noqa: T201


def _do(deed: str, url: str, dies_at: int, tell: int) -> NoReturn:
    status = 1
    try:
        steps = _dying_at(dies_at)
        DEEDS[deed](url)
        os.write(tell, str(next(steps) - 1).encode("ascii"))
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)


def _dying_at(number: int) -> "count[int]":
    """Lets this process die at its n-th step (0: never); gives what counts them."""
    steps = count(1)

    def step(*_: object) -> None:
        if threading.current_thread().name.startswith(COUNTED_THREADS) and next(steps) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", step)
    event.listen(Engine, "commit", step)
    return steps


if __name__ == "__main__":
    do_deeds()
