"""The process that commits and projects for `ledger serve`, so that the event loop has Python's lock for itself.

It is forked before anything is open, waits to be told that the ledger is there, and ends when the server closes its channels or
ends in whatever way. When it ends by itself, the server ends as well: a supervisor starts both again.
"""

import logging
import mmap
import multiprocessing
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Lock

from api.interpreter import rare_collections, short_turns
from api.tracing import spans_of, tracing
from api.writing import Writing
from ledger.errors import LedgerError, StoreUnavailable, TryAgain
from ledger.ledger import Ledger
from projections.read_models import ReadModels

ENDS_AT_ONCE = 128
"""Linux passes up to 253 descriptors in one message."""
READY = b"r"
THE_SERVERS_OWN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A terminal and systemd send them to every process of a group; what they mean reaches the writer through its channels."""

ERROR_BYTES_MAX, DAMAGES_BYTES_MAX = 256, 2_048
TELL_EVERY_S = 0.5
NOT_RUNNING = "the process that commits and projects does not run"
ANSWERS_WITHIN_S = 15.0
"""It may have to wait for another process's turn at the read models first, at most 10 s."""
ORDERED = (
    "the process that commits and projects did not answer in time; it begins the rebuild once it goes on, which"
    " GET /projections shows then"
)
NOT_ORDERED = (
    "the process that commits and projects has not answered an earlier order yet, so it was not given this one"
)

logger = logging.getLogger(__name__)


class WriterSilent(TryAgain):
    """The process that commits and projects does not answer."""


class WriterProcess:
    """The server's hold on it."""

    def __init__(self, process: BaseProcess, control: socket.socket, state: mmap.mmap) -> None:
        self._process = process
        self._control = control
        self._state = state
        self._orders: Connection | None = None
        self._ordering = Lock()
        self._owes_an_answer = False

    @property
    def projecting_error(self) -> str | None:
        """What projecting fails with there; None while it does not."""
        return _text_in(self._state[:ERROR_BYTES_MAX]) or None

    @property
    def damages(self) -> list[str]:
        """What it met of damage in the log or in the read models, with the file and what to do."""
        return [each for each in _text_in(self._state[ERROR_BYTES_MAX:]).split("\0") if each]

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
                self._orders = Connection(self._control.detach())
                return
        raise StoreUnavailable("the process that commits could not begin; the lines above say why")

    def rebuild(self, name: str) -> None:
        """Has it begin to build a read model again. RebuildRunning, NotFound, StoreUnavailable, WriterSilent."""
        if self._orders is None:
            raise StoreUnavailable(NOT_RUNNING)
        # At most one of the few threads that ask waits for the writer: the others have reads to answer.
        if not self._ordering.acquire(blocking=False):
            raise WriterSilent(NOT_ORDERED)
        try:
            refusal = self._answer(self._orders, name)
        except (EOFError, OSError):
            raise StoreUnavailable(NOT_RUNNING) from None
        finally:
            self._ordering.release()
        if refusal is not None:
            raise refusal

    def _answer(self, orders: Connection, name: str) -> LedgerError | None:
        # At most one order is unanswered, so an answer belongs to the order before it, and sending never waits.
        if self._owes_an_answer:
            if not orders.poll():
                raise WriterSilent(NOT_ORDERED)
            orders.recv()
        orders.send(name)
        self._owes_an_answer = not orders.poll(ANSWERS_WITHIN_S)
        if self._owes_an_answer:
            raise WriterSilent(ORDERED)
        refusal: LedgerError | None = orders.recv()
        return refusal

    def kill(self) -> None:
        """Ends it at once, whatever it does: nobody was told that something is stored which it has not answered."""
        self._process.kill()

    def join(self) -> None:
        """Tells it that no more orders come; returns once it has ended, as it does when its channels are closed as well."""
        self._control.close()
        if self._orders is not None:
            self._orders.close()
        self._process.join()


@contextmanager
def writer_process(database_url: str) -> Iterator[WriterProcess]:
    """A process that will commit to a ledger, until the block ends. Begun before there are threads, files and connections."""
    ours, theirs = socket.socketpair()
    fork = multiprocessing.get_context("fork")
    # Shared memory, because the read models' own file may be what fails; without a lock, which a killed writer would never give back.
    state = mmap.mmap(-1, ERROR_BYTES_MAX + DAMAGES_BYTES_MAX)
    process = fork.Process(target=_write, args=(database_url, ours, theirs, state))
    process.start()
    theirs.close()
    writer = WriterProcess(process, ours, state)
    try:
        yield writer
    except BaseException:
        writer.kill()  # its channels may still be open, and it would wait for more
        raise
    finally:
        writer.join()


def _write(database_url: str, ours: socket.socket, theirs: socket.socket, state: mmap.mmap) -> None:
    ours.close()
    for number in THE_SERVERS_OWN:
        signal.signal(number, signal.SIG_IGN)
    with theirs:
        ends = _ends_from(theirs)
        try:
            if ends:
                _commit_and_project(database_url, ends, theirs, state)
        except LedgerError as error:
            logger.critical("the process that commits cannot begin or go on: %s", error)


def _ends_from(control: socket.socket) -> list[socket.socket]:
    """The channels; none where the server ended before it could begin."""
    ends: list[socket.socket] = []
    while True:
        told, descriptors, _, _ = socket.recv_fds(control, 2, ENDS_AT_ONCE)
        ends += [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if not told or len(ends) == int.from_bytes(told, "big"):
            return ends


def _commit_and_project(
    database_url: str, ends: Sequence[socket.socket], control: socket.socket, state: mmap.mmap
) -> None:
    with (
        tracing() as traces,
        Ledger.open_existing(database_url) as ledger,
        ReadModels.open(ledger, spans_of(traces)) as read_models,
        rare_collections(),
        short_turns(),
    ):
        writing = Writing(ledger, read_models, ends)
        control.sendall(READY)
        with Connection(control.detach()) as orders, suppress(EOFError, OSError):
            while writing.goes_on:
                _tell(read_models, state)
                if orders.poll(TELL_EVERY_S):
                    orders.send(_refusal(read_models, orders.recv()))
        if writing.has_lost_a_thread:
            raise StoreUnavailable("nothing would be committed any more for one of the partitions")
        writing.join()


def _tell(read_models: ReadModels, state: mmap.mmap) -> None:
    error = (read_models.projecting_error or "").encode()[:ERROR_BYTES_MAX]
    damages = "\0".join(read_models.damages).encode()[:DAMAGES_BYTES_MAX]
    state[:] = error.ljust(ERROR_BYTES_MAX, b"\0") + damages.ljust(DAMAGES_BYTES_MAX, b"\0")


def _text_in(told: bytes) -> str:
    return told.rstrip(b"\0").decode("utf-8", "ignore")


def _refusal(read_models: ReadModels, name: str) -> LedgerError | None:
    """Begins to build a read model again; why not, where it cannot."""
    try:
        read_models.claim_rebuild(name).start()
    except LedgerError as error:
        return error
    except Exception as error:  # who commits must outlive whatever happens to an order
        logger.exception("a rebuild could not be begun")
        return StoreUnavailable(f"the rebuild could not be begun: {type(error).__name__}")
    return None
