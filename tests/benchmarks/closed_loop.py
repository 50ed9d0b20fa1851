"""Load from a fixed number of connections, each sending as soon as it is answered: wrk with prepared requests.

Tells the most that a server can do. For waiting as a provider's own pace would meet it, see `open_loop.py`.
"""

import resource
import shutil
import subprocess
from pathlib import Path

import msgspec

SCRIPT = Path(__file__).with_name("deliver.lua")
GRACE_S = 30


class WrkMissing(Exception):
    """wrk, the load generator, is not installed: `apt-get install wrk` (Debian, Ubuntu) or `brew install wrk`."""


class LoadFailed(Exception):
    """wrk did not finish its run; the message holds what it said."""


class Load(msgspec.Struct, frozen=True):
    """What a run of load measured, in milliseconds. `refused` answers are not 2xx or 3xx; `generator_cpu` is in cores."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    refused: int = 0
    broken: int = 0
    generator_cpu: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


def wrk() -> str:
    """The path of wrk. Raises WrkMissing."""
    found = shutil.which("wrk")
    if found is None:
        raise WrkMissing(WrkMissing.__doc__)
    return found


def closed_loop(url: str, requests: Path, *, connections: int, seconds: float, skip: int = 0) -> Load:
    """Sends prepared requests from the one after `skip` on. Raises WrkMissing or LoadFailed."""
    return Generator(url, requests, connections=connections, seconds=seconds, skip=skip).load()


class Generator:
    """A run of wrk that has begun; several may run at once against several servers."""

    def __init__(self, url: str, requests: Path, *, connections: int, seconds: float, skip: int = 0) -> None:
        self._seconds = seconds
        self._cpu_before_s = _children_cpu_s()
        self._process = subprocess.Popen(
            [
                *(wrk(), "--threads", "1", "--connections", str(connections), "--duration", f"{seconds:.0f}s"),
                *("--timeout", "10s", "--latency", "--script", str(SCRIPT), url, "--", str(requests), str(skip)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def load(self) -> Load:
        """What it measured, once it has ended."""
        output, complaints = self._process.communicate(timeout=self._seconds + GRACE_S)
        _, found, result = output.partition("RESULT ")
        if self._process.returncode != 0 or not found:
            raise LoadFailed(f"wrk ended with {self._process.returncode}: {complaints or output}")
        load = msgspec.json.decode(result, type=Load)
        cores = (_children_cpu_s() - self._cpu_before_s) / load.seconds
        return msgspec.structs.replace(load, generator_cpu=cores)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
