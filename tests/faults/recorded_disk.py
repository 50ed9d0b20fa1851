"""What a disk holds after a power cut, worked out from a recorded run: strace's list of writes, syncs and directory changes.

A sync makes durable what was written to its file before it; a sync of a folder, which names exist in it. Whatever was
not synced when the power went may be there, or not, or in part, sector by sector, in any combination. The file with
shared memory (`-shm`) is left out: it is mapped, not written, and SQLite makes it again.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

SECTOR_BYTES = 512
SHARED_MEMORY = "-shm"
TRACED = "openat,pwrite64,write,ftruncate,fsync,fdatasync,unlink,rename"
STRACE = ("strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s", "4000000", "-e", f"trace={TRACED}")

_CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)")
_FILE = re.compile(r"^\d+<((?:[^>\\]|\\x[0-9a-f]{2})*)>")
_HEX = re.compile(r"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at an offset of a file."""

    file: str
    offset: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A new length of a file."""

    file: str
    length: int


@dataclass(frozen=True, slots=True)
class Sync:
    """Everything written to a file before this is on disk; of a folder, its names."""

    file: str


@dataclass(frozen=True, slots=True)
class Name:
    """A file was created (or found) under a name, or the name was removed."""

    file: str
    exists: bool


@dataclass(frozen=True, slots=True)
class Said:
    """The program wrote this to its standard output."""

    text: bytes


Step = Write | Truncate | Sync | Name | Said


def steps_of(trace: Iterable[str], folder: Path) -> Iterator[Step]:
    """The steps of a trace that concern a folder, in their order, and what the program said."""
    for line in trace:
        call = _CALL.match(line)
        if call and int(call[3]) >= 0 and (step := _step(call[1], call[2], str(folder))):
            yield step


def _step(call: str, arguments: str, folder: str) -> Step | None:
    if call == "write":
        return Said(_text(arguments.split(", ")[1])) if arguments.startswith("1<") else None
    path = _path(call, arguments)
    if not path.startswith(folder) or path.endswith(SHARED_MEMORY):
        return None
    return _change(call, path, arguments.split(", "))


def _change(call: str, path: str, arguments: list[str]) -> Step | None:
    match call:
        case "pwrite64":
            return Write(path, int(arguments[3]), _text(arguments[1]))
        case "ftruncate":
            return Truncate(path, int(arguments[1]))
        case "fsync" | "fdatasync":
            return Sync(path)
        case "openat":
            return Name(path, exists=True) if "O_CREAT" in arguments[2] else None
        case "unlink":
            return Name(path, exists=False)
    raise AssertionError(f"the recorder does not know {call} of {path}")


def _path(call: str, arguments: str) -> str:
    if call in {"openat", "unlink", "rename"}:
        parts = arguments.split(", ")
        return _text(parts[1] if call == "openat" else parts[0]).decode()
    found = _FILE.match(arguments)
    return _HEX.sub(lambda digits: chr(int(digits[1], 16)), found[1]) if found else ""


def _text(written: str) -> bytes:
    return bytes.fromhex(written.strip('"').replace("\\x", ""))


@dataclass
class Disk:
    """A disk on which the steps have been taken up to some moment.

    A name that was removed and made again stands for another file: until the folder is synced, either may be found there.
    """

    _names: dict[str, int | None] = field(default_factory=dict)
    _pending_names: dict[str, list[int | None]] = field(default_factory=dict)
    _durable: list[bytes] = field(default_factory=list)
    _pending: dict[int, list[Write | Truncate]] = field(default_factory=dict)

    def take(self, step: Step) -> None:
        """One step further."""
        match step:
            case Write() | Truncate():
                self._pending.setdefault(self._file(step.file), []).append(step)
            case Name():
                self._rename(step)
            case Sync():
                self._sync(step.file)
            case Said():
                pass

    def after_power_cut(self, dice: Random | None) -> dict[str, bytes]:
        """Which files there are, with which bytes; without dice, only what was synced."""
        present = dict(self._names)
        for name, changes in self._pending_names.items():
            before = self._names.get(name)
            present[name] = dice.choice([before, *changes]) if dice else before
        return {
            name: applied(self._durable[file], _survivors(self._pending.get(file, []), dice))
            for name, file in present.items()
            if file is not None
        }

    def _found(self, name: str) -> int | None:
        """The file that a program finds under a name."""
        changes = self._pending_names.get(name)
        return changes[-1] if changes else self._names.get(name)

    def _file(self, name: str) -> int:
        found = self._found(name)
        assert found is not None, f"{name} was written before it was created"
        return found

    def _rename(self, step: Name) -> None:
        if (self._found(step.file) is not None) == step.exists:
            return
        if step.exists:
            self._durable.append(b"")
        file = len(self._durable) - 1 if step.exists else None
        self._pending_names.setdefault(step.file, []).append(file)

    def _sync(self, path: str) -> None:
        if (file := self._found(path)) is not None:
            self._durable[file] = applied(self._durable[file], self._pending.pop(file, []))
        for name in [each for each in self._pending_names if str(Path(each).parent) == path]:
            self._names[name] = self._pending_names.pop(name)[-1]


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
