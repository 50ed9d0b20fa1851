"""A verification of all that is kept, the entry that it leaves in the audit trail, and the last one read back from there.

The entry has counts, positions and heads. What a finding says may quote a stored value, so only who verifies is told.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from api.audit.acts import Act
from ledger.audit.entries import StoredEntry, unreadable
from ledger.audit.trail import AuditQuestion, AuditTrail
from ledger.errors import UnreadableEvent
from ledger.ledger import Ledger
from ledger.signatures import Secret
from ledger.times import write_time
from ledger.verification import Finding, OnProgress, Verification, verify
from ledger.verification.findings import NOTED_PREFIX, count_of
from ledger.verification.trail_walk import VerifiedTrail, verify_trail

CLEAN, FINDINGS = "clean", "findings"
LOOKED_AT_MAX = 100
"""How many of the newest verifications are looked at for one that came to its end."""
POSITIONS_KEPT_MAX = 20


class Verified(NamedTuple):
    """What was found in the log and in the audit trail."""

    log: Verification
    trail: VerifiedTrail
    deep: bool

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them."""
        return (*self.log.findings, *self.trail.findings)

    @property
    def unchecked(self) -> int:
        """How many signatures could not be checked, because their secret was not given."""
        return sum(self.log.unchecked.values()) + sum(self.log.wrong_secrets.values())

    @property
    def heads(self) -> tuple[str, ...]:
        """To be noted elsewhere."""
        return (*self.log.heads, self.trail.head)


class LastVerification(msgspec.Struct, frozen=True, rename={"audit_entries": "auditEntries"}):
    """The last verification that came to its end: when, by whom, through which way, and what was found."""

    at_us: int
    holder: str
    way: str
    is_clean: bool
    events: int
    audit_entries: int
    findings: int
    positions: list[str]
    heads: list[str]
    deep: bool
    unchecked: int = 0


def verify_everything(
    ledger: Ledger,
    trail: AuditTrail | Finding,
    *,
    noted_heads: Sequence[str] = (),
    deep: bool = False,
    secrets: Sequence[Secret] = (),
    on_progress: OnProgress | None = None,
) -> Verified:
    """Verifies the log and the audit trail, or the log alone where a finding tells why the trail cannot even be opened.

    Raises what `verify` and `verify_trail` raise.
    """
    of_trail = [head for head in noted_heads if head.strip().startswith(NOTED_PREFIX)]
    of_log: Iterable[str] = [head for head in noted_heads if head not in of_trail]
    trail_found = (
        VerifiedTrail(0, "", (trail,)) if isinstance(trail, Finding) else verify_trail(trail, noted_heads=of_trail)
    )
    log_found = verify(
        ledger,
        noted_heads=of_log,
        trail_heads=trail_found.noted_heads,
        deep=deep,
        secrets=secrets,
        on_progress=on_progress,
    )
    return Verified(log_found, trail_found, deep)


def outcome_of(verified: Verified) -> tuple[str, dict[str, Any]]:
    """The outcome of a verification and its result, for the audit trail."""
    positions = [str(each.position) for each in verified.findings if each.position is not None]
    result = {
        "events": verified.log.events,
        "auditEntries": verified.trail.entries,
        "findings": count_of(verified.findings),
        "positions": positions[:POSITIONS_KEPT_MAX],
        "heads": list(verified.heads),
        "deep": verified.deep,
    }
    if verified.deep:
        result |= {"signatures": verified.log.signatures, "unchecked": verified.unchecked}
    return FINDINGS if verified.findings else CLEAN, result


def last_verification(trail: AuditTrail) -> LastVerification | None:
    """The last verification, from the audit trail; None where there was none. UnreadableEvent where somebody changed it there.

    A deep one that found something, of the last hundred, holds until one that looked at all of that again: none clears what it
    did not look at.
    """
    entries = trail.entries(AuditQuestion(act=Act.VERIFY.value), limit=LOOKED_AT_MAX)
    ended = [_verification(each) for each in entries if each.entry.outcome in {CLEAN, FINDINGS}]
    last = next(iter(ended), None)
    if last is not None and last.is_clean:
        deep = next((each for each in ended if each.deep and not (each.is_clean and each.unchecked)), last)
        return last if deep.is_clean else deep
    return last


def _verification(stored: StoredEntry) -> LastVerification:
    entry = stored.entry
    told = {"at_us": entry.at_us, "holder": entry.holder, "way": entry.way, "is_clean": entry.outcome == CLEAN}
    try:
        return msgspec.convert(entry.result | told, LastVerification)
    except msgspec.ValidationError:
        raise unreadable(stored.number) from None


def known_verification(trail: AuditTrail) -> LastVerification | None:
    """The last verification as far as one is known: for who shows much else. `verification_warnings` tells where one was changed."""
    try:
        return last_verification(trail)
    except UnreadableEvent:
        return None


def verification_warnings(trail: AuditTrail) -> list[str]:
    """What an operator, and anybody else who asks, should know of the last verification; nothing where it was clean."""
    try:
        found = last_verification(trail)
    except UnreadableEvent as error:
        return [str(error)]
    except SQLAlchemyError:
        return ["the audit trail cannot be read"]
    if found is None or found.is_clean:
        return []
    when = write_time(found.at_us)
    return [f"the last verification, at {when}, had findings ({found.findings}): `ledger verify` names them"]
