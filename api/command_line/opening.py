"""Opening the ledger for a command: it must exist, and a running server is not disturbed."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from api.command_line.terminal import counted, said, to_stderr
from api.settings import read_database_url
from ledger.backups.backup import is_backup
from ledger.durations import lasting
from ledger.errors import SettingRefused
from ledger.ledger import Ledger
from ledger.store.database import Database, parse_database_url
from ledger.store.place import expect_no_lost_log
from ledger.store.schema import open_existing
from projections.health import STOPPED, ProjectionStatus
from projections.read_models import ReadModels
from projections.spans import Spans, unseen


@contextmanager
def opened(*, as_it_is: bool = False) -> Iterator[Ledger]:
    """The ledger that LEDGER_DATABASE_URL names; SettingRefused where there is none.

    `as_it_is`: a backup, and one that we may not write to, is read without changing anything, as evidence.
    """
    url = existing_url()
    evidence = as_it_is and _is_evidence(file_of(url))
    with closing(Database(url, evidence=evidence)) as database:
        yield Ledger(database, open_existing(database))


def _is_evidence(file: Path | None) -> bool:
    """Whether a file is a backup, or can only be read; SettingRefused where that would not show its newest events."""
    if file is not None and is_backup(file):
        return True
    if file is None or (os.access(file, os.W_OK) and os.access(file.absolute().parent, os.W_OK)):
        return False
    newest = file.with_name(file.name + "-wal")
    if newest.exists() and newest.stat().st_size:
        raise SettingRefused(
            f"the newest events are in {newest}, which cannot be read where nothing can be written:"
            f" copy {file.name}* to a folder of yours, all of it while no server runs, and name that"
        )
    return True


@contextmanager
def opened_read_models(spans: Spans = unseen) -> Iterator[ReadModels]:
    """The read models beside that ledger, as they are: nothing is projected here."""
    with opened() as ledger, closing(ReadModels.open(ledger, spans)) as read_models:
        yield read_models


def warn_if_behind(read_models: ReadModels, name: str) -> None:
    """Says so where a read model has not seen everything yet."""
    status = read_models.projection_status(name)
    if status.lag_events:
        to_stderr().print(said(how_far_behind(status), "yellow"), soft_wrap=True)


def how_far_behind(status: ProjectionStatus) -> str:
    """How far a read model is behind, and whether somebody brings it up to date."""
    told = f"{status.name} is {counted(status.lag_events, 'event')} behind the log"
    if status.state != STOPPED:
        return f"{told}, and catches up"
    if status.runner is None:
        return f"{told}, and nobody projects: start `ledger serve`"
    host, _, process = status.runner.runner.rpartition(":")
    return (
        f"{told}, and nobody has projected for {lasting(status.runner.ago_s)}, the last was process {process} on {host}:"
        " start `ledger serve`, or see whether that process stands still"
    )


def existing_url() -> str:
    """The database's URL. Asked before opening, because SQLite would make an empty file."""
    url = read_database_url()
    file = file_of(url)
    if file is not None and not file.is_file():
        expect_no_lost_log(file)
        raise SettingRefused(
            f"LEDGER_DATABASE_URL: there is no ledger in {file.absolute()}; name the right file, or start `ledger serve`"
        )
    return url


def file_of(database_url: str) -> Path | None:
    """The file of an embedded ledger; None for a server."""
    url = parse_database_url(database_url)
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None
