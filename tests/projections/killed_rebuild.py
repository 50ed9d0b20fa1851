"""A rebuild in a process of its own that kills itself after so many batches; its arguments are the ledger's URL and their number."""

import os
import signal
import sys

from ledger.ledger import Ledger
from projections import rebuild
from projections.log_batches import Bounds
from projections.read_models import MESSAGE_STATUS, ReadModels, RebuildProgress

BATCH_EVENTS = 20


def main() -> None:
    """Rebuilds in small batches, and tells after each."""
    rebuild.BATCH, rebuild.TELL_EVERY_S = Bounds(BATCH_EVENTS, 1_000_000), 0.0
    batches = iter(range(int(sys.argv[2])))

    def told(_: RebuildProgress) -> None:
        if next(batches, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    with Ledger.open_existing(sys.argv[1]) as ledger:
        ReadModels.open(ledger).claim_rebuild(MESSAGE_STATUS).run(told)
