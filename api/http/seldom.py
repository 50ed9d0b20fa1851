"""Log lines that a stranger or an outage could ask for by the thousand: one a second of a kind, then how many were left out."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Literal

import structlog

EVERY_S = 1.0

Kind = tuple[str, str]
"""An event, and the reason for it."""

logger = structlog.get_logger(__name__)


def on_the_event_loop(seconds: float, call: Callable[[], None]) -> None:
    """Calls something later, without the context of the request that asked for it."""
    asyncio.get_running_loop().call_later(seconds, call, context=Context())


class Seldom:
    """Writes lines of a level. The number of those left out is told when their second is over, whether more come or not."""

    def __init__(
        self,
        later: Callable[[float, Callable[[], None]], None] = on_the_event_loop,
        level: Literal["warning", "error"] = "warning",
    ) -> None:
        self._later = later
        self._level = level
        self._left_out: dict[Kind, int] = {}

    def tell(self, event: str, reason: str = "", **told: str) -> None:
        """Writes a line, unless one of the same event and reason was written within a second."""
        kind = (event, reason)
        if kind in self._left_out:
            self._left_out[kind] += 1
        else:
            self._write(kind, **told)

    def _write(self, kind: Kind, **told: str | int) -> None:
        event, reason = kind
        getattr(logger, self._level)(event, **({"reason": reason} if reason else {}), **told)
        self._left_out[kind] = 0
        self._later(EVERY_S, partial(self._end, kind))

    def _end(self, kind: Kind) -> None:
        left_out = self._left_out.pop(kind)
        if left_out:
            self._write(kind, left_out=left_out)
