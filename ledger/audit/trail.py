"""The audit trail as one object: append, read back. Several processes may append; the head row's lock gives them an order.

On SQLite it is a file of its own, so that an entry never waits for an append to the log, nor the other way about.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from sqlalchemy import Connection, insert, inspect, select
from sqlalchemy.engine import URL

from ledger.audit.entries import AuditEntry, AuditHead, AuditRow, StoredEntry, next_row, stored_entry
from ledger.audit.tables import audit_entries, audit_head, metadata
from ledger.chain import audit_genesis_hash
from ledger.errors import SchemaMismatch, SettingRefused, StoreUnavailable
from ledger.ledger import Ledger
from ledger.store.commit import durably
from ledger.store.damage import StoreDamaged
from ledger.store.database import Database, opening
from ledger.store.driver import fetch, placeholder_of, run
from ledger.store.place import TRAIL
from ledger.store.schema import CREATING, one_at_a_time
from ledger.store.statements import insert_rows

FORMAT = 1


class AuditQuestion(NamedTuple):
    """Which entries are asked for; None is "any". Times are microseconds since 1970, `until_us` exclusive."""

    holder: str | None = None
    act: str | None = None
    subject: str | None = None
    since_us: int | None = None
    until_us: int | None = None


def audit_url(ledger_url: URL) -> URL:
    """Where the audit trail of an embedded ledger is."""
    return ledger_url.set(database=f"{ledger_url.database}{TRAIL}")


class AuditTrail:
    """An open audit trail. Every method may be called from any thread."""

    def __init__(self, database: Database, ledger_id: str, *, is_new: bool = False) -> None:
        """`database` is the trail's own on SQLite, and the ledger's on PostgreSQL; `is_new` where its file was begun just now."""
        self.database = database
        self.is_new = is_new
        self.ledger_id = ledger_id

    @classmethod
    def open(cls, ledger: Ledger) -> Self:
        """The trail beside a ledger, begun where there is none.

        SettingRefused where the file is that of another ledger, SchemaMismatch where a newer program made it.
        """
        if not ledger.database.is_sqlite:
            _begin_or_check(ledger.database, ledger.identity.ledger_id)
            return cls(ledger.database, ledger.identity.ledger_id)
        place = audit_url(ledger.database.url)
        is_missing = not Path(place.database or "").is_file()
        if ledger.database.evidence and is_missing:
            raise SettingRefused(
                f"there is no audit trail in {place.database}: a backup is two files, put this one beside the other"
            )
        url = place.render_as_string(hide_password=False)
        with opening(url, evidence=ledger.database.evidence) as database:
            _begin_or_check(database, ledger.identity.ledger_id)
            return cls(database, ledger.identity.ledger_id, is_new=is_missing)

    def append(self, entries: Sequence[AuditEntry]) -> list[int]:
        """Makes entries durable in one transaction; their numbers. StoreUnavailable if it cannot, StoreDamaged.

        Where a connection was lost in COMMIT, entries may stand twice: better than not at all. No entries are a proof that some could
        be appended.
        """
        try:
            return durably(self.database, lambda _again: self._append(entries))
        except StoreUnavailable as error:
            if isinstance(error.__cause__, StoreDamaged):
                raise error.__cause__ from None
            raise StoreUnavailable(f"the audit trail cannot be written: {error}") from error

    def entries(self, question: AuditQuestion, *, before: int | None = None, limit: int) -> list[StoredEntry]:
        """At most `limit` entries before a number, newest first."""
        columns = audit_entries.c
        asked = (
            (columns.holder, question.holder),
            (columns.act, question.act),
            (columns.subject, question.subject),
        )
        statement = select(audit_entries).where(*(column == text for column, text in asked if text is not None))
        if question.since_us is not None:
            statement = statement.where(columns.at_us >= question.since_us)
        if question.until_us is not None:
            statement = statement.where(columns.at_us < question.until_us)
        if before is not None:
            statement = statement.where(columns.number < before)
        with self.database.reading() as connection:
            found = connection.execute(statement.order_by(columns.number.desc()).limit(limit)).all()
        return [stored_entry(tuple(row)) for row in found]

    def newest(self, act: str) -> StoredEntry | None:
        """The last entry of an act."""
        return next(iter(self.entries(AuditQuestion(act=act), limit=1)), None)

    def close(self) -> None:
        """Closes the connections of an embedded trail. Those to PostgreSQL are the ledger's."""
        if self.database.is_sqlite:
            self.database.close()

    def _append(self, entries: Sequence[AuditEntry]) -> list[int]:
        rows: list[AuditRow] = []
        with self.database.writing() as connection:
            head = _lock_head(connection)
            for entry in entries:
                row = next_row(head, entry)
                head = AuditHead(row.number, row.hash)
                rows.append(row)
            if rows:
                insert_rows(connection, audit_entries.name, AuditRow._fields, rows)
            else:
                fetch(connection, f"SELECT number FROM {audit_entries.name} LIMIT 1")  # noqa: S608 - a name of ours
            place = placeholder_of(connection)
            run(connection, f"UPDATE audit_head SET number = {place}, hash = {place}", head)  # noqa: S608 - no value in it
        return [row.number for row in rows]


def _begin_or_check(database: Database, ledger_id: str) -> None:
    with database.reading() as connection:
        is_there = inspect(connection).has_table(audit_head.name)
    if not is_there:
        with database.writing() as connection:
            one_at_a_time(connection, CREATING)
            _begin(connection, ledger_id)
    with database.reading() as connection:
        found = connection.execute(select(audit_head.c.ledger_id, audit_head.c.format)).one()
    if found.ledger_id != ledger_id:
        raise SettingRefused(
            f"LEDGER_DATABASE_URL: the audit trail in {database.url.database} is that of another ledger"
            f" ({found.ledger_id}, expected {ledger_id}); put the one in its place that belongs to this ledger"
        )
    if found.format != FORMAT:
        raise SchemaMismatch(
            f"the audit trail has format {found.format}, this program knows {FORMAT}: install a newer program"
        )


def _begin(connection: Connection, ledger_id: str) -> None:
    metadata.create_all(connection)
    if connection.execute(select(audit_head.c.number)).first() is None:
        genesis = audit_genesis_hash(ledger_id)
        connection.execute(insert(audit_head).values(ledger_id=ledger_id, format=FORMAT, number=0, hash=genesis))


def _lock_head(connection: Connection) -> AuditHead:
    """The head, locked until the transaction ends (on SQLite BEGIN IMMEDIATE has locked everything)."""
    lock = "" if connection.dialect.name == "sqlite" else " FOR UPDATE"
    ((number, last_hash),) = fetch(connection, f"SELECT number, hash FROM audit_head{lock}")  # noqa: S608 - no value in it
    return AuditHead(number, last_hash)
