"""What `ledger verify` runs: reads the log as it is stored, and says where it is no longer what was recorded.

It trusts neither our code nor the database: every hash is made again from the stored bytes, in short read transactions
beside a running server and with flat memory. After a broken link the chain is followed from the hash that is stored
there, so that one edit is one finding, not one for every event behind it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from ledger.chain import genesis_hash
from ledger.errors import StoreUnavailable
from ledger.ledger import Ledger
from ledger.positions import Position
from ledger.signatures import Secret
from ledger.store import walk
from ledger.store.database import Database
from ledger.verification.content import Content
from ledger.verification.findings import FINDINGS_PER_PARTITION_MAX, RESTORE, Finding, NotedHead, shown
from ledger.verification.keys import wrong_keys
from ledger.verification.partition_walk import PartitionWalk, cannot_be_read
from ledger.verification.storage import damages

__all__ = ["FINDINGS_PER_PARTITION_MAX", "Finding", "NotedHead", "OnProgress", "Verification", "verify"]

OnProgress = Callable[[int, int], None]
"""Told how many events were read and how many there are, every some hundred events."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found. `heads` are to be noted elsewhere (`0-17:HASH`): with them a cut-off tail is found later.

    Of deep verification: `signatures` counts those that were checked again, `unchecked` the webhooks whose signature was not,
    by the id of the secret that was not given; None where none is stored, as where signing was switched off. `wrong_secrets`
    have the ids under which another secret was given than the one that signed, with the number of signatures.
    """

    partitions: int
    events: int
    signatures: int
    heads: tuple[str, ...]
    findings: tuple[Finding, ...]
    unchecked: Mapping[str | None, int] = field(default_factory=dict)
    wrong_secrets: Mapping[str, int] = field(default_factory=dict)


def verify(
    ledger: Ledger,
    *,
    noted_heads: Iterable[str] = (),
    trail_heads: Iterable[NotedHead] = (),
    deep: bool = False,
    secrets: Sequence[Secret] = (),
    on_progress: OnProgress | None = None,
) -> Verification:
    """Reads everything that is stored and tells what is wrong with it, in the order of the partitions.

    `trail_heads` are those that the audit trail notes. `deep` also reads each body again, and checks its signature where
    its secret is among `secrets`. Events that are recorded meanwhile are left for the next time. MalformedQuestion for a
    noted head that cannot be read, StoreUnavailable where not even the ends of the log can.
    """
    noted = [*(NotedHead.parse(text) for text in noted_heads), *trail_heads]
    database, partitions = ledger.database, ledger.partitions
    try:
        ledger_id, ends = walk.stored_ledger_id(database), walk.ends(database, partitions)
    except SQLAlchemyError as error:
        raise StoreUnavailable(cannot_be_read(error)) from error
    total = sum(end.events for end in ends)
    content = Content(ledger.codec, secrets) if deep else None
    findings: list[Finding] = []
    events = 0
    # Beside the walk, because SQLite goes through the indices with Python's lock released, and PostgreSQL in a process of its own.
    with ThreadPoolExecutor(2, "ledger-verify") as beside:
        damaged = beside.submit(damages, database)
        keys = beside.submit(wrong_keys, database, total)
        for end in ends:
            part = PartitionWalk(end.partition, partitions, genesis_hash(ledger_id, end.partition), content)
            for checked in part.read(database, end.last):
                if on_progress is not None:
                    on_progress(events + checked, total)
            events += part.events
            part.finish(database, end.head, noted, keys.result)
            findings += part.findings.listed()
        findings[:0] = damaged.result()
    return Verification(
        partitions,
        events,
        content.signatures if content else 0,
        tuple(_head_to_note(end, ledger_id) for end in ends),
        (*findings, *(content.wrong_signatures() if content else ()), *_in_no_partition(database, partitions, noted)),
        dict(content.unchecked) if content else {},
        content.wrong_secrets() if content else {},
    )


def _in_no_partition(database: Database, partitions: int, noted: Sequence[NotedHead]) -> Iterator[Finding]:
    expected = f"in a partition that this ledger does not have, expected 0 to {partitions - 1}"
    try:
        for partition, number in walk.events_elsewhere(database, partitions, FINDINGS_PER_PARTITION_MAX):
            yield Finding(Position(partition, number), f"an event {expected}; {RESTORE}")
        for register, key in walk.entries_elsewhere(database, partitions, FINDINGS_PER_PARTITION_MAX):
            yield Finding(None, f"{register} {shown(key)} {expected}; {RESTORE}")
    except SQLAlchemyError as error:
        yield Finding(None, cannot_be_read(error))
    for head in noted:
        if head.position.partition >= partitions:
            yield Finding(head.position, f"the noted head is {expected}: was it noted of this ledger?")


def _head_to_note(end: walk.Ends, ledger_id: str) -> str:
    number, stored = end.last or (0, genesis_hash(ledger_id, end.partition))
    return f"{Position(end.partition, number)}:{shown(stored)}"
