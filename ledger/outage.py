"""Failures that repeat, as few log lines: whatever fails is tried again at once or by thousands, and the disk may be what is full."""

import logging
import time
from logging import ERROR, WARNING
from threading import Lock

TELL_EVERY_S = 10.0
KINDS_MAX = 64


class Outage:
    """Tells a failure at once, those of its kind in the next ten seconds as a number in the next line, and that it is over.

    Callable from any thread.
    """

    def __init__(self, log: logging.Logger, over: str) -> None:
        """`over` is what to say once it works again; nothing where it is empty."""
        self._log = log
        self._over = over
        self._lock = Lock()
        self._untold: dict[str, int] = {}
        self._silent_until_s: dict[str, float] = {}
        self._is_told = False

    def failed(self, kind: str, told: str, *values: object, level: int = WARNING, unexpected: bool = False) -> None:
        """It failed: a line for a person, unless there was one of its kind a moment ago. Kinds are few: causes, in words or as classes.

        `unexpected` within an `except` block: as an error, with its traceback.
        """
        with self._lock:
            if time.monotonic() < self._silent_until_s.get(kind, 0.0):
                self._untold[kind] = self._untold.get(kind, 0) + 1
                return
            if len(self._silent_until_s) >= KINDS_MAX:
                self._silent_until_s.clear()
            self._silent_until_s[kind] = time.monotonic() + TELL_EVERY_S
            untold = self._untold.pop(kind, 0)
            self._is_told = True
        more = f" (and {untold:,} times more since the last such line)" if untold else ""
        self._log.log(ERROR if unexpected else level, told + more, *values, exc_info=unexpected)

    def worked(self) -> None:
        """It worked: said after a failure that was told. Cheap."""
        if self._is_told:
            self._is_told = False
            self._log.warning(self._over)
