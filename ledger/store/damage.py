"""Damage in an embedded database's file, met by whoever reads or writes: one error for it, and a line that says what to do."""

import logging
import time
from math import inf
from pathlib import Path

from sqlalchemy.exc import DatabaseError, DBAPIError

from ledger.store.place import what_to_do_about_damage
from ledger.store.sqlite import DAMAGED, SQLITE

TELL_EVERY_S = 60.0

logger = logging.getLogger(__name__)


class StoreDamaged(DatabaseError):
    """What was asked for is on a page of the file that is damaged. Trying again does not help: an operator must act."""


class Damage:
    """What was met of it in one file. May be told from any thread."""

    def __init__(self, file: Path, *, is_logged: bool = True) -> None:
        self.told: str | None = None
        """What was met last, which file it is, and what to do; None as long as nothing was."""
        self._file = file
        self._silent_until_s = 0.0 if is_logged else inf

    def met(self, error: DBAPIError) -> StoreDamaged | None:
        """What an error is if it comes from damage: told to the log at once, and then each minute that it is met again."""
        found = (
            None
            if isinstance(error, StoreDamaged)
            else next((words for words in DAMAGED if words in str(error.orig)), None)
        )
        if found is None:
            return None
        todo = what_to_do_about_damage(self._file)
        self.told = f"{found}; {todo}"
        if time.monotonic() > self._silent_until_s:
            self._silent_until_s = time.monotonic() + TELL_EVERY_S
            logger.error("the file is damaged: %s", self.told)
        # Without what else SQLite says, which may be the text that is stored there.
        damaged = StoreDamaged(error.statement, None, SQLITE.DatabaseError(found), hide_parameters=True)
        damaged.add_note(todo)
        return damaged
