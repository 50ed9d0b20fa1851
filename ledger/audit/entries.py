"""What the audit trail keeps of an act, and the row that it becomes. Pure.

An entry names ids and never what stands under them: no telephone number, no body, no key. `api/audit/` sees to that; what the
words for acts and ways are is known there as well.
"""

from typing import Any, NamedTuple

import msgspec

from ledger.chain import entry_hash
from ledger.errors import UnreadableEvent

RESTORE_ACT = "restore"
"""The one act that the trail itself must know: what was noted of the log that was there before may be gone with it."""


class AuditEntry(msgspec.Struct, frozen=True):
    """Who did or saw what, when (microseconds since 1970), through which way, and what came of it.

    `subject` is the id that it was about, `asked` what else was asked for, `result` what there was to tell of the outcome.
    """

    at_us: int
    holder: str
    way: str
    act: str
    subject: str | None = None
    asked: dict[str, Any] = {}
    outcome: str = "done"
    result: dict[str, Any] = {}
    request_id: str | None = None

    def in_words(self) -> str:
        """What was asked for and what came of it, in a line; lists are left out."""
        told = {**self.asked, **self.result}
        return ", ".join(f"{name} {value}" for name, value in told.items() if not isinstance(value, list))


class AuditRow(NamedTuple):
    """One stored entry, column by column; `asked` and `result` are JSON text."""

    number: int
    at_us: int
    holder: str
    way: str
    act: str
    subject: str | None
    asked: str
    outcome: str
    result: str
    request_id: str | None
    hash: bytes


class StoredEntry(NamedTuple):
    """An entry at its place in the trail: 1, 2, 3 … without holes."""

    number: int
    entry: AuditEntry
    hash: bytes


class AuditHead(NamedTuple):
    """The last number and the last hash of the trail."""

    number: int
    hash: bytes

    def __str__(self) -> str:
        """As it is noted elsewhere: `audit-17:HASH`."""
        return f"audit-{self.number}:{self.hash.hex()}"


def next_row(head: AuditHead, entry: AuditEntry) -> AuditRow:
    """The row of a new entry right after `head`."""
    columns = (
        head.number + 1,
        entry.at_us,
        entry.holder,
        entry.way,
        entry.act,
        entry.subject,
        _text(entry.asked),
        entry.outcome,
        _text(entry.result),
        entry.request_id,
    )
    return AuditRow(*columns, hash=hash_of(head.hash, columns))


def hash_of(previous: bytes, columns: tuple[object, ...]) -> bytes:
    """The hash of a row by all its columns but the hash itself."""
    return entry_hash(previous, msgspec.msgpack.encode(columns))


def stored_entry(columns: tuple[Any, ...]) -> StoredEntry:
    """The entry that a row holds; UnreadableEvent where somebody put something else there."""
    try:
        row = AuditRow(*columns)
        asked, result = msgspec.json.decode(row.asked), msgspec.json.decode(row.result)
        values = dict(zip(AuditRow._fields[1:-1], columns[1:-1], strict=True)) | {"asked": asked, "result": result}
        return StoredEntry(row.number, msgspec.convert(values, AuditEntry), bytes(row.hash))
    except (msgspec.MsgspecError, TypeError, ValueError):
        raise unreadable(columns[0]) from None


def unreadable(number: object) -> UnreadableEvent:
    """Somebody put something else in the place of an entry."""
    return UnreadableEvent(f"entry {number!r} of the audit trail is not as it was written; `ledger verify` says more")


def _text(members: dict[str, Any]) -> str:
    return msgspec.json.encode(members).decode()
