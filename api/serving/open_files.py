"""How many files this process may have open, and the line of the log where there are so many: a connection is one of them."""

import os
import resource
import time
from contextlib import suppress
from errno import EMFILE, ENFILE

import structlog

SAID_EVERY_S = 60.0

logger = structlog.get_logger(__name__)


def raise_open_files() -> None:
    """Lets this process, and those that it starts, have as many as the system allows: by default it is told to ask for more."""
    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a system may promise more than it gives; then it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))


class OpenFiles:
    """Watches for the moment when there can be no more: libuv then accepts and drops every connection, and tells nobody."""

    def __init__(self) -> None:
        self._said_at_s = -SAID_EVERY_S

    async def look(self) -> None:
        """Says so, at most once a minute."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            now_s = time.monotonic()
            if error.errno in {EMFILE, ENFILE} and now_s - self._said_at_s >= SAID_EVERY_S:
                self._said_at_s = now_s
                open_files_max, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
                logger.warning(
                    "connections cannot be accepted, and are reset: no more files can be opened",
                    reason=os.strerror(error.errno),
                    open_files_max=open_files_max,
                )
