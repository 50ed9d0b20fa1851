"""Servers as processes of their own: started on a free port, watched, ended."""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.prepared import SECRET, SECRET_ID
from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent
STARTS_WITHIN_S = 60.0
ENDS_WITHIN_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


class DidNotStart(Exception):
    """A server did not answer; the message is its log."""


@dataclass(frozen=True)
class Server:
    """A server that answers; `started_in_s` after its process began it did so for the first time."""

    process: "subprocess.Popen[bytes]"
    port: int
    started_in_s: float

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """Processor time that it has used, with the processes that work for it (Linux; elsewhere 0)."""
        return sum(_cpu_s(pid) for pid in family(self.process.pid))

    def peak_mib(self) -> float:
        """The most memory that it and the processes that work for it have held so far (Linux; elsewhere 0)."""
        return sum(peak_mib(pid) for pid in family(self.process.pid))


def family(pid: int) -> list[int]:
    """A process, its children and theirs (Linux; elsewhere the process alone)."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it is gone
            for child in task.read_text().split():
                found += family(int(child))
    return found


def peak_mib(pid: int) -> float:
    """The most memory that a process has held so far; what it shares with others by its share of it (Linux; elsewhere 0)."""
    try:
        peak = _kib(Path(f"/proc/{pid}/status"), "VmHWM")
        now, own = (_kib(Path(f"/proc/{pid}/smaps_rollup"), name) for name in ("Rss", "Pss"))
    except OSError:
        return 0.0
    return (peak - now + own) / 1024


def _kib(file: Path, name: str) -> int:
    return next((int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith(f"{name}:")), 0)


def _cpu_s(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def serving(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, *, port_name: str = "PORT"
) -> Iterator[Server]:
    """Runs a server that takes its port from the environment, until the block ends. Raises DidNotStart."""
    port = free_port()
    log = folder / f"server-{port}.log"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LEDGER_", "OTEL_", "PG"))}
    began_s = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            env={**clean, "PYTHONPATH": str(ROOT), **environment, port_name: str(port)},
            cwd=ROOT,  # with -m Python looks there first: another checkout must not be measured by mistake
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_it_answers(process, port, log)
        yield Server(process, port, time.perf_counter() - began_s)
    finally:
        process.terminate()
        try:
            process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def ledger_servers(url: str, folder: Path, *, processes: int = 1, **settings: str) -> Iterator[list[Server]]:
    """`ledger serve`, as many as wanted on one database."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                serving(
                    ["-m", "api.command_line", "serve"],
                    ledger_environment(url, **settings),
                    folder,
                    port_name="LEDGER_PORT",
                )
            )
            for _ in range(processes)
        ]


def ledger_environment(url: str, **settings: str) -> dict[str, str]:
    """The settings of every server that is measured here."""
    secrets = f"{SECRET_ID}:{SECRET.decode()}"
    return {"LEDGER_DATABASE_URL": url, "LEDGER_WEBHOOK_SECRETS": secrets, "LEDGER_LOG_LEVEL": "warning", **settings}


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Until any HTTP answer comes: a socket may listen long before the application behind it is up."""
    deadline_s = time.monotonic() + STARTS_WITHIN_S
    while (left_s := deadline_s - time.monotonic()) > 0 and process.poll() is None:
        asking = http.client.HTTPConnection("127.0.0.1", port, timeout=left_s)
        try:
            asking.request("GET", "/livez")
            asking.getresponse()
        except (OSError, http.client.HTTPException):
            time.sleep(0.005)
        else:
            return
        finally:
            asking.close()
    process.kill()
    process.wait()
    raise DidNotStart(log.read_text(errors="replace")[-2_000:])
