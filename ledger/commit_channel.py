"""The way from the event loop to who commits, and back: batches and their outcomes as frames on a pair of sockets.

At the other end is a thread of this process, or a process of its own (`api/writer_process.py`), which does not share Python's
lock with the event loop. Either has one batch of a channel in hand at a time, so an answer belongs to the batch before it.
Nobody waits for it without end: who commits may be stopped, or have a disk that does not come back.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

import msgspec

from ledger import errors
from ledger.errors import LedgerError, StoreUnavailable
from ledger.facts import Item, Outcome

LENGTH_BYTES = 4

LOOK_EVERY_S = 1.0
LOOKS_MAX = 12
"""More seconds than who commits waits for a lock (10), so that it can say itself what is wrong. Looks are counted, and no time is
measured, because after a machine was frozen nobody has had the time to answer."""

NOT_KNOWN = "it is not known whether this was stored, send it again"

Brought = TypeVar("Brought")
Told = TypeVar("Told")

log = logging.getLogger(__name__)


class Refused(msgspec.Struct, frozen=True):
    """Why a batch was not committed: the name of an error of `ledger/errors.py`, and its message."""

    kind: str
    message: str


class Language(Generic[Brought, Told]):
    """How batches of one sort of item, and their outcomes, are written on the wire."""

    def __init__(self, brought: Any, told: Any) -> None:  # noqa: ANN401 - unions are no types to a type checker
        self._encoder = msgspec.msgpack.Encoder()
        self._batches = msgspec.msgpack.Decoder(list[brought])
        self._answers = msgspec.msgpack.Decoder(list[told] | Refused)

    def frame(self, content: Sequence[Brought] | Sequence[Told] | Refused) -> bytes:
        """What is sent: the length of the content, and the content."""
        encoded = self._encoder.encode(content)
        return len(encoded).to_bytes(LENGTH_BYTES, "big") + encoded

    def batch(self, content: bytes) -> list[Brought]:
        """The items of a frame."""
        items: list[Brought] = self._batches.decode(content)
        return items

    def outcomes(self, content: bytes) -> list[Told]:
        """The outcomes of a frame, or the LedgerError that it tells of."""
        answer: list[Told] | Refused = self._answers.decode(content)
        if isinstance(answer, Refused):
            raise getattr(errors, answer.kind)(answer.message)
        return answer


ITEMS: Language[Item, Outcome] = Language(Item, Outcome)


class CommitChannel(asyncio.Protocol, Generic[Brought, Told]):
    """The event loop's end. After a batch that was not answered in time it takes nothing until that answer has come."""

    def __init__(self, language: Language[Brought, Told], end: socket.socket) -> None:
        self._language = language
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = b""
        # There from a batch to its answer, even where nobody waits for it any more.
        self._answer: asyncio.Future[bytes] | None = None
        self._next_look: asyncio.TimerHandle | None = None

    async def commit(self, items: Sequence[Brought]) -> list[Told]:
        """The outcomes of a batch, once it is on disk; StoreUnavailable where it is not, or nobody can tell."""
        if self._transport is None:
            self._transport, _ = await self._loop.create_unix_connection(lambda: self, sock=self._end)
        if self._transport.is_closing():
            raise StoreUnavailable("who commits has ended; nothing was stored, send it again")
        if self._answer is not None:
            raise StoreUnavailable("who commits owes an earlier answer; nothing was stored, send it again")
        self._answer = answer = self._loop.create_future()
        self._transport.write(self._language.frame(items))
        if self._next_look is None:
            self._next_look = self._loop.call_later(LOOK_EVERY_S, self._look, answer, 0)
        return self._language.outcomes(await answer)

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
    language: Language[Brought, Told],
    commit: Callable[[Sequence[Brought]], list[Told]],
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
            end.sendall(language.frame(_outcome(commit, language.batch(content))))
            on_commit()


def _outcome(commit: Callable[[Sequence[Brought]], list[Told]], items: Sequence[Brought]) -> list[Told] | Refused:
    try:
        return commit(items)
    except LedgerError as error:
        return Refused(type(error).__name__, str(error))
    except Exception as error:  # who commits must outlive whatever happens to one batch
        log.exception("a commit of %d items failed unexpectedly", len(items))
        return Refused(StoreUnavailable.__name__, f"the commit failed: {type(error).__name__}")
