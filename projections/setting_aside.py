"""Read models whose file cannot be opened any more are put aside, and made again from the log: webhooks do not wait for them."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from ledger.errors import LedgerError, StoreUnavailable
from ledger.ledger import Ledger
from ledger.store import damage
from ledger.store.database import parse_database_url
from ledger.store.place import READ_MODELS
from ledger.store.sqlite import DAMAGED
from projections.read_models import ReadModels
from projections.tables import metadata

CONTRADICTS_ITSELF = "already exists"
"""What SQLite says of a table that the register of read models does not know."""

logger = logging.getLogger(__name__)


def set_damaged_aside(ledger_url: str) -> None:
    """Puts the read models' file of an embedded ledger aside if a start fails for damage in it.

    The caller holds the claim to the ledger, and has not opened it. Damage further inside shows itself to the runner.
    """
    url = parse_database_url(ledger_url)
    file = Path(f"{url.database}{READ_MODELS}")
    if url.get_backend_name() != "sqlite" or not file.is_file() or not (found := _damage(ledger_url)):
        return
    aside = file.with_name(f"{file.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    for end in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            file.with_name(file.name + end).rename(aside.with_name(aside.name + end))
    logger.warning(
        "the read models' file is damaged (%s): it is %s now, and they are made again from the log", found, aside
    )


def _damage(ledger_url: str) -> str | None:
    """What a start meets in that file, asked by opening it as a start does; None also where the log itself cannot be opened."""
    with suppress(LedgerError, SQLAlchemyError), Ledger.open_existing(ledger_url) as ledger:
        try:
            with _damage_untold(), closing(ReadModels.open(ledger)) as read_models:
                read_models.projections()
                _read_the_register(read_models)
        except (StoreUnavailable, DBAPIError) as error:
            is_of_the_log = ledger.database.damage is not None and ledger.database.damage.told is not None
            met = error.__cause__ if isinstance(error, StoreUnavailable) else error
            return _words_of(met) if isinstance(met, DBAPIError) and not is_of_the_log else None
        except ValueError:
            return "rows of it make no sense"
    return None


def _read_the_register(read_models: ReadModels) -> None:
    """All rows of the tables that every projection shares, which are few."""
    with read_models.stores.rows.reading() as connection:
        for table in metadata.sorted_tables:
            connection.execute(select(table)).all()


def _words_of(error: DBAPIError) -> str | None:
    """What SQLite says where it is of damage; None of a disk that is full, a lock, or what else says nothing of the file."""
    told = str(error.orig).splitlines()[0]
    is_damage = isinstance(error, IntegrityError) or any(words in told for words in (*DAMAGED, CONTRADICTS_ITSELF))
    return told if is_damage else None


@contextmanager
def _damage_untold() -> Iterator[None]:
    """Whoever meets damage tells an operator to move the file away, which is what is done here."""
    before = damage.logger.disabled
    damage.logger.disabled = True
    try:
        yield
    finally:
        damage.logger.disabled = before
