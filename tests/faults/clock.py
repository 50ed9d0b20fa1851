"""The server's clock steps by minutes, days and decades, back and forth, while the provider's stays right.

Nothing may be refused, lost or ordered by it: what is signed outside the replay window is recorded and marked late, and
ten in a row raise an alarm.
"""

import json
import time
from pathlib import Path
from random import Random

from api.clock_watch import LATE_IN_A_ROW_MAX
from ledger.log_entries import readable
from ledger.positions import Cursor
from ledger.signatures import REPLAY_WINDOW_S_DEFAULT
from tests.api.running import Running, running, settings_at
from tests.faults.figures import Figures
from tests.faults.places import folder_in_memory
from tests.faults.read_models import served_read_model_violations

STEPS_S = (0, 1, 60, 3_600, 86_400, 30 * 86_400, 50 * 365 * 86_400)
MESSAGES_A_STEP = LATE_IN_A_ROW_MAX
KINDS = (("message.delivery", 3), ("message.queued", 1), ("message.sent", 2))
"""Delivered first, so that whoever orders by time would end at another status."""


def clock_steps(trials: int, seed: int) -> Figures:
    """So many steps of the clock of one server."""
    figures = Figures("clock-steps")
    dice = Random(seed)
    with folder_in_memory() as folder, running(settings_at(Path(folder))) as server:
        off_s = 0

        def stepped_us() -> int:
            return max(0, time.time_ns() // 1_000 + off_s * 1_000_000)

        server.service.now_us = stepped_us
        late: list[bool] = []
        for trial in range(trials):
            off_s = dice.choice(STEPS_S) * dice.choice((-1, 1))
            is_late = abs(off_s) > REPLAY_WINDOW_S_DEFAULT
            figures.trials += 1
            figures.hits += off_s != 0
            figures.counts["recorded late"] += is_late * MESSAGES_A_STEP * len(KINDS)
            figures.violated(*_deliver(server, trial), *_alarm(server, trial, is_late=is_late))
            late += [is_late] * MESSAGES_A_STEP * len(KINDS)
        figures.counts["recorded"] = len(late)
        figures.violated(*_not_marked_so(server, late))
        figures.violated(*served_read_model_violations(server.service.ledger, rebuilding=True))
    return figures


def _deliver(server: Running, trial: int) -> list[str]:
    """Delivers a step's facts; what was not recorded at the next position."""
    wrong: list[str] = []
    for number in range(MESSAGES_A_STEP * len(KINDS)):
        message, step = divmod(number, len(KINDS))
        kind, sequence = KINDS[step]
        said = {"eventType": kind, "messageId": f"msg_{trial}_{message}", "sequence": sequence}
        answer = server.deliver(json.dumps(said).encode())
        expected = f"0-{trial * MESSAGES_A_STEP * len(KINDS) + number + 1}"
        if answer.status_code != 202 or answer.json()["position"] != expected:
            wrong.append(f"step {trial}: expected 202 at {expected}, was answered {answer.status_code} {answer.text}")
    return wrong


def _alarm(server: Running, trial: int, *, is_late: bool) -> list[str]:
    """Whether the alarm is on when it must be."""
    warnings = server.service.clock.warnings()
    return [] if bool(warnings) == is_late else [f"step {trial}: late is {is_late}, the alarm says {warnings}"]


def _not_marked_so(server: Running, late: list[bool]) -> list[str]:
    """Events that are not marked late as they should be, and messages that time has reordered."""
    ledger, cursor, found = server.service.ledger, Cursor.start(1), []
    while True:
        entries, cursor = ledger.feed(cursor, 500)
        if not entries:
            break
        found += [entry.event.receipt.late for entry in readable(entries)]
    wrong = [] if found == late else ["the marks of lateness are not those that the steps should give"]
    statuses = {ledger.message(f"msg_{trial}_0").status for trial in range(len(late) // MESSAGES_A_STEP // len(KINDS))}
    return wrong if statuses == {"delivered"} else [*wrong, f"expected every message delivered, found {statuses}"]
