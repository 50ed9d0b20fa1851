"""Whether a copy of an embedded ledger is what was recorded: all that `ledger verify` asks, of a file that nobody uses."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from ledger.audit.trail import AuditTrail
from ledger.errors import SettingRefused, StoreUnavailable
from ledger.ledger import Ledger
from ledger.store.damage import StoreDamaged
from ledger.store.database import Database
from ledger.store.driver import said
from ledger.store.schema import open_existing
from ledger.store.sqlite import damages_in
from ledger.verification import Finding, OnProgress, verify
from ledger.verification.findings import count_of
from ledger.verification.trail_walk import VerifiedTrail, verify_trail

NO_TRAIL = VerifiedTrail(0, "", ())


class Proof(NamedTuple):
    """How much was read, the heads that it reaches (`0-17:HASH`, `audit-9:HASH`; "" without a trail), and what was found.

    `told` says that in words, by the first finding of each file; "" where everything is as it was recorded.
    """

    heads: tuple[str, ...]
    audit_head: str
    events: int
    audit_entries: int
    findings: tuple[Finding, ...]
    told: str


class Named(NamedTuple):
    """What is said of the copies: the files to name, which may be others than those that are read; and what a refusal means."""

    log: Path
    trail: Path
    so: str


def proved(log: Path, trail: Path, named: Named, on_progress: OnProgress | None = None) -> Proof:
    """What `ledger verify` finds in a log and its audit trail; there may be no trail.

    SettingRefused where one of them cannot be read, or its pages are damaged: nobody could work with it.
    """
    with _reading(log, named.log, named.so) as database:
        ledger = Ledger(database, open_existing(database))
        of_trail = _proved_trail(trail, ledger.identity.ledger_id, named) if trail.exists() else NO_TRAIL
        of_log = verify(ledger, trail_heads=of_trail.noted_heads, on_progress=on_progress)
        if of_log.findings:
            _expect_whole(database, named.log, named.so)
    told = (*_told(of_log.findings, log, named.log), *_told(of_trail.findings, trail, named.trail))
    findings = (*of_log.findings, *of_trail.findings)
    return Proof(of_log.heads, of_trail.head, of_log.events, of_trail.entries, findings, "; ".join(told))


def _proved_trail(trail: Path, ledger_id: str, named: Named) -> VerifiedTrail:
    with _reading(trail, named.trail, named.so) as database:
        found = verify_trail(AuditTrail(database, ledger_id))
        if found.findings:
            _expect_whole(database, named.trail, named.so)
        return found


@contextmanager
def _reading(copy: Path, named: Path, so: str) -> Iterator[Database]:
    """A file that nobody writes to; SettingRefused where that fails: by damage, which its original has too, or otherwise."""
    try:
        with closing(Database(f"sqlite:///{copy}", evidence=True)) as database:
            yield database
    except (SQLAlchemyError, StoreUnavailable) as error:
        for each in (error, error.__cause__):
            if isinstance(each, StoreDamaged):
                raise SettingRefused(f"{named} is damaged: {each.orig}; {so}") from error
        told = said(error) if isinstance(error, SQLAlchemyError) else error
        raise SettingRefused(f"{copy} could not be verified: {told}; {so}") from error


def _expect_whole(database: Database, named: Path, so: str) -> None:
    """SettingRefused where something was found because pages are damaged, rather than rows other than they were."""
    with database.reading() as connection:
        damages = damages_in(connection.exec_driver_sql("PRAGMA integrity_check(1)").scalars())
    if damages:
        raise SettingRefused(f"{named} is damaged: {damages[0]}; {so}")


def _told(findings: Sequence[Finding], copy: Path, named: Path) -> Iterator[str]:
    if findings:
        first = str(findings[0]).replace(str(copy.absolute()), str(named))
        more = f", and {count_of(findings) - 1} more" if len(findings) > 1 else ""
        yield f"{named} is not what was recorded: {first}{more}"
