"""What traces cost: none, one webhook in a hundred, every one; sent to a collector that keeps nothing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.benchmarks.bench import Bench
from tests.benchmarks.measuring import Contender, rounds, under_load
from tests.benchmarks.processes import Server, ledger_servers
from tests.benchmarks.section import INGEST_HEADER, Section, ingest_row

CONNECTIONS = 64
SHARES = {"1 in 100 traced": "0.01", "every webhook traced": "1"}


def traces(bench: Bench) -> Section:
    """Ingest without and with traces, on SQLite."""
    with collector() as url:
        contenders = [
            _ours(bench, "no traces"),
            *(_ours(bench, name, url, share) for name, share in SHARES.items()),
        ]
        measure = under_load(bench.deliveries(), connections=CONNECTIONS, seconds=bench.seconds)
        found = rounds(contenders, measure, count=bench.rounds)
    base = found[contenders[0].name]
    return Section(
        "traces",
        "Traces",
        f"{CONNECTIONS} connections, SQLite; {bench.settings}. The collector runs on the same cores. The ratio is to no traces.",
        INGEST_HEADER,
        [ingest_row(name, each, base) for name, each in found.items()],
    )


def _ours(bench: Bench, name: str, endpoint: str = "", share: str = "1") -> Contender:
    @contextmanager
    def start() -> Iterator[list[Server]]:
        with (
            bench.place("sqlite") as url,
            ledger_servers(
                url,
                bench.folder,
                OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
                OTEL_TRACES_SAMPLER="parentbased_traceidratio",
                OTEL_TRACES_SAMPLER_ARG=share,
            ) as servers,
        ):
            yield servers

    return Contender(name, start)


class Collector(BaseHTTPRequestHandler):
    """Takes whatever comes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Reads it, and says that all is well."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def collector() -> Iterator[str]:
    """A collector's address, for the length of the block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
