"""Memory under the largest bodies that there are, at full speed: bounded, whatever comes."""

import asyncio
import json
from pathlib import Path

from api.http.bodies import BODY_BYTES_MAX
from tests.benchmarks.processes import family, peak_mib
from tests.faults.load import Journal, deliver_all
from tests.faults.places import sqlite_url
from tests.faults.serving import serve

BODIES, CONNECTIONS = 80, 32
PEAK_MIB_MAX = 256
"""Of which 80 MiB are the program itself, 64 what SQLite may hold of its files, and 32 messages that were folded a moment ago."""


def test_bodies_of_256_kib_at_full_speed_stay_within_256_mib(tmp_path: Path) -> None:
    server = serve(sqlite_url(tmp_path), tmp_path / "log")
    journal = Journal()
    try:
        asyncio.run(
            deliver_all(server.port, [large(number) for number in range(BODIES)], journal, connections=CONNECTIONS)
        )
        peak = sum(peak_mib(pid) for pid in family(server.pid))
    finally:
        server.kill()

    assert dict(journal.answers) == {202: BODIES}
    assert peak < PEAK_MIB_MAX


def large(number: int) -> bytes:
    """A failure of a message of its own, which the read model keeps whole."""
    said = {"eventType": "message.failed", "messageId": f"msg_{number}", "sequence": 1, "detail": ""}
    room = BODY_BYTES_MAX - len(json.dumps(said))
    return json.dumps(said | {"detail": "x" * room}).encode()
