"""The process that projects for `ledger serve`, and rebuilds what it is ordered to: neither commits nor questions wait for it."""

import logging
import socket
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from threading import Lock, Thread

from api.errors import ProjectorSilent
from api.serving.bell import Bell
from api.serving.interpreter import rare_collections, short_turns
from api.serving.worker_process import READY, Told, WorkerProcess
from api.tracing import spans_of, tracing
from ledger.errors import LedgerError, StoreUnavailable
from ledger.ledger import Ledger
from projections.read_models import ReadModels

BEGIN = b"b"
TELL_EVERY_S = 0.5
NOT_RUNNING = "the process that projects does not run"
ANSWERS_WITHIN_S = 15.0
"""It may have to wait for another process's turn at the read models first, at most 10 s."""
ORDERED = (
    "the process that projects did not answer in time; it takes the order once it goes on, and GET /projections shows then"
    " what came of it"
)
NOT_ORDERED = "the process that projects has not answered an earlier order yet, so it was not given this one"

logger = logging.getLogger(__name__)


class ProjectorProcess(WorkerProcess):
    """The server's hold on it."""

    def __init__(self, database_url: str, bell: Bell, *, not_its_own: socket.socket) -> None:
        super().__init__("projects", partial(_project, database_url, bell), not_its_own=[not_its_own])
        self._orders: Connection | None = None
        self._ordering = Lock()
        self._owes_an_answer = False

    def begin(self) -> None:
        """Lets it project, from a ledger that exists by now."""
        with suppress(ConnectionError):
            self.control.sendall(BEGIN)

    def await_begin(self) -> None:
        """Returns once it has begun, and takes orders; StoreUnavailable where it cannot."""
        super().await_begin()
        self._orders = Connection(self.control.detach())

    def let_go(self) -> None:
        """Tells it that no more orders come. Idempotent."""
        super().let_go()
        if self._orders is not None:
            self._orders.close()

    def rebuild(self, name: str) -> None:
        """Has it begin to build a read model again. RebuildRunning, NotFound, StoreUnavailable, ProjectorSilent."""
        if self._orders is None:
            raise StoreUnavailable(NOT_RUNNING)
        # At most one of the few threads that ask waits for it: the others have reads to answer.
        if not self._ordering.acquire(blocking=False):
            raise ProjectorSilent(NOT_ORDERED)
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
                raise ProjectorSilent(NOT_ORDERED)
            orders.recv()
        orders.send(name)
        self._owes_an_answer = not orders.poll(ANSWERS_WITHIN_S)
        if self._owes_an_answer:
            raise ProjectorSilent(ORDERED)
        refusal: LedgerError | None = orders.recv()
        return refusal


def _project(database_url: str, bell: Bell, control: socket.socket, told: Told) -> None:
    bell.only_hear()
    if control.recv(1) != BEGIN:
        return
    with (
        tracing() as traces,
        Ledger.open_existing(database_url) as ledger,
        ReadModels.open(ledger, spans_of(traces)) as read_models,
        rare_collections(),
        short_turns(),
    ):
        read_models.start()
        Thread(target=_wake, args=(bell, read_models), name="ledger-bell", daemon=True).start()
        control.sendall(READY)
        with Connection(control.detach()) as orders, suppress(EOFError, OSError):
            while True:
                told.tell(read_models.projecting_error, read_models.damages)
                if orders.poll(TELL_EVERY_S):
                    orders.send(_refusal(read_models, orders.recv()))


def _wake(bell: Bell, read_models: ReadModels) -> None:
    while bell.hear():
        read_models.wake()


def _refusal(read_models: ReadModels, name: str) -> LedgerError | None:
    """Begins to build a read model again; why not, where it cannot."""
    try:
        read_models.claim_rebuild(name).start()
    except LedgerError as error:
        return error
    except Exception as error:  # who projects must outlive whatever happens to an order
        logger.exception("a rebuild could not be begun")
        return StoreUnavailable(f"the rebuild could not be begun: {type(error).__name__}")
    return None
