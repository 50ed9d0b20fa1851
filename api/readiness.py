"""Whether the server can do its work, and why not."""

import shutil
import time
from collections.abc import Callable
from threading import Event, Lock

import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.verifying import verification_warnings
from ledger.audit.trail import AuditTrail
from ledger.entry_reader import UNREADABLE_KNOWN_MAX
from ledger.errors import LedgerError
from ledger.ledger import Ledger
from projections.read_models import ReadModels

ROOM_BYTES_MIN = 1024 * 1024
"""With less room on its disk a small write may still succeed into what the file has left, and a batch fails."""
PROOF_VALID_S = 1.0
PROOF_AWAITED_S = 0.5
"""Long enough for a disk that works; asking is open to anybody, and must not use up the threads that answer questions."""
PROOF_TOO_LONG_S = 10.0

logger = structlog.get_logger(__name__)


class Readiness:
    """Whether the server can do its work. A proof holds for a second, so that asking often costs no writes, or until a doubt."""

    def __init__(
        self,
        ledger: Ledger,
        read_models: ReadModels,
        prove_writable: Callable[[], None],
        projecting_error: Callable[[], str | None],
        troubles: Callable[[], list[str]],
    ) -> None:
        self._ledger = ledger
        self._prove_writable = prove_writable
        self._read_models = read_models
        self._projecting_error = projecting_error
        self._troubles = troubles
        self._beginning = Lock()
        self._began_at_s = 0.0
        self._is_proved = Event()
        self._is_proved.set()
        self._is_doubted = False
        self._reasons = ["the store has not answered yet"]
        self._is_ready: bool | None = None
        self._warnings: list[str] = []
        self._looking = Lock()
        self._looked_at_s = 0.0
        self._of_verification: list[str] = []

    def warnings(self, trail: AuditTrail) -> list[str]:
        """What an operator should know although it can; as old as the last `reasons`."""
        if time.monotonic() - self._looked_at_s > PROOF_VALID_S and self._looking.acquire(blocking=False):
            try:
                self._of_verification = verification_warnings(trail)
            finally:
                self._looked_at_s = time.monotonic()
                self._looking.release()
        return [*self._warnings, *self._troubles(), *self._of_verification]

    def reasons(self) -> list[str]:
        """Why not; empty where it can."""
        if self._is_to_prove():
            try:
                reasons = [*self._store_reasons(), *self._projection_reasons()]
                self._tell_of_change(reasons)
                self._reasons = reasons
            finally:
                self._is_proved.set()
        elif not self._is_proved.wait(max(PROOF_AWAITED_S - self._since_s, 0)) and (self._since_s > PROOF_TOO_LONG_S):
            return [*self._reasons, "the store has not answered for too long"]
        return self._reasons

    def _tell_of_change(self, reasons: list[str]) -> None:
        """For who reads the log and not /readyz."""
        if reasons and self._is_ready:
            logger.warning("not ready, as /readyz says", reasons=reasons)
        elif not reasons and self._is_ready is False:
            logger.warning("ready again")
        if not reasons or self._is_ready is not None:  # it takes a moment to begin
            self._is_ready = not reasons

    def doubt(self) -> None:
        """A commit failed: whoever asks next is not told what was proved before."""
        self._is_doubted = True

    @property
    def _since_s(self) -> float:
        """How long ago the last proof was begun."""
        return time.monotonic() - self._began_at_s

    def _is_to_prove(self) -> bool:
        """Whether the caller is to prove it: only one proof is under way at a time."""
        with self._beginning:
            holds = self._since_s <= PROOF_VALID_S and not self._is_doubted
            if holds or not self._is_proved.is_set():
                return False
            self._is_doubted = False
            self._began_at_s = time.monotonic()
            self._is_proved.clear()
            return True

    def _store_reasons(self) -> list[str]:
        try:
            self._prove_writable()
        except LedgerError as error:
            return [f"the store cannot be written: {error}"]
        file = self._ledger.database.file
        if file is not None and (free := shutil.disk_usage(file.absolute().parent).free) < ROOM_BYTES_MIN:
            return [f"the store cannot be written: the disk of {file.absolute()} has {free} bytes left"]
        return []

    def _projection_reasons(self) -> list[str]:
        projecting_error = self._projecting_error()
        try:
            found = self._read_models.readiness(projecting_error)
        except (LedgerError, SQLAlchemyError):
            fails = "" if projecting_error is None else f", and projecting fails with {projecting_error}"
            return [f"the read models cannot be read{fails}"]
        self._warnings = [*found.warnings, *self._log_warnings()]
        return found.reasons

    def _log_warnings(self) -> list[str]:
        unreadable = self._ledger.unreadable
        if not unreadable:
            return []
        told = f"{len(unreadable)}{' or more' * (len(unreadable) == UNREADABLE_KNOWN_MAX)}"
        return [f"the log: {told} events cannot be read, the first of them at {min(unreadable)}"]
