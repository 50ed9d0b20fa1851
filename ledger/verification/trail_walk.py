"""The walk along the audit trail, link by link, as along a partition: one edit is one finding."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from ledger.audit.entries import AuditHead, AuditRow, hash_of
from ledger.audit.trail import AuditTrail
from ledger.chain import HASH_BYTES, audit_genesis_hash
from ledger.errors import MalformedQuestion
from ledger.store.database import Database
from ledger.store.driver import placeholder_of
from ledger.verification.findings import FINDINGS_PER_PARTITION_MAX, NOTED_PREFIX, RESTORE, Finding, NotedHead, shown
from ledger.verification.partition_walk import cannot_be_read
from ledger.verification.storage import damaged_pages, strangers
from ledger.verification.trail_heads import TrailHeads

NUMBER_AFTER_ALL = 2**63 - 1
ROWS_AT_ONCE = 1_000

_NOTED = re.compile(r"audit-(0|[1-9][0-9]{0,17}):([0-9a-fA-F]{64})", re.ASCII)
_ACT, _RESULT = AuditRow._fields.index("act"), AuditRow._fields.index("result")
_COLUMNS = ", ".join(AuditRow._fields)
_ROWS = f"SELECT {_COLUMNS} FROM audit_entries WHERE number > {{0}} AND number <= {{0}} ORDER BY number LIMIT {{0}}"  # noqa: S608 - no value in it
_HASH_AT = "SELECT hash FROM audit_entries WHERE number = {0}"
_HEAD = "SELECT number, hash FROM audit_head"
_ALL = "SELECT count(*) FROM audit_entries"
_LAST = "SELECT max(number) FROM audit_entries WHERE number > 0 AND number < {0}"


@dataclass(frozen=True, slots=True)
class VerifiedTrail:
    """What was found in the audit trail; `head` is to be noted elsewhere, as the heads of the log are.

    `noted_heads` are those of the log that its entries note, `remarks` what became of others by a restored backup.
    """

    entries: int
    head: str
    findings: tuple[Finding, ...]
    noted_heads: tuple[NotedHead, ...] = ()
    remarks: tuple[str, ...] = ()


def verify_trail(trail: AuditTrail, *, noted_heads: Iterable[str] = ()) -> VerifiedTrail:
    """Reads the whole trail and tells what is wrong with it. MalformedQuestion for a noted head that cannot be read.

    Entries that are appended meanwhile are left for the next time.
    """
    noted = [_noted(text) for text in noted_heads]
    walk = _Walk(AuditHead(0, audit_genesis_hash(trail.ledger_id)))
    database = trail.database
    try:
        with database.reading() as connection:
            if database.is_sqlite:
                walk.findings += (*damaged_pages(connection), *strangers(connection))
            head = connection.exec_driver_sql(_HEAD).first()
            last = connection.exec_driver_sql(_LAST.format(placeholder_of(connection)), (NUMBER_AFTER_ALL,)).scalar()
            stored = connection.exec_driver_sql(_ALL).scalar_one()
        for rows in _chunks(database, last or 0):
            walk.check(rows)
        walk.compare_head(None if head is None else (head[0], head[1]))
        if walk.entries != stored:
            walk.find(walk.at.number, f"{stored - walk.entries} entries stand under numbers that no entry can have")
        for each in noted:
            walk.compare_noted(each, _hash_at(database, each.number))
    except SQLAlchemyError as error:
        walk.find(walk.at.number, f"after this entry {cannot_be_read(error)}")
    return VerifiedTrail(
        walk.entries, str(walk.at), tuple(walk.listed()), walk.heads.listed(), tuple(walk.heads.remarks)
    )


@dataclass(slots=True)
class _Walk:
    """How far the walk came, and what it found."""

    at: AuditHead
    entries: int = 0
    findings: list[Finding] = field(default_factory=list)
    heads: TrailHeads = field(default_factory=TrailHeads)

    def check(self, rows: Sequence[Sequence[object]]) -> None:
        """Goes along some entries."""
        for columns in rows:
            number, stored, expected = columns[0], columns[-1], self.at.number + 1
            if number != expected:
                self.find(expected, f"the next entry stands at {number!r}, expected {expected}: some are missing")
            elif hash_of(self.at.hash, tuple(columns[:-1])) != stored:
                self.find(expected, "the entry was changed, or is not the one that stood here")
            # From here on by what is stored, so that one edit is one finding.
            self.at = AuditHead(
                number if isinstance(number, int) else expected, stored if isinstance(stored, bytes) else b""
            )
            self.entries += 1
            self.heads.take(number, columns[_ACT], columns[_RESULT])

    def compare_head(self, head: tuple[object, object] | None) -> None:
        """The head row must name the last entry."""
        if head != (self.at.number, self.at.hash):
            said = "is missing" if head is None else f"says {head[0]!r} with {shown(head[1])}"
            self.find(self.at.number, f"the trail ends here, but its head row {said}: the end was cut off or added to")

    def compare_noted(self, noted: AuditHead, found: object) -> None:
        """What was noted earlier must still be there."""
        if noted.number > 0 and found != noted.hash:
            now = "there is no such entry" if found is None else f"it is {shown(found)}"
            self.find(noted.number, f"the hash noted earlier is {noted.hash.hex()}, now {now}: cut off or written anew")

    def find(self, number: int, message: str) -> None:
        """Notes a finding at an entry."""
        self.findings.append(Finding(None, f"{NOTED_PREFIX}{number}: {message}; {RESTORE}"))

    def listed(self) -> Iterator[Finding]:
        """The first findings, and how many more."""
        yield from self.findings[:FINDINGS_PER_PARTITION_MAX]
        more = len(self.findings) - FINDINGS_PER_PARTITION_MAX
        if more > 0:
            yield Finding(None, f"the audit trail has {more:,} findings more", more)


def _chunks(database: Database, last: int) -> Iterator[Sequence[Sequence[object]]]:
    """Entries up to a number, in order; each page is a transaction of its own, and rows come as the driver gives them."""
    after = 0
    while after < last:
        with database.reading() as connection:
            text = _ROWS.format(placeholder_of(connection))
            rows = connection.exec_driver_sql(text, (after, last, ROWS_AT_ONCE)).all()
        if not rows:
            return
        yield rows
        after = rows[-1][0]


def _hash_at(database: Database, number: int) -> object:
    with database.reading() as connection:
        return connection.exec_driver_sql(_HASH_AT.format(placeholder_of(connection)), (number,)).scalar()


def _noted(text: str) -> AuditHead:
    found = _NOTED.fullmatch(text.strip())
    if found is None:
        raise MalformedQuestion(
            f"expected a noted head such as audit-17:HASH with {2 * HASH_BYTES} hexadecimal digits, got {text[:90]!r}"
        )
    return AuditHead(int(found[1]), bytes.fromhex(found[2]))
