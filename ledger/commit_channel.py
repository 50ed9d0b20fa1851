"""The way from the event loop to who commits, and back: batches and their outcomes as frames on a pair of sockets.

At the other end is a thread of this process, or a process of its own (`api/serving/writer_process.py`), which does not share Python's
lock with the event loop. Either has one batch of a channel in hand at a time, so an answer belongs to the batch before it.
Nobody waits for it without end: who commits may be stopped, or have a disk that does not come back.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from ledger import errors
from ledger.errors import LedgerError, StoreUnavailable
from ledger.facts import Item, Outcome

LENGTH_BYTES = 4

LOOK_EVERY_S = 1.0
LOOKS_MAX = 12
"""More seconds than who commits waits for a lock (10), so that it can say itself what is wrong, unless it waits for several in turn.
Looks are counted, and no time is measured, because after a machine was frozen nobody has had the time to answer."""

NOT_KNOWN = "it is not known whether this was stored, send it again"

logger = logging.getLogger(__name__)


class Refused(msgspec.Struct, frozen=True):
    """Why a batch was not committed: the name of an error of `ledger/errors.py`, and its message."""

    kind: str
    message: str


_encoder = msgspec.msgpack.Encoder()
_batches = msgspec.msgpack.Decoder(list[Item])
_answers = msgspec.msgpack.Decoder(list[Outcome] | Refused)


class CommitChannel(asyncio.Protocol):
    """The event loop's end. After a batch that was not answered in time it takes nothing until that answer has come."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = b""
        # There from a batch to its answer, even where nobody waits for it any more.
        self._answer: asyncio.Future[bytes] | None = None
        self._next_look: asyncio.TimerHandle | None = None

    async def commit(self, items: Sequence[Item]) -> list[Outcome]:
        """The outcomes of a batch, once it is on disk; StoreUnavailable where it is not, or nobody can tell."""
        if self._transport is None:
            self._transport, _ = await self._loop.create_unix_connection(lambda: self, sock=self._end)
        if self._transport.is_closing():
            raise StoreUnavailable("who commits has ended; nothing was stored, send it again")
        if self._answer is not None:
            nothing = "; nothing was stored of this, send it again" if items else ""
            raise StoreUnavailable(f"who commits has not answered an earlier batch yet{nothing}")
        self._answer = answer = self._loop.create_future()
        self._transport.write(_frame(items))
        if self._next_look is None:
            self._next_look = self._loop.call_later(LOOK_EVERY_S, self._look, answer, 0)
        return _outcomes(await answer)

    def close(self) -> None:
        """Tells the other end that nothing more comes."""
        if self._transport is None:
            self._end.close()
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """A piece of an answer; called by asyncio."""
        self._received += data
        end = LENGTH_BYTES + int.from_bytes(self._received[:LENGTH_BYTES], "big")
        if len(self._received) < end:
            return
        content, self._received = self._received[LENGTH_BYTES:end], b""
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(content)

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone, or ours is closed; called by asyncio."""
        del exc
        self._give_up("who commits has ended")

    def _look(self, seen: asyncio.Future[bytes], looks: int) -> None:
        self._next_look = None
        if self._answer is None or self._answer.done():
            return  # the next batch begins to look again: a timer a second at most, and none a batch
        looks = looks + 1 if self._answer is seen else 0
        if looks == LOOKS_MAX:
            self._give_up("who commits does not answer")
        else:
            self._next_look = self._loop.call_later(LOOK_EVERY_S, self._look, self._answer, looks)

    def _give_up(self, why: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(StoreUnavailable(f"{why}; {NOT_KNOWN}"))


def commit_for(
    end: socket.socket,
    commit: Callable[[Sequence[Item]], list[Outcome]],
    *,
    on_commit: Callable[[], None],
) -> None:
    """Commits what comes through a channel until its other end is closed, and calls `on_commit` after each answer. Blocks."""
    with end, end.makefile("rb") as frames, suppress(ConnectionError):
        while True:
            length = int.from_bytes(frames.read(LENGTH_BYTES), "big")
            content = frames.read(length)
            if len(content) < max(length, 1):
                return
            end.sendall(_frame(_outcome(commit, _batches.decode(content))))
            on_commit()


def _outcome(commit: Callable[[Sequence[Item]], list[Outcome]], items: Sequence[Item]) -> list[Outcome] | Refused:
    try:
        return commit(items)
    except LedgerError as error:
        return Refused(type(error).__name__, str(error))
    except Exception as error:  # who commits must outlive whatever happens to one batch
        logger.exception("a commit of %d items failed unexpectedly", len(items))
        return Refused(StoreUnavailable.__name__, f"the commit failed: {type(error).__name__}")


def _frame(content: Sequence[Item] | Sequence[Outcome] | Refused) -> bytes:
    """What is sent: the length of the content, and the content."""
    encoded = _encoder.encode(content)
    return len(encoded).to_bytes(LENGTH_BYTES, "big") + encoded


def _outcomes(content: bytes) -> list[Outcome]:
    """What the content of an answer tells: the outcomes, or why there are none, as the LedgerError that it was there."""
    answer: list[Outcome] | Refused = _answers.decode(content)
    if isinstance(answer, Refused):
        raise getattr(errors, answer.kind)(answer.message)
    return answer
