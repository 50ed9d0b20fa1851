"""Failures that repeat, as few log lines: whatever fails is tried again at once or by thousands, and the disk may be what is full."""

import logging
import time
from logging import ERROR, WARNING

TELL_EVERY_S = 10.0


class Outage:
    """Tells a failure at once, those of the next ten seconds as a number in the next line, and that it is over. For one thread."""

    def __init__(self, log: logging.Logger, over: str) -> None:
        """`over` is what to say once it works again."""
        self._log = log
        self._over = over
        self._told_at = -TELL_EVERY_S
        self._untold = 0
        self._is_told = False

    def failed(self, told: str, *values: object, unexpected: Exception | None = None) -> None:
        """It failed: a line for a person, unless there was one a moment ago; with its traceback where nobody expected it."""
        if time.monotonic() < self._told_at + TELL_EVERY_S:
            self._untold += 1
            return
        more = f" (and {self._untold:,} times more since the last such line)" if self._untold else ""
        self._log.log(ERROR if unexpected else WARNING, told + more, *values, exc_info=unexpected)
        self._told_at, self._untold, self._is_told = time.monotonic(), 0, True

    def worked(self) -> None:
        """It worked: said after a failure that was told. Cheap."""
        if self._is_told:
            self._log.warning(self._over)
            self._is_told = False
