"""The disk of an embedded ledger's read models fails or is full, and that of its log is well: the provider must not notice.

Every delivery is acknowledged meanwhile. Once the disk is repaired, the same server catches up by itself, and shows what a
fold of the log gives.
"""

import asyncio
import json
from random import Random

from ledger.ledger import Ledger
from ledger.store.place import READ_MODELS
from tests.faults.checks import violations
from tests.faults.disk import (
    FAILS_FROM_CALL_MAX,
    can_mount,
    created,
    failing,
    fill,
    small_file_system,
    while_broken,
)
from tests.faults.figures import Figures
from tests.faults.load import OK, Journal, Traffic, deliver_all
from tests.faults.places import fresh_folder
from tests.faults.read_models import served_read_model_violations
from tests.faults.serving import Serving, serve
from tests.faults.stopping import is_ready

FULL = ("", "full")
FAULTS = (("pwrite64", "ENOSPC"), ("fsync,fdatasync", "EIO"), ("pwrite64", "EIO"), ("pwrite64", "EROFS"), FULL)
"""The read models' write-ahead log is never cut off, so no truncation of it can fail."""

LARGE_BODIES, LARGE_BYTES = 48, 128 * 1024
"""Failures, which are kept whole: more than SQLite moves from the write-ahead log into the file, and syncs, at a time."""

CONNECTIONS = 4
SUFFIXES = ("", "-wal", "-shm")
TOLD = "projecting failed and is tried again"


def read_models_disk(trials: int, seed: int) -> Figures:
    """Every fault in turn."""
    figures = Figures("read-models-disk")
    dice = Random(seed)
    faults = [fault for fault in FAULTS if fault != FULL or can_mount()]
    for trial in range(trials):
        calls, error = faults[trial % len(faults)]
        traffic = Traffic(f"shown{trial}", dice, Journal())
        if (calls, error) == FULL:
            _full(figures, traffic)
        else:
            # A sync is rare: two for each time that the write-ahead log is moved into the file.
            first = dice.randint(1, FAILS_FROM_CALL_MAX) if calls == "pwrite64" else 1
            _failing(figures, traffic, calls, error, first)
    return figures


def _failing(figures: Figures, traffic: Traffic, calls: str, error: str, first: int) -> None:
    with fresh_folder() as folder:
        url = created(folder)
        files = [folder / f"ledger.db{READ_MODELS}{suffix}" for suffix in SUFFIXES]
        server = serve(url, folder / "log")
        with failing(server, calls, error, first, files) as trace:
            asyncio.run(_while_broken(server.port, traffic))
        hits = trace.read_text().count("(INJECTED)")
        figures.counts["failed calls"] += hits
        _repaired(figures, f"{calls} {error}", server, traffic.journal, url, hit=hits > 0)


def _full(figures: Figures, traffic: Traffic) -> None:
    with fresh_folder() as folder, small_file_system() as small:
        (folder / f"ledger.db{READ_MODELS}").symlink_to(small / "read-models")
        url = created(folder)
        server = serve(url, folder / "log")
        filler = fill(small / "filler")
        asyncio.run(_while_broken(server.port, traffic))
        filler.unlink()
        _repaired(figures, "disk full", server, traffic.journal, url, hit=TOLD in server.log.read_text())


async def _while_broken(port: int, traffic: Traffic) -> None:
    bodies = [_large(f"large_{traffic.name}_{number}") for number in range(LARGE_BODIES)]
    await deliver_all(port, bodies, traffic.journal, connections=CONNECTIONS)
    await while_broken(port, traffic)


def _large(message_id: str) -> bytes:
    said = {"eventType": "message.failed", "messageId": message_id, "sequence": 1, "detail": "x" * LARGE_BYTES}
    return json.dumps(said).encode()


def _repaired(figures: Figures, fault: str, server: Serving, journal: Journal, url: str, *, hit: bool) -> None:
    """After the repair: nobody was refused, and without a further webhook the same server shows everything."""
    figures.trials += 1
    figures.hits += hit
    figures.counts["acknowledged meanwhile"] += len(journal.acknowledged)
    if journal.cut_off or any(status not in OK for status in journal.answers):
        figures.violated(f"{fault}: webhooks noticed: {dict(journal.answers)}, {journal.cut_off} cut off")
    try:
        with Ledger.open_existing(url) as ledger:
            wrong = [*served_read_model_violations(ledger, rebuilding=True), *violations(ledger, journal)]
        if not is_ready(server):
            wrong.append("the server is not ready again")
        if (status := server.stop()) != 0:
            wrong.append(f"the server ended with {status}")
    finally:
        server.kill()
    figures.violated(*(f"{fault}: {each}" for each in wrong))
