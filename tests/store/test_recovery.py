"""Promise 1 after a kill: what SQLite recovers is synced before anybody is told that it is there."""

import subprocess
import sys
import time
from pathlib import Path
from signal import SIGKILL

from ledger.ledger import Ledger
from ledger.store import reads
from ledger.store.sqlite import BUSY_TIMEOUT_MS
from tests import forks
from tests.builders import fact, queued, sent

DELIVER_AGAIN = """
import os, sys
from ledger.ledger import Ledger
from tests.builders import fact, queued
with Ledger.open(sys.argv[1]) as ledger:
    (outcome,) = ledger.commit([fact(queued())])
    os.write(2, b"answered " + (b"recorded" if outcome.is_new else b"duplicate"))
    os._exit(0)
"""


def test_what_was_recovered_after_a_kill_is_synced_before_it_is_answered_as_a_duplicate(
    strace: str, tmp_path: Path
) -> None:
    url, trace = f"sqlite:///{tmp_path}/ledger.db", tmp_path / "trace"
    environment = forks.environment()
    assert forks.run(url, program="tests.store.worker:commit_and_die", environment=environment).returncode == -SIGKILL
    watched = [strace, "-f", "--seccomp-bpf", "-y", "-e", "trace=fdatasync,fsync,write", "-o", str(trace)]
    subprocess.run([*watched, sys.executable, "-c", DELIVER_AGAIN, url], env=environment, check=True)

    calls = trace.read_text().splitlines()
    answered = next(number for number, call in enumerate(calls) if "answered duplicate" in call)
    synced = [number for number, call in enumerate(calls) if "sync(" in call and "ledger.db-wal" in call]
    assert [number for number in synced if number < answered] != []


def test_emptying_the_write_ahead_log_never_waits_for_a_reader(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.commit([fact(queued(1))])
        with ledger.database.reading() as reader:
            assert len(reads.heads(reader)) == 1
            ledger.commit([fact(sent(2))])
            began = time.monotonic()
            ledger.database.tidy()
            waited_s = time.monotonic() - began
        ledger.database.tidy()

        assert waited_s < BUSY_TIMEOUT_MS / 1000 / 2
        assert (tmp_path / "ledger.db-wal").stat().st_size == 0
