"""Commands that run for long: their log output, of which the line that says why they ended is a part."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import typer

from api.command_line.endings import line_of, misspelt_before, status_of, wants_tracebacks
from api.logs import configure_logs, is_for_people
from api.settings import read_log_settings
from ledger.store import damage, database

logger = structlog.get_logger("api.ended")


@contextmanager
def lasting() -> Iterator[None]:
    """Sets up log output as the settings say. Where programs read it, what goes wrong in the block is its last line."""
    as_json: bool | None = None
    damage.logger.disabled = database.logger.disabled = False
    configure_logs("info", as_json=as_json)
    try:
        level, as_json = read_log_settings()
        configure_logs(level, as_json=as_json)
        yield
    except Exception as error:
        if is_for_people(as_json):
            raise
        for told in misspelt_before(error):
            logger.warning(told)
        logger.critical(line_of(error), exc_info=error if wants_tracebacks() else None)
        raise typer.Exit(status_of(error)) from error
