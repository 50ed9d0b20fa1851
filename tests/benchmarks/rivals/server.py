"""Runs one of these applications: `python -m tests.benchmarks.rivals.server NAME`, told by its environment where and how.

The server is set up as `ledger serve` is: uvloop, httptools, no access log, no extra headers, rare garbage collections.
"""

import importlib
import os
import sys

import uvicorn

from api.serving.interpreter import rare_collections


def main() -> None:
    """Serves until a signal."""
    module = importlib.import_module(f"tests.benchmarks.rivals.{sys.argv[1]}")
    sys.setswitchinterval(float(os.environ.get("SWITCH_INTERVAL_S", "0.005")))
    config = uvicorn.Config(
        module.create_app(),
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="auto",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2_048,
    )
    with rare_collections():
        uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
