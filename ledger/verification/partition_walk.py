"""The walk along one partition, link by link, and the comparison of its end with what was noted."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from sqlalchemy.exc import SQLAlchemyError

from ledger.facts import partition_of, quarantine_partition
from ledger.store import walk
from ledger.store.database import Database
from ledger.store.driver import said as said_by
from ledger.store.sqlite import DAMAGED
from ledger.verification.content import Content, hash_of, is_quarantined_as, is_sent_as, received_at_us_of
from ledger.verification.findings import RESTORE, Findings, NotedHead, shown
from ledger.verification.keys import WrongKey

WrongKeys = Callable[[], Mapping[int, Sequence[WrongKey]]]
"""What `wrong_keys` found, by partition; raises what it raised."""


class PartitionWalk:
    """The walk along one partition: how far it came, and the hash there."""

    def __init__(self, partition: int, partitions: int, genesis: bytes, content: Content | None) -> None:
        self.findings = Findings(partition)
        self.events = 0
        self._partition = partition
        self._partitions = partitions
        self._number = 0
        self._cut_short = False
        self._hash = genesis
        self._content = content

    def read(self, database: Database, last: tuple[int, bytes] | None) -> Iterator[int]:
        """Checks events up to the last one, chunk after chunk, and gives how many have been read."""
        try:
            for rows in walk.event_chunks(database, self._partition, last[0]) if last else ():
                self._check(rows)
                self.events += len(rows)
                yield self.events
        except SQLAlchemyError as error:
            self._unreadable(error)

    def _check(self, rows: Sequence[walk.RawRow]) -> None:
        number, previous = self._number, self._hash
        for row in rows:
            number += 1
            if row[0] != number or hash_of(previous, self._partition, row) != row[6]:
                number = self._explain(number, previous, row)
            previous = row[6]
            if self._partitions > 1 and (home := _home_of(row, self._partitions)) != self._partition:
                self.findings.add(
                    number, f"the event's stream belongs to partition {home}, where it is looked for; {RESTORE}"
                )
            if self._content is not None and (wrong := self._content.wrong_with(self._partition, row)):
                self.findings.add(number, wrong)
        self._number, self._hash = number, previous

    def _explain(self, expected: int, previous: bytes, row: walk.RawRow) -> int:
        """Says what is wrong with a row, and from which position the walk goes on."""
        found, stored = row[0], row[6]
        if found != expected:
            # Its own hash cannot be checked: the one before it is gone with the events that are missing.
            self.findings.add(expected, f"{_absent(expected, found)}; {RESTORE}")
            return found if isinstance(found, int) else expected
        made = hash_of(previous, self._partition, row)
        self.findings.add(
            expected,
            "the event was changed, or is not the one that stood here: its columns give"
            f" {made.hex() if made else 'no hash, as one is not of our kind'}, stored is {shown(stored)}; {RESTORE}",
        )
        return expected

    def finish(
        self, database: Database, head: tuple[int, bytes] | None, noted: Sequence[NotedHead], keys: WrongKeys
    ) -> None:
        """Checks what can be told only at the end: the head row, the heads noted earlier, the keys, the registers."""
        if self._cut_short:
            return
        try:
            self._compare_head(head)
            self._compare_noted(database, noted)
            for number, wrong in keys().get(self._partition, ()):
                self.findings.add(number, wrong)
            self._check_registers(database)
        except SQLAlchemyError as error:
            self._unreadable(error)

    def _compare_head(self, head: tuple[int, bytes] | None) -> None:
        """The head row must name the last event."""
        if head is None:
            self.findings.add(self._number, f"the head of partition {self._partition} is missing; {RESTORE}")
        elif head != (self._number, self._hash):
            self.findings.add(
                self._number,
                f"the log ends here with the hash {shown(self._hash)}, but its head row says"
                f" {self._partition}-{head[0]} with {shown(head[1])}: the end was cut off or added to; {RESTORE}",
            )

    def _compare_noted(self, database: Database, noted: Sequence[NotedHead]) -> None:
        """What was noted earlier must still be there: this finds a tail that was cut off together with its head row."""
        here = [head for head in noted if head.position.partition == self._partition and head.position.number > 0]
        found = walk.hashes_at(database, self._partition, {head.position.number for head in here})
        lost = [head for head in here if found.get(head.position.number) != head.hash]
        for head in lost:
            if head.noted_in is None:
                self._lost(head, "the hash noted earlier is", found)
        in_trail = sorted((head for head in lost if head.noted_in), key=lambda head: head.position.number)
        if in_trail:
            # The first tells where to look, and how many the others are how much is gone: one edit is one finding.
            others = f" (and {len(in_trail) - 1} more up to {in_trail[-1].position})" if len(in_trail) > 1 else ""
            self._lost(in_trail[0], f"the hash that the audit trail notes in {in_trail[0].noted_in}{others} is", found)

    def _lost(self, head: NotedHead, told: str, found: Mapping[int, object]) -> None:
        now = found.get(head.position.number)
        said = "there is no such event" if now is None else f"it is {shown(now)}"
        self.findings.add(
            head.position.number,
            f"{told} {head.hash.hex()}, now {said}: the log was cut off or written anew; {RESTORE}",
        )

    def _check_registers(self, database: Database) -> None:
        """Each body in quarantine must be the one that its id names; each send the one that its key and digest name."""
        for rows in walk.quarantine_chunks(database, self._partition):
            for quarantine_id, receipt, received_at_us in rows:
                what = f"quarantine {shown(quarantine_id)}"
                if not is_quarantined_as(quarantine_id, receipt):
                    self.findings.add(None, f"{what} holds another body than its id says; {RESTORE}")
                elif received_at_us != received_at_us_of(receipt):
                    self.findings.add(None, f"{what} says of itself that it came at another time; {RESTORE}")
                elif quarantine_partition(quarantine_id, self._partitions) != self._partition:
                    self.findings.add(None, f"{what} is in partition {self._partition}, not in its own; {RESTORE}")
        for rows in walk.send_chunks(database, self._partition):
            for send_id, digest, body in rows:
                what = f"send {shown(send_id)}"
                if not is_sent_as(send_id, digest, body):
                    self.findings.add(None, f"{what} holds another body than its id and digest say; {RESTORE}")
                elif partition_of(send_id, self._partitions) != self._partition:
                    self.findings.add(None, f"{what} is in partition {self._partition}, not in its own; {RESTORE}")

    def _unreadable(self, error: SQLAlchemyError) -> None:
        self._cut_short = True
        self.findings.add(self._number, f"after this position {cannot_be_read(error)}")


def cannot_be_read(error: SQLAlchemyError) -> str:
    """What the database said when it could not go on, and what to do, where it does not say so itself."""
    told = said_by(error)
    todo = "restore it from a backup" if any(words in told for words in DAMAGED) else "mend that, and verify again"
    return f"the database cannot be read: {told}" + ("" if "docs/" in told else f"; {todo} (docs/RUNBOOK.md, verify)")


def _home_of(row: walk.RawRow, partitions: int) -> int | None:
    """The partition of an event's stream; None where its id is not of our kind."""
    return partition_of(row[1], partitions) if isinstance(row[1], bytes) else None


def _absent(expected: int, found: object) -> str:
    """What is missing before the position that was found."""
    if not isinstance(found, int) or found < expected:
        return f"the next event stands at {found!r}, expected {expected}"
    missing = f"event {expected} is" if found == expected + 1 else f"events {expected} to {found - 1} are"
    return f"{missing} missing: the next event stands at {found}, expected {expected}"
