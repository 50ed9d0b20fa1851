"""The heads of the log that the audit trail notes: of verifications, backups and restores. What they name must still be there."""

import msgspec

from ledger.audit.entries import RESTORE_ACT
from ledger.errors import MalformedQuestion
from ledger.positions import Position
from ledger.verification.findings import NOTED_PREFIX, NotedHead


class _Result(msgspec.Struct):
    """What is looked at of an entry's result."""

    heads: list[str] = []
    findings: int = 0


class TrailHeads:
    """The heads that were noted in the entries so far and hold, each with the first entry that notes it."""

    def __init__(self) -> None:
        self._sound: dict[NotedHead, None] = {}
        self._of_findings: dict[NotedHead, None] = {}
        self.remarks: list[str] = []

    def take(self, number: object, act: object, result: object) -> None:
        """Looks at an entry; one that was changed is a finding of the walk, so whatever cannot be read here is none."""
        if not isinstance(result, str) or '"heads"' not in result:
            return
        try:
            told = msgspec.json.decode(result, type=_Result)
            entry = f"{NOTED_PREFIX}{number}"
            heads = [NotedHead.parse(text, entry) for text in told.heads if not text.startswith(NOTED_PREFIX)]
        except (msgspec.MsgspecError, MalformedQuestion):
            return
        if act == RESTORE_ACT:
            self._restored(entry, {head.position.partition: head.position for head in heads})
        into = self._of_findings if told.findings else self._sound
        for head in heads:
            into.setdefault(head)

    def listed(self) -> tuple[NotedHead, ...]:
        """What the log must hold."""
        return (*self._sound, *(head for head in self._of_findings if head not in self._sound))

    def _restored(self, entry: str, ends: dict[int, Position]) -> None:
        """What was noted later than a restored backup ends was knowingly given up, as is what was noted beside findings."""
        gone = [head for head in self._sound if _is_beyond(head, ends)]
        if gone:
            last = gone[-1]
            self.remarks.append(
                f"{entry}: a backup that ends at {ends.get(last.position.partition)} took the log's place;"
                f" {last.position}, noted in {last.noted_in}, was in the log before"
            )
        self._sound = {head: None for head in self._sound if not _is_beyond(head, ends)}
        self._of_findings = {}


def _is_beyond(head: NotedHead, ends: dict[int, Position]) -> bool:
    end = ends.get(head.position.partition)
    return end is not None and head.position.number > end.number
