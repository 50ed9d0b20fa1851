"""A process that works for `ledger serve`: its own Python, with a lock that nobody else takes.

It is forked before anything is open, waits to be told that the ledger is there, and ends when the server tells it to or ends in
whatever way. When it ends by itself, so does the server: a supervisor starts all of them again.
"""

import logging
import mmap
import multiprocessing
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

from ledger.errors import LedgerError, StoreUnavailable

READY = b"r"
BEGINS_WITHIN_S = 120.0
"""It may have to move a large write-ahead log first, or to drop read models."""
THE_SERVERS_OWN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A terminal and systemd send them to every process of a group; what they mean reaches a worker through its control socket."""

ERROR_BYTES_MAX, DAMAGES_BYTES_MAX = 256, 2_048

logger = logging.getLogger(__name__)


class Told:
    """What a worker tells at any time, in memory that both processes have: the read models' own file may be what fails.

    Without a lock, which a killed worker would never give back.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, ERROR_BYTES_MAX + DAMAGES_BYTES_MAX)

    def tell(self, error: str | None, damages: Iterable[str]) -> None:
        """Puts this in place of what was told before."""
        first = (error or "").encode()[:ERROR_BYTES_MAX].ljust(ERROR_BYTES_MAX, b"\0")
        self._memory[:] = first + "\0".join(damages).encode()[:DAMAGES_BYTES_MAX].ljust(DAMAGES_BYTES_MAX, b"\0")

    @property
    def error(self) -> str | None:
        """What it fails with; None while it does not."""
        return _text_in(self._memory[:ERROR_BYTES_MAX]) or None

    @property
    def damages(self) -> list[str]:
        """What it met of damage in a file, with the file and what to do."""
        return [each for each in _text_in(self._memory[ERROR_BYTES_MAX:]).split("\0") if each]


Work = Callable[[socket.socket, Told], None]
"""What a worker does until its control socket is at its end. LedgerError where it cannot begin or go on."""


class WorkerProcess:
    """The server's hold on one. Begun before there are threads, files and connections."""

    def __init__(self, what: str, work: Work, *, not_its_own: Sequence[socket.socket] = ()) -> None:
        """`what` it does, for people; `not_its_own` are sockets of the server and of others, which it must not hold open."""
        self.what = what
        self.told = Told()
        self.control, theirs = socket.socketpair()
        self._process = multiprocessing.get_context("fork").Process(
            target=_run, args=(what, work, theirs, self.told, [self.control, *not_its_own])
        )
        try:
            self._process.start()
        except OSError as error:
            self.control.close()
            raise StoreUnavailable(f"no process can be started that {what}: {error.strerror}") from error
        finally:
            theirs.close()

    @property
    def ended(self) -> int:
        """A descriptor that can be read once the process has ended."""
        return self._process.sentinel

    def await_begin(self) -> None:
        """Returns once it has begun; StoreUnavailable where it cannot."""
        self.control.settimeout(BEGINS_WITHIN_S)
        try:
            if self.control.recv(1) == READY:
                self.control.settimeout(None)
                return
        except TimeoutError:
            raise StoreUnavailable(
                f"the process that {self.what} has not begun within {BEGINS_WITHIN_S:.0f} s"
            ) from None
        except ConnectionError:
            pass
        self._process.join()
        signal_number = -(self._process.exitcode or 0)
        why = f"it was killed by signal {signal_number}" if signal_number > 0 else "the lines above say why"
        raise StoreUnavailable(f"the process that {self.what} could not begin; {why}")

    def kill(self) -> None:
        """Ends it at once, whatever it does."""
        self._process.kill()

    def let_go(self) -> None:
        """Tells it that nothing more comes. Idempotent."""
        self.control.close()

    def join(self) -> None:
        """Returns once it has ended, as it does when it was let go."""
        self._process.join()


def _run(what: str, work: Work, control: socket.socket, told: Told, not_its_own: Sequence[socket.socket]) -> None:
    for each in not_its_own:
        each.close()
    for number in THE_SERVERS_OWN:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, THE_SERVERS_OWN)
    with closing(control):
        try:
            work(control, told)
        except LedgerError as error:
            logger.critical("the process that %s cannot begin or go on: %s", what, error)


def _text_in(told: bytes) -> str:
    return told.rstrip(b"\0").decode("utf-8", "ignore")
