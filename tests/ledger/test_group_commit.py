"""Group commit: nobody is answered before the commit, nobody cuts another's append, and what waits is bounded.

On a real SQLite ledger, with a thread at the other end of the channel; only where a commit must wait or fail does something of the
test stand in front of the real one.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from threading import Event, Semaphore, Thread

import pytest

from ledger.commit_channel import LENGTH_BYTES, LOOKS_MAX, CommitChannel, commit_for
from ledger.errors import QueueFull, ShuttingDown, StoreUnavailable
from ledger.facts import Fact, Item, Outcome, Placed, Quarantined, UnreadableDelivery
from ledger.group_commit import (
    BATCH_BYTES_MAX,
    BATCH_ITEMS_MAX,
    QUEUE_BYTES_MAX,
    QUEUE_ITEMS_MAX,
    GroupCommit,
    size_of,
)
from ledger.ledger import Ledger
from ledger.positions import Position
from ledger.reception import Reception
from tests.builders import NOW_US, fact, facts, placed, queued, stored_facts

PATIENCE_S = 30


class Gate:
    """A commit that the test lets through, so that the test decides what waits behind it; the test may make it fail."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.reached = Event()
        self.open = Event()
        self.batches: list[Sequence[Item]] = []
        self.failures: list[Exception] = []

    def __call__(self, items: Sequence[Item]) -> list[Outcome]:
        self.batches.append(items)
        self.reached.set()
        assert self.open.wait(PATIENCE_S)
        if self.failures:
            raise self.failures.pop()
        return self._ledger.commit(items)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as opened:
        yield opened


@pytest.fixture
def gate(ledger: Ledger) -> Gate:
    return Gate(ledger)


@asynccontextmanager
async def opened(commit: Callable[[Sequence[Item]], list[Outcome]]) -> AsyncIterator[GroupCommit]:
    """A queue, and a thread that commits; both end with the block."""
    end, other_end = socket.socketpair()
    nothing = {"on_commit": lambda: None}
    thread = Thread(target=commit_for, args=(other_end, commit), kwargs=nothing)
    thread.start()
    channel: CommitChannel = CommitChannel(end)
    group = GroupCommit(channel.commit, on_commit=lambda: None)
    try:
        yield group
    finally:
        await group.close()
        channel.close()
        await asyncio.to_thread(thread.join, PATIENCE_S)


@asynccontextmanager
async def writer(gate: Gate) -> AsyncIterator[GroupCommit]:
    """A writer that is held at the gate, with one fact in its hands."""
    async with opened(gate) as group:
        in_hand = group.submit(fact(queued(message_id="in hand")))
        await asyncio.to_thread(gate.reached.wait, PATIENCE_S)
        try:
            yield group
        finally:
            gate.open.set()
            await asyncio.wait([in_hand])
            in_hand.exception()


def many(count: int, text: str = "") -> list[Fact]:
    return facts(queued(message_id=f"msg_{number}", text=text) for number in range(count))


def test_what_is_answered_is_in_the_log(ledger: Ledger, gate: Gate) -> None:
    async def story() -> None:
        async with writer(gate) as group:
            answer = group.submit(fact(queued()))
            assert not answer.done()
            gate.open.set()

            assert await answer == Placed(Position(0, 2), 1, is_new=True)
            assert [place for place, _, _ in stored_facts(ledger)] == ["0-1", "0-2"]

    asyncio.run(story())


def test_deliveries_that_wait_together_share_a_transaction(gate: Gate) -> None:
    async def story() -> None:
        async with writer(gate) as group:
            answers = [group.submit(each) for each in many(100)]
            gate.open.set()
            await asyncio.gather(*answers)

        assert [len(batch) for batch in gate.batches] == [1, 100]

    asyncio.run(story())


def test_of_64_copies_at_once_one_is_new_and_63_find_it(ledger: Ledger, gate: Gate) -> None:
    async def story() -> None:
        async with writer(gate) as group:
            answers = [group.submit(fact(queued())) for _ in range(64)]
            gate.open.set()
            outcomes = [placed(outcome) for outcome in await asyncio.gather(*answers)]

        assert [outcome.is_new for outcome in outcomes] == [True] + [False] * 63
        assert {(outcome.position, outcome.version) for outcome in outcomes} == {(Position(0, 2), 1)}

    asyncio.run(story())
    assert len(stored_facts(ledger)) == 2


def test_a_caller_that_goes_away_cuts_nothing(ledger: Ledger, gate: Gate) -> None:
    async def story() -> None:
        async with writer(gate) as group:
            answers = [group.submit(each) for each in many(3)]
            answers[1].cancel()
            gate.open.set()

            assert placed(await answers[2]).position == Position(0, 4)

    asyncio.run(story())
    assert len(stored_facts(ledger)) == 4


def test_a_full_queue_is_refused_at_once_and_accepts_again_when_it_has_drained(ledger: Ledger, gate: Gate) -> None:
    async def story() -> None:
        async with writer(gate) as group:
            waiting = [group.submit(each) for each in many(QUEUE_ITEMS_MAX)]
            with pytest.raises(QueueFull, match=f"{QUEUE_ITEMS_MAX} items wait"):
                await group.submit(fact(queued()))
            gate.open.set()
            await asyncio.gather(*waiting)

            assert placed(await group.submit(fact(queued(message_id="later")))).is_new
        assert max(len(batch) for batch in gate.batches) == BATCH_ITEMS_MAX

    asyncio.run(story())
    assert len(stored_facts(ledger)) == QUEUE_ITEMS_MAX + 2


def test_the_queue_and_a_batch_are_bounded_in_bytes_too(gate: Gate) -> None:
    async def story() -> None:
        large = many(QUEUE_BYTES_MAX // 1_000_000 + 1, text="x" * 999_000)
        async with writer(gate) as group:
            waiting = [group.submit(each) for each in large[:-1]]
            with pytest.raises(QueueFull):
                await group.submit(large[-1])
            gate.open.set()
            await asyncio.gather(*waiting)

            assert placed(await group.submit(large[-1])).is_new

        largest = max(sum(size_of(item) for item in batch) for batch in gate.batches)
        assert BATCH_BYTES_MAX <= largest < BATCH_BYTES_MAX + size_of(large[0])

    asyncio.run(story())


def test_closing_commits_what_waits_and_takes_nothing_new(ledger: Ledger, gate: Gate) -> None:
    async def story() -> None:
        async with writer(gate) as group:
            waiting = [group.submit(each) for each in many(600)]
            closing = asyncio.create_task(group.close())
            await asyncio.sleep(0)
            with pytest.raises(ShuttingDown):
                await group.submit(fact(queued(message_id="too late")))
            gate.open.set()
            await closing

            assert all(placed(outcome).is_new for outcome in await asyncio.gather(*waiting))

    asyncio.run(story())
    assert len(stored_facts(ledger)) == 601


def test_nothing_that_was_taken_stays_unanswered_however_soon_the_writer_is_closed(ledger: Ledger) -> None:
    async def story(message_id: str) -> None:
        async with opened(ledger.commit) as group:
            answer = group.submit(fact(queued(message_id=message_id)))
        assert placed(await asyncio.wait_for(answer, PATIENCE_S)).is_new

    for number in range(50):
        asyncio.run(story(f"msg_{number}"))


@pytest.mark.parametrize("failure", [StoreUnavailable("the disk is full"), RuntimeError("a bug")])
def test_a_failing_commit_answers_try_again_to_all_and_the_writer_lives_on_and_says_when_it_works_again(
    ledger: Ledger, gate: Gate, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with writer(gate) as group:
            gate.failures.append(failure)
            first = [group.submit(each) for each in many(3)]
            gate.open.set()
            await asyncio.wait(first)
            # The first batch failed, so what was in hand is not stored; what waited behind it is.
            outcomes = await asyncio.gather(*first, return_exceptions=True)
            gate.failures.append(failure)
            failed = await asyncio.gather(*[group.submit(each) for each in many(3)], return_exceptions=True)

            assert [type(outcome) for outcome in outcomes] == [Placed] * 3
            assert [type(outcome) for outcome in failed] == [StoreUnavailable] * 3
            for message_id in ("afterwards", "and then"):
                assert placed(await group.submit(fact(queued(message_id=message_id)))).is_new

    asyncio.run(story())
    assert len(stored_facts(ledger)) == 5
    told = [each.getMessage() for each in caplog.records if each.name == "ledger.group_commit"]
    assert [message == "commits work again" for message in told] == [
        False,
        True,
    ]  # and what came right after it is a number in the next line


def test_a_commit_with_an_outcome_too_few_answers_try_again_to_all_and_the_queue_lives_on(ledger: Ledger) -> None:
    def commit(items: Sequence[Item]) -> list[Outcome]:
        return ledger.commit(items)[: 2 if len(items) == 3 else None]

    async def story() -> None:
        async with opened(commit) as group:
            failed = await asyncio.gather(*[group.submit(each) for each in many(3)], return_exceptions=True)
            found = await asyncio.gather(*[group.submit(each) for each in many(2)])

            assert [type(outcome) for outcome in failed] == [StoreUnavailable] * 3
            assert [placed(outcome).is_new for outcome in found] == [False, False]
            assert group.unanswered == 0

    asyncio.run(asyncio.wait_for(story(), PATIENCE_S))


def test_a_proof_is_the_next_commit_of_what_waits_or_of_nothing(ledger: Ledger, gate: Gate) -> None:
    async def story() -> None:
        async with writer(gate) as group:
            answer, proof = group.submit(fact(queued())), group.prove()
            gate.open.set()
            await asyncio.gather(answer, proof)
            await group.prove()
            gate.failures.append(StoreUnavailable("the disk is full"))
            with pytest.raises(StoreUnavailable, match="the disk is full"):
                await group.prove()

        assert [len(batch) for batch in gate.batches] == [1, 1, 0, 0]

    asyncio.run(story())
    assert len(stored_facts(ledger)) == 2


def test_a_commit_of_nothing_does_not_say_that_commits_work_again(
    ledger: Ledger, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with writer(gate) as group:
            gate.failures.append(StoreUnavailable("the disk is full"))
            gate.open.set()  # what is in hand fails
            await group.prove()
            assert [each.message for each in caplog.records if "again" in each.message] == []
            await group.submit(fact(queued()))

    asyncio.run(story())
    assert [each.message for each in caplog.records if "again" in each.message] == ["commits work again"]


def test_no_proof_is_begun_once_it_closes(ledger: Ledger) -> None:
    async def story() -> None:
        async with opened(ledger.commit) as group:
            pass
        with pytest.raises(ShuttingDown):
            await group.prove()

    asyncio.run(asyncio.wait_for(story(), PATIENCE_S))


def test_whatever_follows_a_commit_fails_for_itself_alone(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    async def commit(items: Sequence[Item]) -> Sequence[Outcome]:
        return ledger.commit(items)

    def on_commit() -> None:
        raise RuntimeError("a bug")

    async def story() -> None:
        group = GroupCommit(commit, on_commit=on_commit)
        for message_id in ("msg_1", "msg_2"):
            answer, proof = group.submit(fact(queued(message_id=message_id))), group.prove()
            assert placed(await answer).is_new
            await proof
        await group.close()

    asyncio.run(asyncio.wait_for(story(), PATIENCE_S))
    told = [each.getMessage() for each in caplog.records if each.name == "ledger.group_commit"]
    assert told == ["what follows a commit failed; the queue goes on"] * 2


def test_who_follows_the_log_is_told_of_what_became_durable_and_of_nothing_else(ledger: Ledger) -> None:
    fails, told = False, list[str]()

    async def commit(items: Sequence[Item]) -> Sequence[Outcome]:
        if fails:
            raise StoreUnavailable("no room")
        return ledger.commit(items) if items else []

    async def story() -> None:
        nonlocal fails
        group = GroupCommit(commit, on_commit=lambda: told.append("a commit"))
        await group.prove()
        assert told == []
        assert placed(await group.submit(fact(queued()))).is_new
        fails = True
        with pytest.raises(StoreUnavailable):
            await group.submit(fact(queued(2)))
        await group.close()

    asyncio.run(asyncio.wait_for(story(), PATIENCE_S))
    assert told == ["a commit"]


def test_what_is_not_answered_in_time_is_not_known_and_its_late_answer_is_nobody_else_s(
    ledger: Ledger, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.commit_channel.LOOK_EVERY_S", 0.01)

    async def story() -> None:
        async with opened(gate) as group:
            with pytest.raises(StoreUnavailable, match="does not answer; it is not known whether this was stored"):
                await group.submit(fact(queued(message_id="unanswered")))
            with pytest.raises(
                StoreUnavailable, match="has not answered an earlier batch yet; nothing was stored of this"
            ):
                await group.submit(fact(queued(message_id="refused")))
            gate.open.set()
            monkeypatch.setattr("ledger.commit_channel.LOOK_EVERY_S", 1.0)

            async def once_it_goes_on(message_id: str) -> Outcome:
                while True:
                    with suppress(StoreUnavailable):
                        return await group.submit(fact(queued(message_id=message_id)))
                    await asyncio.sleep(0)

            refused = await once_it_goes_on("refused")
            unanswered = await group.submit(fact(queued(message_id="unanswered")))
            assert refused == Placed(Position(0, 2), 1, is_new=True)
            assert unanswered == Placed(Position(0, 1), 1, is_new=False)

    asyncio.run(story())
    assert len(stored_facts(ledger)) == 2


def test_who_commits_slowly_all_the_time_is_not_taken_for_one_who_stands_still(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, look = Semaphore(0), CommitChannel._look  # noqa: SLF001 - each commit takes until the next look

    def look_and_tell(channel: CommitChannel, seen: asyncio.Future[bytes], looks: int) -> None:
        look(channel, seen, looks)
        looked.release()

    def slowly(items: Sequence[Item]) -> list[Outcome]:
        assert looked.acquire(timeout=PATIENCE_S)
        return ledger.commit(items)

    monkeypatch.setattr("ledger.commit_channel.LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(CommitChannel, "_look", look_and_tell)

    async def story() -> None:
        async with opened(slowly) as group:
            for each in many(2 * LOOKS_MAX):
                assert placed(await group.submit(each)).is_new

    asyncio.run(story())


def test_a_batch_that_is_cut_off_is_not_committed() -> None:
    committed: list[Sequence[Item]] = []

    def commit(items: Sequence[Item]) -> list[Outcome]:
        committed.append(items)
        return []

    end, other_end = socket.socketpair()
    with end:
        end.sendall((100).to_bytes(LENGTH_BYTES, "big") + b"\x91")
    commit_for(other_end, commit, on_commit=lambda: None)

    assert committed == []


def test_once_who_commits_has_ended_nobody_waits_for_it() -> None:
    async def story() -> None:
        end, other_end = socket.socketpair()
        channel = CommitChannel(end)
        other_end.close()
        with pytest.raises(StoreUnavailable, match="who commits has ended"):
            await channel.commit([fact(queued())])  # which finds that out
        with pytest.raises(StoreUnavailable, match="who commits has ended; nothing was stored"):
            await channel.commit([fact(queued())])
        channel.close()

    asyncio.run(asyncio.wait_for(story(), PATIENCE_S))


def test_unreadable_deliveries_wait_in_the_same_queue(gate: Gate) -> None:
    async def story() -> Outcome:
        unreadable = Reception(None, 1).receive([], b"not JSON", now_us=NOW_US)
        assert isinstance(unreadable, UnreadableDelivery)
        async with writer(gate) as group:
            answers = [group.submit(each) for each in (fact(queued()), unreadable, fact(queued()))]
            gate.open.set()
            first, kept, again = await asyncio.gather(*answers)

        assert (placed(first).is_new, placed(again).is_new) == (True, False)
        return kept

    kept = asyncio.run(story())
    assert kept == Quarantined(
        unreadable_id(b"not JSON"), "the body is not JSON: expecting value at character 0", is_new=True
    )


def unreadable_id(body: bytes) -> str:
    unreadable = Reception(None, 1).receive([], body, now_us=NOW_US)
    assert isinstance(unreadable, UnreadableDelivery)
    return unreadable.quarantine_id.hex()
