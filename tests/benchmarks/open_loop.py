"""Load at a pace that does not depend on the answers, as a provider's: every wait is counted from when a request was due.

A closed loop sends nothing while the server stands still, and so hides the wait of all who would have come meanwhile
("coordinated omission"). Here arrivals are fixed beforehand, random and independent (a Poisson process, always the same one);
a request that finds no free connection waits for one, and that wait counts.

A process of its own, with select(): its timeouts are exact to microseconds, where those of epoll and libuv are whole milliseconds.
"""

import json
import random
import select
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import msgspec

from tests.benchmarks.closed_loop import Load, LoadFailed
from tests.benchmarks.prepared import read_requests
from tests.benchmarks.processes import ROOT

CONNECTIONS = 128
ANSWERS_WITHIN_S = 30.0
RECEIVE_BYTES = 65_536


def open_loop(port: int, requests: Path, *, per_second: int, seconds: float, skip: int = 0) -> Load:
    """Sends prepared requests at a pace. Raises LoadFailed."""
    arguments = [str(port), str(requests), str(per_second), str(seconds), str(skip)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.open_loop", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds + 2 * ANSWERS_WITHIN_S,
        check=False,
    )
    if done.returncode != 0:
        raise LoadFailed(f"the open loop ended with {done.returncode}: {done.stderr}")
    return msgspec.json.decode(done.stdout, type=Load)


def due_times_s(per_second: int, seconds: float) -> list[float]:
    """When each request is due, from the beginning: the same times for everybody."""
    dice = random.Random(f"{per_second} a second")
    times, now_s = [], 0.0
    while (now_s := now_s + dice.expovariate(per_second)) < seconds:
        times.append(now_s)
    return times


class Sender:
    """All connections, and what they measured."""

    def __init__(self, port: int) -> None:
        self.latencies_s: list[float] = []
        self.refused = 0
        self._free = deque(socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS))
        for connection in self._free:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._under_way: dict[socket.socket, tuple[float, bytes]] = {}

    def send(self, times_s: list[float], requests: list[bytes]) -> float:
        """Sends each request when it is due, and waits for all answers; how many seconds that took."""
        began_s = time.perf_counter()
        waiting = deque((began_s + due_s, request) for due_s, request in zip(times_s, requests, strict=True))
        give_up_s = began_s + times_s[-1] + ANSWERS_WITHIN_S
        while waiting or self._under_way:
            now_s = time.perf_counter()
            while waiting and waiting[0][0] <= now_s and self._free:
                self._begin(*waiting.popleft())
            if now_s > give_up_s:
                raise TimeoutError(f"{len(self._under_way)} requests were not answered")
            next_s = waiting[0][0] if waiting and self._free else now_s + 1.0
            ready, _, _ = select.select(list(self._under_way), [], [], max(next_s - time.perf_counter(), 0.0))
            for connection in ready:
                self._receive(connection)
        return time.perf_counter() - began_s

    def _begin(self, due_s: float, request: bytes) -> None:
        connection = self._free.popleft()
        connection.sendall(request)
        self._under_way[connection] = (due_s, b"")

    def _receive(self, connection: socket.socket) -> None:
        due_s, content = self._under_way[connection]
        received = connection.recv(RECEIVE_BYTES)
        if not received:
            raise ConnectionError("the server closed a connection")
        content += received
        if not _is_whole(content):
            self._under_way[connection] = (due_s, content)
            return
        self.latencies_s.append(time.perf_counter() - due_s)
        self.refused += not content.startswith(b"HTTP/1.1 2")
        del self._under_way[connection]
        self._free.append(connection)


def _is_whole(answer: bytes) -> bool:
    head, ended, content = answer.partition(b"\r\n\r\n")
    _, _, rest = head.lower().partition(b"content-length:")
    return bool(ended) and len(content) >= int(rest.partition(b"\r\n")[0] or 0)


def main() -> None:
    """Measures, and prints a Load as JSON."""
    port, file, per_second, seconds, skip = sys.argv[1:]
    times_s = due_times_s(int(per_second), float(seconds))
    source = read_requests(Path(file))
    for _ in range(int(skip)):
        next(source)
    requests = [next(source) for _ in times_s]
    sender = Sender(int(port))
    used_s = -time.process_time()
    took_s = sender.send(times_s, requests)
    used_s += time.process_time()
    latencies_ms = sorted(1000 * latency_s for latency_s in sender.latencies_s)
    result = {
        "requests": len(latencies_ms),
        "seconds": took_s,
        "p50_ms": _percentile(latencies_ms, 0.5),
        "p99_ms": _percentile(latencies_ms, 0.99),
        "p999_ms": _percentile(latencies_ms, 0.999),
        "max_ms": latencies_ms[-1],
        "refused": sender.refused,
        "generator_cpu": used_s / took_s,
    }
    print(json.dumps(result))  # noqa: T201 - read by `open_loop`


def _percentile(ascending: list[float], share: float) -> float:
    return ascending[min(int(share * len(ascending)), len(ascending) - 1)]


if __name__ == "__main__":
    main()
