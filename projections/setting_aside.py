"""Read models whose file cannot be opened any more are put aside, and made again from the log."""

import logging
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from ledger.store.database import Database, parse_database_url
from ledger.store.place import READ_MODELS
from ledger.store.sqlite import DAMAGED

log = logging.getLogger(__name__)


def set_damaged_aside(ledger_url: str) -> None:
    """Puts the read models' file of an embedded ledger aside if it is damaged where it begins.

    The caller holds the claim to the ledger, and has not opened it. Damage further inside shows itself to the runner.
    """
    url = parse_database_url(ledger_url)
    file = Path(f"{url.database}{READ_MODELS}")
    if url.get_backend_name() != "sqlite" or not file.is_file() or not (damage := _damage(file)):
        return
    aside = file.with_name(f"{file.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    for end in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            file.with_name(file.name + end).rename(aside.with_name(aside.name + end))
    log.warning(
        "the read models' file is damaged (%s): it is %s now, and they are made again from the log", damage, aside
    )


def _damage(file: Path) -> str | None:
    with closing(Database(f"sqlite:///{file}", durable=False)) as database:
        try:
            with database.reading() as connection:
                inspect(connection).get_table_names()
        except DBAPIError as error:
            return next((words for words in DAMAGED if words in str(error.orig)), None)
    return None
