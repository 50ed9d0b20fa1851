"""A program that starts a PostgreSQL, appends to the ledger in it, and says so: to be recorded by strace.

    python -m tests.faults.recorded_postgres POSTGRES DATA PORT USER URL APPENDS

USER is who PostgreSQL runs as, empty for whoever runs this.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence

import psycopg
from sqlalchemy import make_url

from tests.faults.appender import PROJECTING, append

ANSWERS_WITHIN_S = 60.0
TERMINATE_S = 60.0


def run(start: Sequence[str], url: str, appends: int) -> None:
    """Starts, appends, and stops in order: the last checkpoint is recorded too."""
    postgres, data, port, user = start
    server = subprocess.Popen(
        [postgres, "-D", data, "-p", port],
        user=user or None,
        extra_groups=[] if user else None,
        cwd=data,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until_it_answers(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
        append(url, appends, PROJECTING)
    finally:
        server.terminate()
        server.wait(TERMINATE_S)


def _until_it_answers(url: str) -> None:
    deadline_s = time.monotonic() + ANSWERS_WITHIN_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(url).close()
            return
        time.sleep(0.1)
    raise TimeoutError("PostgreSQL does not answer")


if __name__ == "__main__":
    run(sys.argv[1:5], sys.argv[5], int(sys.argv[6]))
