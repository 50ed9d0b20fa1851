"""Moving an embedded database's write-ahead log into its file beside the commits, on a thread of its own.

SQLite (which calls it a checkpoint) does that within the commit that fills the log up. In a large ledger nearly every page
is another one, and that commit, with all who wait behind it, stands still for 15 ms and more. Moved from another connection,
the pages are written and synced while others commit; what is left for a commit is what came during the last pass.
"""

from collections.abc import Callable
from threading import Event, Lock, Thread

REST_S, REST_S_MIN = 0.1, 0.03
"""Between a commit and the pass that moves its pages: a page that several commits change is then moved once."""

MANY_PAGES = 250
"""A pass that moved so many is followed sooner by the next, which has fewer, and so is a shorter load on the disk."""


class Backfill:
    """The thread, once it is started. It costs nothing while nobody commits."""

    def __init__(self, name: str, move: Callable[[], int]) -> None:
        """`move` makes one pass, tells how many pages of the write-ahead log are in the file by now, and raises nothing."""
        self._name = name
        self._move = move
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
        rest_s, before = REST_S, 0
        while not self._is_over.is_set():
            self._woken.wait()
            self._woken.clear()
            if not self._is_over.wait(rest_s):
                now = self._move()
                # Once all of them are in the file, SQLite begins again at the first.
                moved, before = now - before if now >= before else now, now
                rest_s = REST_S if moved < MANY_PAGES else REST_S_MIN
