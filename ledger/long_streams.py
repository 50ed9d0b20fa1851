"""Long streams, folded once: what their events did is remembered, so that a page of them needs not read all that came before.

An event is known by its hash, which covers everything before it in its partition. So what is remembered holds for one past
alone: events that a restored log has in the place of others are not known here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

import msgspec

from ledger.errors import UnreadableEvent
from ledger.events import MessageEvent
from ledger.message import Fold
from ledger.provider import Effect
from ledger.store.log import LogRow

LONG_EVENTS_MIN = 64
"""Fewer earlier events of a stream are read again for each page."""
REMEMBERED_BYTES_MAX = 32 * 1024 * 1024
"""For all streams but those that are read at this moment; one with more than some 100,000 events has no room in it."""

EFFECT_BYTES, CLAIM_BYTES, STREAM_BYTES = 150, 150, 2_000
"""About what is taken by an event that is remembered, by a sequence of a message in the making, and by the rest of that."""

ReadRow = tuple[LogRow, MessageEvent | UnreadableEvent]
"""A row of the log and its event, or why that cannot be read."""


class LongStream:
    """What each event of a stream did, up to a version. Whoever holds `lock` may use it."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.held_bytes = 0
        self.forget()

    def forget(self) -> None:
        """Begins before the first event."""
        self.version, self.hash = 0, b""
        self._fold = Fold()
        self._told_from = 0
        self._effects: dict[bytes, Effect] = {}

    def agrees(self, rows: Sequence[ReadRow]) -> bool:
        """Whether it knows all of these rows that it should."""
        known = [(self._effects.get(row.hash), event) for row, event in rows if row.version <= self.version]
        return all(
            effect is not None and (effect is Effect.UNREADABLE) == isinstance(event, UnreadableEvent)
            for effect, event in known
        )

    def take(self, row: LogRow, event: MessageEvent | UnreadableEvent) -> Effect:
        """What an event did: one that is known, or the next."""
        known = self._effects.get(row.hash)
        if known is not None:
            return known
        if isinstance(event, UnreadableEvent):
            effect = Effect.UNREADABLE
        else:
            effect = self._fold.add(event)
            self._told_from = self._told_from or row.version
        self._effects[row.hash] = effect
        self.version, self.hash = row.version, row.hash
        return effect

    def message_id_before(self, version: int) -> str | None:
        """The message's id, where an event before this version tells it."""
        return self._fold.message_id if 0 < self._told_from < version else None

    def weigh(self) -> int:
        """About how many bytes it takes."""
        fold = self._fold
        texts = (fold.external_reference, fold.provider_message_ref, fold.failure_body, fold.acceptance, fold.inbound)
        sequences = len(fold.claims) + len(fold.filled) + len(fold.conflicting)
        events = EFFECT_BYTES * len(self._effects) + CLAIM_BYTES * sequences
        return STREAM_BYTES + events + len(msgspec.msgpack.encode(texts))


class LongStreams:
    """The long streams that were read last, as many as have room. Thread-safe."""

    def __init__(self, bytes_max: int = REMEMBERED_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._lock = Lock()
        self._streams: dict[bytes, LongStream] = {}
        self.held_bytes = 0

    @contextmanager
    def reading(self, stream: bytes) -> Iterator[LongStream]:
        """A stream for one reader at a time: those who read the same one at once fold it once. One at a time, too, for a reader."""
        with self._lock:
            found = self._streams.pop(stream, None) or LongStream()
            self._streams[stream] = found  # behind all others, as it is the last that was read
        with found.lock:
            try:
                yield found
            except BaseException:
                found.forget()  # it may have taken half an event
                raise
            finally:
                self._remember(stream, found)

    def _remember(self, stream: bytes, read: LongStream) -> None:
        size = read.weigh()
        with self._lock:
            if self._streams.get(stream) is not read:
                return  # forgotten meanwhile
            self.held_bytes += size - read.held_bytes
            read.held_bytes = size
            if size > self._bytes_max:
                self._drop(stream)
            while self.held_bytes > self._bytes_max:
                self._drop(next(iter(self._streams)))

    def _drop(self, stream: bytes) -> None:
        self.held_bytes -= self._streams.pop(stream).held_bytes
