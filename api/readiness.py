"""Whether the server can do its work, and why not."""

import time
from threading import Lock

from sqlalchemy.exc import SQLAlchemyError

from ledger.errors import LedgerError
from ledger.ledger import UNREADABLE_KNOWN_MAX, Ledger
from projections.read_models import ReadModels

PROOF_VALID_S = 1.0
PROOF_TOO_OLD_S = 10.0


class Readiness:
    """Whether the server can do its work. A proof holds for a second, so that asking often costs no writes."""

    def __init__(self, ledger: Ledger, read_models: ReadModels) -> None:
        self._ledger = ledger
        self._read_models = read_models
        self._proving = Lock()
        self._proved_at_s = 0.0
        self._reasons: list[str] = []
        self._warnings: list[str] = []

    def warnings(self) -> list[str]:
        """What an operator should know although it can; as old as the last `reasons`."""
        return self._warnings

    def reasons(self) -> list[str]:
        """Why not; empty where it can."""
        # Only one proof is under way at a time: asking is open to anybody, and must not queue up for the writer's connection.
        if time.monotonic() - self._proved_at_s > PROOF_VALID_S and self._proving.acquire(
            blocking=self._proved_at_s == 0
        ):
            try:
                self._reasons = [*self._store_reasons(), *self._projection_reasons()]
                self._proved_at_s = time.monotonic()
            finally:
                self._proving.release()
        if time.monotonic() - self._proved_at_s > PROOF_TOO_OLD_S:
            return [*self._reasons, "the store has not answered for too long"]
        return self._reasons

    def _store_reasons(self) -> list[str]:
        try:
            self._ledger.database.prove_writable()
        except LedgerError as error:
            return [f"the store cannot be written: {error}"]
        except SQLAlchemyError:
            return ["the store cannot be written"]
        return []

    def _projection_reasons(self) -> list[str]:
        try:
            found = self._read_models.readiness()
        except (LedgerError, SQLAlchemyError):
            return ["the read models cannot be read"]
        self._warnings = [*found.warnings, *self._log_warnings()]
        return found.reasons

    def _log_warnings(self) -> list[str]:
        unreadable = self._ledger.unreadable
        if not unreadable:
            return []
        told = f"{len(unreadable)}{' or more' * (len(unreadable) == UNREADABLE_KNOWN_MAX)}"
        return [f"the log: {told} events cannot be read by this version, the first of them at {min(unreadable)}"]
