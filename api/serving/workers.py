"""The two processes that work for `ledger serve`, so that the event loop has Python's lock for itself: one commits, one projects."""

import gc
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from api.serving.bell import Bell
from api.serving.projector_process import ProjectorProcess
from api.serving.worker_process import THE_SERVERS_OWN
from api.serving.writer_process import WriterProcess


class Workers:
    """The server's hold on both."""

    def __init__(self, database_url: str) -> None:
        # What the collector never looks at again stays shared: 17 MiB of each worker that its first look would copy.
        gc.collect()
        gc.freeze()
        bell = Bell()
        self._writer = WriterProcess(database_url, bell)
        try:
            self.projector = ProjectorProcess(database_url, bell, not_its_own=self._writer.control)
        except BaseException:
            self._writer.kill()
            raise
        bell.close()

    @property
    def each(self) -> tuple[WriterProcess, ProjectorProcess]:
        """The one that commits, and the one that projects."""
        return self._writer, self.projector

    @property
    def damages(self) -> list[str]:
        """What they met of damage in a file, with the file and what to do."""
        return [damage for each in self.each for damage in each.told.damages]

    def begin(self, ends: Sequence[socket.socket]) -> None:
        """Lets them commit for these channels and project, on a ledger that exists by now; StoreUnavailable where one cannot."""
        self._writer.begin(ends)
        self.projector.begin()
        for each in self.each:
            each.await_begin()

    def kill(self) -> None:
        """Ends them at once, whatever they do: nobody was told that something is stored which is not."""
        for each in self.each:
            each.kill()

    def join(self) -> None:
        """Returns once both have ended, as they do when the channels are closed as well."""
        for each in self.each:
            each.let_go()
        for each in self.each:
            each.join()


@contextmanager
def workers_of(database_url: str) -> Iterator[Workers]:
    """The processes that will work on a ledger, until the block ends. Begun before there are threads, files and connections."""
    # One that comes during a fork would be lost: Python runs no handler that raises there.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, THE_SERVERS_OWN)
    try:
        workers = Workers(database_url)
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield workers
    except BaseException:
        workers.kill()  # the channels may still be open, and who commits would wait for more
        raise
    finally:
        workers.join()
