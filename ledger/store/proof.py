"""Whether a copy of an embedded ledger is what was recorded: all that `ledger verify` asks, of a file that nobody uses."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from ledger.audit.trail import AuditTrail
from ledger.errors import SettingRefused, StoreUnavailable
from ledger.ledger import Ledger
from ledger.store.database import Database
from ledger.store.schema import open_existing
from ledger.verification import Finding, NotedHead, OnProgress, verify
from ledger.verification.trail_walk import verify_trail


class Proof(NamedTuple):
    """How much was read, and found to be as it was recorded; the heads that it reaches, as `0-17:HASH`."""

    heads: tuple[str, ...]
    events: int
    audit_entries: int


class Named(NamedTuple):
    """What a refusal says: the files to name, which may be others than those that are read; and what it means."""

    log: Path
    trail: Path
    so: str


def expect_as_recorded(log: Path, trail: Path, named: Named, on_progress: OnProgress | None = None) -> Proof:
    """SettingRefused for a log in which `ledger verify` would find something, or an audit trail; there may be no trail."""
    noted: tuple[NotedHead, ...] = ()
    entries = 0
    try:
        with closing(Database(f"sqlite:///{log}", evidence=True)) as database:
            ledger = Ledger(database, open_existing(database))
            if trail.exists():
                with closing(Database(f"sqlite:///{trail}", evidence=True)) as of_trail:
                    found = verify_trail(AuditTrail(of_trail, ledger.identity.ledger_id))
                _expect_none(found.findings, named.trail, named.so)
                noted, entries = found.noted_heads, found.entries
            verified = verify(ledger, trail_heads=noted, on_progress=on_progress)
    except (SQLAlchemyError, StoreUnavailable) as error:
        told = getattr(error, "orig", None) or error
        raise SettingRefused(f"{named.log} is damaged: {told}; {named.so}") from error
    _expect_none(verified.findings, named.log, named.so)
    return Proof(verified.heads, verified.events, entries)


def _expect_none(findings: Sequence[Finding], file: Path, so: str) -> None:
    if findings:
        more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
        raise SettingRefused(f"{file} is not what was recorded: {findings[0]}{more}; {so}")
