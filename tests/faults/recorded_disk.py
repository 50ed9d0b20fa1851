"""What a disk holds after a power cut, worked out from a recorded run: `recorded_trace.py`.

A sync makes durable what was written to its file before it; a sync of a folder, which names exist in it. Whatever was
not synced when the power went may be there, or not, or in part, sector by sector, in any combination; a rename is whole or not
at all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.faults.recorded_trace import Create, Remove, Rename, Said, Step, Sync, Truncate, Write

SECTOR_BYTES = 512
DELETED = " (deleted)"
"""How strace writes the path of an open file that has no name any more."""

Change = tuple[int, Write | Truncate]
Naming = tuple[int, Mapping[str, int | None]]
"""Each with the number of its step; a naming says which file stands under which names from then on."""


@dataclass
class Disk:
    """A disk on which the steps have been taken up to some moment; `begin` is what it held before the first.

    A name that was removed and made again stands for another file: until the folder is synced, either may be found there.
    `names_with_files` is how ext4 and XFS do it, which POSIX does not promise: the sync of a new file keeps its name too.
    """

    begin: Mapping[str, bytes] = field(default_factory=dict)
    names_with_files: bool = False
    _taken: int = 0
    _found: dict[str, int | None] = field(default_factory=dict)
    _named: dict[str, int | None] = field(default_factory=dict)
    _namings: list[Naming] = field(default_factory=list)
    _durable: list[bytes] = field(default_factory=list)
    _pending: dict[int, list[Change]] = field(default_factory=dict)
    _touched: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Puts on it what it held before."""
        for name, content in self.begin.items():
            self._found[name] = self._named[name] = len(self._durable)
            self._durable.append(content)

    def take(self, step: Step) -> None:
        """One step further."""
        match step:
            case Write() | Truncate():
                self._change(step)
            case Create():
                self._create(step)
            case Remove():
                self._name({step.file: None})
            case Rename():
                kept = {} if step.keeps_old else {step.old: None}
                self._name({**kept, step.new: self._file(step.old)})
            case Sync():
                self._sync(step)
            case Said():
                pass
        self._taken += 1

    def after_power_cut(self, dice: Random | None) -> dict[str, bytes | None]:
        """Every file that was touched, None where it is not there after the cut; without dice, only what was synced."""
        names, share = dict(self._named), dice.random() if dice else 0.0
        for _, naming in self._namings:
            if dice and dice.random() < share:
                names.update(naming)
        return {name: self._content(names.get(name), dice) for name in self._touched}

    def _content(self, file: int | None, dice: Random | None) -> bytes | None:
        if file is None:
            return None
        return applied(self._durable[file], _survivors([each for _, each in self._pending.get(file, [])], dice))

    def _file(self, name: str) -> int:
        found = self._found.get(name)
        assert found is not None, f"{name} was written before it was created"
        return found

    def _change(self, step: Write | Truncate) -> None:
        if step.file.endswith(DELETED):
            return  # nothing of it is found after a cut
        self._pending.setdefault(self._file(step.file), []).append((self._taken, step))
        self._touched.add(step.file)

    def _create(self, step: Create) -> None:
        if self._found.get(step.file) is None:
            self._durable.append(b"")
            self._name({step.file: len(self._durable) - 1})
        elif step.is_emptied:
            self._change(Truncate(step.file, 0))

    def _name(self, naming: Mapping[str, int | None]) -> None:
        self._found.update(naming)
        self._namings.append((self._taken, naming))
        self._touched.update(naming)

    def _sync(self, step: Sync) -> None:
        file = self._found.get(step.file)
        if file is not None:
            pending = self._pending.pop(file, [])
            covered = [change for number, change in pending if number < step.begun]
            self._durable[file] = applied(self._durable[file], covered)
            self._pending[file] = [each for each in pending if each[0] >= step.begun]
        kept: list[Naming] = []
        for number, naming in self._namings:
            is_of_folder = any(str(Path(name).parent) == step.file for name in naming)
            is_of_file = self.names_with_files and file is not None and file in naming.values()
            if number < step.begun and (is_of_folder or is_of_file):
                self._named.update(naming)
            else:
                kept.append((number, naming))
        self._namings = kept


def _survivors(pending: Sequence[Write | Truncate], dice: Random | None) -> list[Write | Truncate]:
    """Of what was not synced: nothing without dice; else any of it, in sectors."""
    if dice is None:
        return []
    share = dice.random()
    kept: list[Write | Truncate] = []
    for each in pending:
        parts = [each] if isinstance(each, Truncate) else list(_sectors(each))
        kept += [part for part in parts if dice.random() < share]
    return kept


def _sectors(write: Write) -> Iterator[Write]:
    start = 0
    while start < len(write.content):
        end = start + SECTOR_BYTES - (write.offset + start) % SECTOR_BYTES
        yield Write(write.file, write.offset + start, write.content[start:end])
        start = end


def applied(content: bytes, changes: Sequence[Write | Truncate]) -> bytes:
    """Bytes after changes in their order."""
    if not changes:
        return content
    result = bytearray(content)
    for change in changes:
        if isinstance(change, Truncate):
            result = result[: change.length].ljust(change.length, b"\0")
        else:
            end = change.offset + len(change.content)
            if len(result) < end:
                result.extend(bytes(end - len(result)))
            result[change.offset : end] = change.content
    return bytes(result)
