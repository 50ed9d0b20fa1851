"""A rebuild in a process of its own that kills itself after so many batches; its arguments are the ledger's URL and their number.

With a third one, a file, batches are prepared ahead; the file gets the id of the process that does it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ledger.ledger import Ledger
from projections import ahead, lease, rebuild
from projections.lease import RebuildProgress
from projections.log_batches import Bounds
from projections.message_status import MESSAGE_STATUS
from projections.read_models import ReadModels

BATCH_EVENTS = 20


def main() -> None:
    """Rebuilds in small batches, and tells after each."""
    rebuild.BATCH, lease.TELL_EVERY_S = Bounds(BATCH_EVENTS, 1_000_000), 0.0
    batches = iter(range(int(sys.argv[2])))

    def told(_: RebuildProgress) -> None:
        if next(batches, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    if len(sys.argv) > 3:
        ahead.AHEAD_EVENTS_MIN, ahead.BEGUN_WITHIN_S = 1, 60.0
        _note_processes(Path(sys.argv[3]))
    with Ledger.open_existing(sys.argv[1]) as ledger:
        ReadModels.open(ledger).claim_rebuild(MESSAGE_STATUS).run(told)


def _note_processes(file: Path) -> None:
    popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen

    def noted(*arguments: object, **named: object) -> subprocess.Popen[bytes]:
        started = popen(*arguments, **named)
        file.write_text(str(started.pid))
        return started

    subprocess.Popen = noted  # type: ignore[misc,assignment]
