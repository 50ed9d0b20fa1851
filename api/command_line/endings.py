"""How a command ends: the exit status and the one line on stderr for whatever went wrong. Nobody sees a traceback unasked."""

import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from errno import EDQUOT, EIO, ENOSPC

import typer
from sqlalchemy.exc import SQLAlchemyError, StatementError

from api.settings import unknown_settings
from api.visible import visible
from ledger import errors
from ledger.store import damage, database
from ledger.store.driver import said
from projections.errors import NothingToRollBackTo, RebuildCancelled, RebuildPaused, RebuildRunning

FINE, SOMETHING_WRONG, WRONG_USAGE = 0, 1, 2
REASON_CHARACTERS_MAX = 1_000

STATUS_OF: Mapping[type[Exception], int] = {
    errors.NotFound: SOMETHING_WRONG,
    errors.UnreadableEvent: SOMETHING_WRONG,
    RebuildRunning: SOMETHING_WRONG,
    RebuildCancelled: SOMETHING_WRONG,
    RebuildPaused: SOMETHING_WRONG,
    NothingToRollBackTo: SOMETHING_WRONG,
    errors.LedgerError: WRONG_USAGE,
    SQLAlchemyError: WRONG_USAGE,
    UnicodeEncodeError: WRONG_USAGE,
    Exception: SOMETHING_WRONG,
}
"""By the nearest class: what is not in the data or wrong with it is 1; questions, settings and databases that fail are 2."""


def status_of(error: Exception) -> int:
    """The exit status for an error."""
    if is_of_the_output(error):
        return WRONG_USAGE
    return next(STATUS_OF[each] for each in type(error).__mro__ if each in STATUS_OF)


def end_with(error: Exception) -> int:
    """Prints the one line for an error, and gives the exit status. LEDGER_LOG_LEVEL=debug adds where it came from.

    Names that are set and are no settings come before it.
    """
    for told in misspelt_before(error):
        typer.echo(f"ledger: {visible(told)}", err=True)
    typer.echo(f"ledger: {visible(line_of(error))}", err=True)
    if wants_tracebacks():
        traceback.print_exception(error)
    return status_of(error)


def misspelt_before(error: Exception) -> Sequence[str]:
    """What to say of names that are no settings, where one of them may be why: a setting is refused, or the wrong ledger asked."""
    if not isinstance(error, errors.NotFound) and not line_of(error).startswith("LEDGER_"):
        return ()
    try:
        return unknown_settings()
    except errors.SettingRefused:  # LEDGER_ENV_FILE itself, which is the error then
        return ()


@contextmanager
def damage_said_once() -> Iterator[None]:
    """Leaves damage, and a file that fails, to the line with which a command ends; `lasting` commands log it, as they may go on."""
    told = (damage.logger, database.logger)
    for logger in told:
        logger.disabled = True
    try:
        yield
    finally:
        for logger in told:
            logger.disabled = False


def wants_tracebacks() -> bool:
    """Whether whoever started this wants to see where an error came from."""
    return os.environ.get("LEDGER_LOG_LEVEL", "").lower() == "debug"


def line_of(error: Exception) -> str:
    """What an error says, in one line."""
    match error:
        case errors.LedgerError():
            line = str(error)[:REASON_CHARACTERS_MAX]
        case StatementError(orig=UnicodeEncodeError() as of_an_argument):
            line = line_of(of_an_argument)
        case SQLAlchemyError():
            line = f"LEDGER_DATABASE_URL: the database cannot be used: {said(error)}"
        case UnicodeEncodeError() if error.encoding != "utf-8":
            line = f"what is to be printed cannot be written as {error.encoding}: set PYTHONIOENCODING=utf-8"
        case UnicodeEncodeError():  # an argument that is no text: Python reads its bytes as halves of surrogate pairs
            line = f"{error.object[:80]!r} is not UTF-8 text: copy it again"
        case OSError() if is_of_the_output(error):
            line = f"what is to be printed cannot be written: {error.strerror}"
        case _:
            told = (str(error).splitlines() or [""])[0][:200]
            line = (
                f"something unexpected went wrong: {type(error).__name__}: {told}"
                " (this should not happen; set LEDGER_LOG_LEVEL=debug to see where)"
            )
    return line


def is_of_the_output(error: Exception) -> bool:
    """Whether it says that a stream cannot be written, such as one that leads to a file on a full disk."""
    return isinstance(error, OSError) and error.filename is None and error.errno in {ENOSPC, EDQUOT, EIO}
