"""`ledger project`: keeps the read models up to date in a process of its own, beside servers or without any."""

import signal
import threading
from typing import Annotated

import structlog
import typer

from api.command_line.lasting import lasting
from api.command_line.opening import opened_read_models
from api.serving.interpreter import rare_collections
from api.tracing import spans_of, tracing

logger = structlog.get_logger("api.project")


def project(
    *, once: Annotated[bool, typer.Option("--once", help="End as soon as everything is projected.")] = False
) -> None:
    """Project new events into the read models, until SIGTERM or Ctrl-C.

    Every server does this by itself; another process only helps where a
    server's own is not wanted or not running. Each event is applied exactly
    once, however many do it.

    For example:

    $ ledger project --once

    Exit status: 0 ended in order; 2 wrong settings.
    """
    with lasting(), rare_collections(), tracing() as traces, opened_read_models(spans_of(traces)) as read_models:
        if once:
            read_models.catch_up()
            return
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        read_models.start()
        logger.info("projecting")
        ended.wait()
    logger.info("stopped")
