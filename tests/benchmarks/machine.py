"""What the figures depend on: the processors, the versions, and how fast the disk makes things durable."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from ledger.store.sqlite import SQLITE
from tests.engines import NotInstalled, postgres_binaries

PACKAGES = ("eventsourcing", "SQLAlchemy", "psycopg", "starlette", "uvicorn", "uvloop", "httptools", "msgspec")
BLOCK = b"\0" * 4_096


def machine() -> str:
    """The machine and the programs, in a line or two."""
    engines = f"SQLite {SQLITE.sqlite_version}, {_postgres()}, {_wrk()}"
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} × {_processor()}, {system}; {engines}; {packages}"


def syncs_per_second(folder: Path, *, seconds: float) -> float:
    """How often a second the disk can append 4 KiB and make them durable, one after the other."""
    descriptor = os.open(folder / "syncs", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)

    def append() -> None:
        os.write(descriptor, BLOCK)
        getattr(os, "fdatasync", os.fsync)(descriptor)

    try:
        return per_second(append, seconds=seconds)
    finally:
        os.close(descriptor)


def per_second(step: Callable[[], object], *, seconds: float) -> float:
    """How often a second a step can be done."""
    count, began_s = 0, time.perf_counter()
    while time.perf_counter() - began_s < seconds:
        step()
        count += 1
    return count / (time.perf_counter() - began_s)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _postgres() -> str:
    try:
        binaries = postgres_binaries()
    except NotInstalled:
        return "no PostgreSQL"
    said = subprocess.run([str(binaries / "pg_ctl"), "--version"], capture_output=True, text=True, check=True).stdout
    return f"PostgreSQL {said.split()[2]}"


def _wrk() -> str:
    if shutil.which("wrk") is None:
        return "no wrk"
    said = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout
    return " ".join(said.split()[:2])
