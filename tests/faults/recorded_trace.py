"""strace's list of what programs did to files, as steps: writes, truncations, syncs, and changes of names.

    strace STRACE_OPTIONS -o FILE PROGRAM …

Calls of several threads and processes are told when they end; a sync that another call has overtaken is known to have begun
before it. The file with shared memory of SQLite (`-shm`) is left out: it is mapped, not written, and SQLite makes it again.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SHARED_MEMORY = "-shm"
TRACED = "openat,write,pwrite64,pwritev,lseek,ftruncate,truncate,fallocate,fsync,fdatasync,unlink,rename,link,copy_file_range"
STRACE = ("strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s", "4000000", "-e", f"trace={TRACED}")
STANDARD_OUTPUT = "1"

_LINE = re.compile(r"^(\d+) +(.*)$")
_BEGUN = " <unfinished ...>"
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)")
_DESCRIPTOR = re.compile(r"^(\w+)<((?:[^>\\]|\\x[0-9a-f]{2})*)>")
_VECTOR = re.compile(r'iov_base="((?:\\x[0-9a-f]{2})*)"')
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
    """What was written to a file in the first `begun` steps is on disk; of a folder, its names."""

    file: str
    begun: int


@dataclass(frozen=True, slots=True)
class Create:
    """A file was opened that is created where there is none."""

    file: str
    is_emptied: bool = False


@dataclass(frozen=True, slots=True)
class Remove:
    """A name was removed."""

    file: str


@dataclass(frozen=True, slots=True)
class Rename:
    """A file has another name; with `keeps_old`, one name more."""

    old: str
    new: str
    keeps_old: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """A program wrote this to its standard output."""

    text: bytes


Step = Write | Truncate | Sync | Create | Remove | Rename | Said


@dataclass
class Reader:
    """Reads a trace; `folder` is where the files of interest are, and what relative names are relative to."""

    folder: str
    taken: int = 0
    _begun: dict[str, tuple[str, int]] = field(default_factory=dict)
    _offsets: dict[tuple[str, str], int] = field(default_factory=dict)

    def steps(self, trace: Iterable[str]) -> Iterator[Step]:
        """The steps, in the order in which the calls ended."""
        for line in trace:
            whole = self._whole(line.rstrip("\n"))
            if whole is None:
                continue
            process, text, begun = whole
            call = _CALL.match(text)
            if call is None or int(call[3]) < 0:
                continue
            step = self._step(process, call[1], call[2], int(call[3]), begun)
            if step is not None:
                self.taken += 1
                yield step

    def _whole(self, line: str) -> tuple[str, str, int] | None:
        """(process, the whole call, how many steps had been taken when it began), once a call has ended."""
        found = _LINE.match(line)
        process, text = (found[1], found[2]) if found else ("", line)
        if text.endswith(_BEGUN):
            self._begun[process] = (text.removesuffix(_BEGUN), self.taken)
            return None
        if resumed := _RESUMED.match(text):
            if process not in self._begun:
                return None
            begin, taken = self._begun.pop(process)
            return process, begin + resumed[2], taken
        return process, text, self.taken

    def _step(self, process: str, call: str, arguments: str, result: int, begun: int) -> Step | None:
        match call:
            case "openat" | "unlink" | "rename" | "link" | "truncate":
                return self._of_names(process, call, arguments.split(", "), result)
            case _:
                return self._of_descriptor(process, call, arguments, result, begun)

    def _of_names(self, process: str, call: str, arguments: list[str], result: int) -> Step | None:
        first = self._path(arguments[1] if call == "openat" else arguments[0])
        if call == "openat":
            self._offsets[process, str(result)] = 0
            assert "O_APPEND" not in arguments[2] or not self._is_ours(first), f"{first} is appended to"
        if not self._is_ours(first):
            return None
        match call:
            case "openat":
                is_emptied = "O_TRUNC" in arguments[2]
                return Create(first, is_emptied) if is_emptied or "O_CREAT" in arguments[2] else None
            case "unlink":
                return Remove(first)
            case "truncate":
                return Truncate(first, int(arguments[1]))
            case _:
                return Rename(first, self._path(arguments[1]), keeps_old=call == "link")

    def _of_descriptor(self, process: str, call: str, arguments: str, result: int, begun: int) -> Step | None:
        found = _DESCRIPTOR.match(arguments)
        if found is None:
            return None
        descriptor, path = found[1], _unescaped(found[2])
        is_said = call == "write" and descriptor == STANDARD_OUTPUT and not path.startswith("/dev/")
        if is_said or not self._is_ours(path):
            return Said(_text(arguments.split(", ")[1])) if is_said else None
        match call:
            case "write" | "pwrite64" | "pwritev":
                return self._write((process, descriptor), path, call, arguments, result)
            case "lseek":
                self._offsets[process, descriptor] = result
                return None
            case "ftruncate":
                return Truncate(path, int(arguments.split(", ")[1]))
            case "fsync" | "fdatasync":
                return Sync(path, begun)
        raise AssertionError(f"the recorder does not know {call} of {path}")

    def _write(self, place: tuple[str, str], path: str, call: str, arguments: str, result: int) -> Step:
        if call == "pwritev":
            content = b"".join(bytes.fromhex(each.replace("\\x", "")) for each in _VECTOR.findall(arguments))
        else:
            content = _text(arguments.split(", ")[1])
        if call == "write":
            offset = self._offsets.get(place, 0)
            self._offsets[place] = offset + result
        else:
            offset = int(arguments.rsplit(", ", 1)[1])
        return Write(path, offset, content[:result])

    def _is_ours(self, path: str) -> bool:
        return path.startswith(self.folder) and not path.endswith(SHARED_MEMORY)

    def _path(self, written: str) -> str:
        return str(Path(self.folder) / _text(written).decode())


def steps_of(trace: Iterable[str], folder: Path) -> Iterator[Step]:
    """The steps of a trace that concern a folder, in their order, and what the program said."""
    return Reader(str(folder)).steps(trace)


def _unescaped(path: str) -> str:
    return _HEX.sub(lambda digits: chr(int(digits[1], 16)), path)


def _text(written: str) -> bytes:
    return bytes.fromhex(written.strip('"').replace("\\x", ""))
