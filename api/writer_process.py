"""The process that commits and projects for `ledger serve`, so that the event loop has Python's lock for itself.

It is forked before anything is open, waits to be told that the ledger is there, and ends when the server closes its channels or
ends in whatever way. When it ends by itself, the server ends as well: a supervisor starts both again.
"""

import ctypes
import logging
import multiprocessing
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import SynchronizedString
from threading import Thread

from api.interpreter import rare_collections, short_turns
from api.tracing import spans_of, tracing
from api.writing import start_writing
from ledger.errors import LedgerError, StoreUnavailable
from ledger.ledger import Ledger
from projections.read_models import ReadModels

ENDS_AT_ONCE = 128
"""Linux passes up to 253 descriptors in one message."""
READY = b"r"
THE_SERVERS_OWN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A terminal and systemd send them to every process of a group; what they mean reaches the writer through its channels."""

ERROR_BYTES_MAX = 256
TELL_EVERY_S = 0.5

log = logging.getLogger(__name__)


class WriterProcess:
    """The server's hold on it."""

    def __init__(self, process: BaseProcess, control: socket.socket, projecting_error: SynchronizedString) -> None:
        self._process = process
        self._control = control
        self._projecting_error = projecting_error

    @property
    def projecting_error(self) -> str | None:
        """What projecting fails with there; None while it does not."""
        return self._projecting_error.value.decode("utf-8", "ignore") or None

    @property
    def ended(self) -> int:
        """A descriptor that can be read once the process has ended."""
        return self._process.sentinel

    def begin(self, ends: Sequence[socket.socket]) -> None:
        """Lets it commit for these channels, on a ledger that exists by now; StoreUnavailable where it cannot."""
        with suppress(ConnectionError):
            for first in range(0, len(ends), ENDS_AT_ONCE):
                some = ends[first : first + ENDS_AT_ONCE]
                socket.send_fds(self._control, [len(ends).to_bytes(2, "big")], [end.fileno() for end in some])
            for end in ends:
                end.close()
            if self._control.recv(1) == READY:
                return
        raise StoreUnavailable("the process that commits could not begin; the lines above say why")

    def join(self) -> None:
        """Returns once it has ended."""
        self._process.join()


@contextmanager
def writer_process(database_url: str) -> Iterator[WriterProcess]:
    """A process that will commit to a ledger, until the block ends. Begun before there are threads, files and connections."""
    ours, theirs = socket.socketpair()
    fork = multiprocessing.get_context("fork")
    # Shared memory, because the read models' own file may be what fails.
    projecting_error = fork.Array(ctypes.c_char, ERROR_BYTES_MAX)
    process = fork.Process(target=_write, args=(database_url, ours, theirs, projecting_error))
    process.start()
    theirs.close()
    try:
        yield WriterProcess(process, ours, projecting_error)
    finally:
        ours.close()
        process.join()


def _write(database_url: str, ours: socket.socket, theirs: socket.socket, projecting_error: SynchronizedString) -> None:
    ours.close()
    for number in THE_SERVERS_OWN:
        signal.signal(number, signal.SIG_IGN)
    with theirs:
        ends = _ends_from(theirs)
        try:
            if ends:
                _commit_and_project(database_url, ends, theirs, projecting_error)
        except LedgerError as error:
            log.critical("the process that commits could not begin: %s", error)


def _ends_from(control: socket.socket) -> list[socket.socket]:
    """The channels; none where the server ended before it could begin."""
    ends: list[socket.socket] = []
    while True:
        told, descriptors, _, _ = socket.recv_fds(control, 2, ENDS_AT_ONCE)
        ends += [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if not told or len(ends) == int.from_bytes(told, "big"):
            return ends


def _commit_and_project(
    database_url: str, ends: Sequence[socket.socket], control: socket.socket, projecting_error: SynchronizedString
) -> None:
    with (
        tracing() as traces,
        Ledger.open_existing(database_url) as ledger,
        ReadModels.open(ledger, spans_of(traces)) as read_models,
        rare_collections(),
        short_turns(),
    ):
        threads = start_writing(ledger, read_models, ends)
        control.sendall(READY)
        for thread in threads:
            _join(thread, read_models, projecting_error)


def _join(thread: Thread, read_models: ReadModels, projecting_error: SynchronizedString) -> None:
    """Returns once a thread has ended, and tells meanwhile what projecting fails with."""
    while thread.is_alive():
        projecting_error.value = (read_models.projecting_error or "").encode()[:ERROR_BYTES_MAX]
        thread.join(TELL_EVERY_S)
