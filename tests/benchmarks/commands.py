"""Commands of the ledger as processes of their own, with what they used."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

from tests.benchmarks.processes import ROOT, family, ledger_environment, peak_mib

LOOK_EVERY_S = 0.02


class CommandFailed(Exception):
    """A command did not end with 0; the message holds what it said."""


class Used(NamedTuple):
    """What a command printed and used; the memory is that of all its processes together."""

    output: str
    seconds: float
    peak_mib: float


def command(url: str, *arguments: str) -> Used:
    """Runs `ledger …` on a database. Raises CommandFailed."""
    return python(["-m", "api.command_line", *arguments], ledger_environment(url))


def python(arguments: Sequence[str], environment: dict[str, str]) -> Used:
    """Runs a Python program to its end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LEDGER_", "OTEL_", "PG"))}
    began_s = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env={**clean, "PYTHONPATH": str(ROOT), **environment},
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
        most_mib = 0.0
        # Asked while it runs: what the system tells afterwards counts our own memory before the fork as the child's.
        while process.poll() is None:
            most_mib = max(most_mib, sum(map(peak_mib, family(process.pid))))
            time.sleep(LOOK_EVERY_S)
        took_s = time.perf_counter() - began_s
        output.seek(0)
        said = output.read()
    if process.returncode != 0:
        raise CommandFailed(f"{' '.join(arguments)} ended with {process.returncode}: {said}")
    return Used(said, took_s, most_mib)
