"""Entries from many threads: each is on disk before its reader is answered, those that wait share a commit, and nobody waits for ever.

On a real trail; only where a commit must wait or fail does something of the test stand in front of it.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event

import pytest

from ledger.audit.entries import AuditEntry
from ledger.audit.trail import AuditQuestion, AuditTrail
from ledger.audit.writer import BATCH_MAX, WAITING_MAX, EntryWriter, until_written
from ledger.errors import LedgerError, QueueFull, ShuttingDown, StoreUnavailable
from ledger.ledger import Ledger
from ledger.verification.trail_walk import verify_trail
from tests.builders import NOW_US

PATIENCE_S = 30


class Gate:
    """An append that the test lets through, one by one; the test may make it fail."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail
        self.reached = threading.Semaphore(0)
        self.open = threading.Semaphore(0)
        self.batches: list[tuple[str, list[str | None]]] = []
        self.failures: list[Exception] = []

    def __call__(self, entries: Sequence[AuditEntry]) -> None:
        self.batches.append((threading.current_thread().name, [each.subject for each in entries]))
        self.reached.release()
        assert self.open.acquire(timeout=PATIENCE_S)
        if self.failures:
            raise self.failures.pop()
        self._trail.append(entries)

    def wait(self) -> None:
        """Until somebody writes."""
        assert self.reached.acquire(timeout=PATIENCE_S)

    def let_through(self, count: int = 1) -> None:
        self.open.release(count)


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[AuditTrail]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger, closing(AuditTrail.open(ledger)) as found:
        yield found


@pytest.fixture
def gate(trail: AuditTrail) -> Gate:
    return Gate(trail)


@pytest.fixture
def writer(gate: Gate) -> Iterator[EntryWriter]:
    with writing(gate) as made:
        yield made
        gate.let_through(1_000)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8, "reader") as pool:
        yield pool


@contextmanager
def writing(append: Callable[[Sequence[AuditEntry]], object]) -> Iterator[EntryWriter]:
    """A writer until the end of the block."""
    writer = EntryWriter(append)
    try:
        yield writer
    finally:
        asyncio.run(asyncio.wait_for(writer.close(), PATIENCE_S))


def entry(subject: str) -> AuditEntry:
    return AuditEntry(NOW_US, "anna", "http", "read-message", subject)


def brought_until_it_closes(writer: EntryWriter) -> list[Future[None]]:
    """What a writer still took."""
    taken: list[Future[None]] = []
    with suppress(ShuttingDown):
        while True:
            taken.append(writer.submit(entry("waiting")))
            time.sleep(0.001)
    return taken


def outcome_of(written: Future[None]) -> LedgerError | None:
    failed = written.exception(PATIENCE_S)
    assert failed is None or isinstance(failed, LedgerError)
    return failed


def subjects(trail: AuditTrail) -> list[str | None]:
    return [each.entry.subject for each in reversed(trail.entries(AuditQuestion(), limit=1_000))]


def test_who_finds_nobody_writing_writes_and_has_the_entry_on_disk_when_it_comes_back(trail: AuditTrail) -> None:
    seen: list[str] = []

    def append(entries: Sequence[AuditEntry]) -> None:
        seen.append(threading.current_thread().name)
        trail.append(entries)

    with writing(append) as writer:
        written = writer.write(entry("msg_1"))

        assert written.done()
        assert (seen, subjects(trail)) == ([threading.current_thread().name], ["msg_1"])


def test_what_comes_while_somebody_writes_shares_the_next_commit_and_keeps_nobody(
    trail: AuditTrail, gate: Gate, writer: EntryWriter, threads: ThreadPoolExecutor
) -> None:
    first = threads.submit(writer.write, entry("first"))
    gate.wait()
    later = [writer.write(entry(f"later_{number}")) for number in range(3)]  # comes back, although nothing is written
    assert not any(each.done() for each in later)
    gate.let_through()
    gate.wait()

    assert first.result(PATIENCE_S).done()  # who wrote is let go, although others wait
    assert subjects(trail) == ["first"]
    gate.let_through()
    assert [outcome_of(each) for each in later] == [None] * 3
    assert subjects(trail) == ["first", "later_0", "later_1", "later_2"]
    assert [len(batch) for _, batch in gate.batches] == [1, 3]


def test_who_must_not_block_does_not(trail: AuditTrail, gate: Gate, writer: EntryWriter) -> None:
    written = writer.submit(entry("msg_1"))

    assert not written.done()
    gate.let_through()
    assert outcome_of(written) is None
    assert [name.startswith("ledger-audit") for name, _ in gate.batches] == [True]
    assert subjects(trail) == ["msg_1"]


@pytest.mark.parametrize("failure", [StoreUnavailable("the disk is full"), RuntimeError("a bug")])
def test_a_commit_that_fails_is_told_to_all_who_waited_for_it_and_the_next_is_written(
    trail: AuditTrail, gate: Gate, writer: EntryWriter, caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    first = writer.submit(entry("first"))
    gate.wait()
    failed = [writer.submit(entry(f"failed_{number}")) for number in range(3)]
    gate.let_through()
    gate.wait()
    gate.failures.append(failure)
    gate.let_through()

    assert outcome_of(first) is None
    assert [type(outcome_of(each)) for each in failed] == [StoreUnavailable] * 3
    gate.let_through()
    assert outcome_of(writer.submit(entry("next"))) is None
    assert subjects(trail) == ["first", "next"]
    told = [each.getMessage() for each in caplog.records if each.name == "ledger.audit.writer"]
    assert told[0].partition(";")[0].endswith("were not written: 3")
    assert told[1:] == ["the audit trail is written again"]


def test_what_waits_and_what_is_written_at_once_is_bounded(
    trail: AuditTrail, gate: Gate, writer: EntryWriter, threads: ThreadPoolExecutor
) -> None:
    first = threads.submit(writer.write, entry("first"))
    gate.wait()
    waiting = [writer.submit(entry(f"msg_{number}")) for number in range(WAITING_MAX)]
    with pytest.raises(QueueFull, match=f"{WAITING_MAX} entries of the audit trail wait"):
        writer.write(entry("one too many"))
    gate.let_through(1_000)

    assert outcome_of(first.result(PATIENCE_S)) is None
    assert [outcome_of(each) for each in waiting] == [None] * WAITING_MAX
    assert max(len(batch) for _, batch in gate.batches) == BATCH_MAX
    assert verify_trail(trail).entries == WAITING_MAX + 1


def test_closing_writes_what_waits_and_takes_nothing_new(
    trail: AuditTrail, gate: Gate, writer: EntryWriter, threads: ThreadPoolExecutor
) -> None:
    threads.submit(writer.write, entry("first"))
    gate.wait()
    closed = threads.submit(asyncio.run, writer.close())
    taken = brought_until_it_closes(writer)
    assert not closed.done()
    gate.let_through(1_000)

    assert closed.result(PATIENCE_S) is None
    assert [outcome_of(each) for each in taken] == [None] * len(taken)
    assert verify_trail(trail).entries == 1 + len(taken)


def test_nobody_waits_without_end_and_a_late_entry_is_there_all_the_same(
    trail: AuditTrail, gate: Gate, writer: EntryWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.audit.writer.LOOK_EVERY_S", 0.01)
    written = writer.submit(entry("late"))

    with pytest.raises(StoreUnavailable, match="the disk does not answer"):
        asyncio.run(until_written(written))
    gate.let_through()
    assert outcome_of(written) is None
    assert subjects(trail) == ["late"]


@pytest.mark.parametrize("failure", [None, StoreUnavailable("the disk is full")])
def test_who_goes_away_takes_nothing_with_it(
    trail: AuditTrail, gate: Gate, writer: EntryWriter, failure: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def goes_away(written: Future[None]) -> None:
        waiting = asyncio.create_task(until_written(written))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        gate.failures += [failure] if failure else []
        gate.let_through()
        await asyncio.to_thread(written.exception, PATIENCE_S)
        await asyncio.sleep(0)

    asyncio.run(goes_away(writer.submit(entry("msg_1"))))

    assert subjects(trail) == ([] if failure else ["msg_1"])
    assert [each.message for each in caplog.records if each.name == "asyncio"] == []


def test_whatever_many_threads_bring_is_in_the_trail_once_when_they_are_told(trail: AuditTrail) -> None:
    enough = Event()

    def bring(writer: EntryWriter, reader: int) -> list[str]:
        told: list[str] = []
        enough.wait(PATIENCE_S)
        for number in range(40):
            subject = f"msg_{reader}_{number}"
            written = (writer.write, writer.submit)[(reader + number) % 3 == 0](entry(subject))
            asyncio.run(until_written(written))
            told.append(subject)
        return told

    with writing(trail.append) as writer, ThreadPoolExecutor(8) as pool:
        bringing = [pool.submit(bring, writer, reader) for reader in range(8)]
        enough.set()
        told = [subject for each in bringing for subject in each.result(PATIENCE_S)]

    kept = [str(each.entry.subject) for each in trail.entries(AuditQuestion(), limit=1_000)]
    assert sorted(kept) == sorted(told)
    assert verify_trail(trail).findings == ()
