"""A program that projects a log and rebuilds: `python -m tests.faults.projector URL DIES_AT`.

It kills itself at its n-th statement or commit (0: never); with DIES_AT it says on its standard output how many there were.
"""

import os
import signal
import sys
from itertools import count

from sqlalchemy import Engine, event

from ledger.ledger import Ledger
from projections.read_models import INBOUND_CONVERSATIONS, MESSAGE_STATUS, ReadModels


def dies_at(number: int) -> "count[int]":
    """Lets this process die at its n-th statement or commit from now on; gives what counts them."""
    steps = count(1)

    def step(*_: object) -> None:
        if next(steps) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", step)
    event.listen(Engine, "commit", step)
    return steps


def project(url: str) -> None:
    """Makes the read models, catches them up, and rebuilds both."""
    with Ledger.open_existing(url) as ledger, ReadModels.open(ledger) as models:
        models.catch_up()
        for name in (MESSAGE_STATUS, INBOUND_CONVERSATIONS):
            models.claim_rebuild(name).run()


if __name__ == "__main__":
    counted = dies_at(int(sys.argv[2]))
    project(sys.argv[1])
    print(next(counted) - 1)  # noqa: T201 - its purpose
