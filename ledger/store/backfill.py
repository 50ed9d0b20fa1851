"""Moving an embedded database's write-ahead log into its file beside the commits, on a thread of its own.

SQLite (which calls it a checkpoint) does that within the commit that fills the log up. In a large ledger nearly every page
is another one, and that commit, with all who wait behind it, stands still for 15 ms and more. Moved from another connection,
the pages are written and synced while others commit; what is left for a commit is what came during the last pass.
"""

from collections.abc import Callable
from threading import Event, Lock, Thread

REST_S = 0.02
"""Between a commit and the pass that moves its pages. Whoever syncs during a pass waits for what it writes, so it is to be small."""

IDLE_AFTER_S = 1.0


class Backfill:
    """The thread, once it is started. It costs nothing while nobody commits."""

    def __init__(self, name: str, move: Callable[[], None], tidy: Callable[[], None] | None) -> None:
        """`move` makes one pass, `tidy` is for when nothing has come for a while; neither raises anything."""
        self._name = name
        self._move = move
        self._tidy = tidy
        self._starting = Lock()
        self._thread: Thread | None = None
        self._woken = Event()
        self._is_over = Event()

    def start(self) -> None:
        """Idempotent; after `stop` it does nothing."""
        with self._starting:
            if self._thread is None and not self._is_over.is_set():
                self._thread = Thread(target=self._run, name=f"ledger-backfill {self._name}", daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """There was a commit. Callable from any thread."""
        self._woken.set()

    def stop(self) -> None:
        """Returns once it has ended, after the pass that it is at. Idempotent."""
        self._is_over.set()
        self._woken.set()
        with self._starting:
            if self._thread is not None:
                self._thread.join()

    def _run(self) -> None:
        while True:
            self._woken.wait()
            self._woken.clear()
            if self._is_over.wait(REST_S):
                return
            self._move()
            if self._tidy is not None and not self._woken.wait(IDLE_AFTER_S):
                self._tidy()
