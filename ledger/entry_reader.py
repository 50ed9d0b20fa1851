"""Rows of the log as a reader gets them: each with its event, and with what that did to its message.

What an event did is decided by those before it in its stream, which are read as well, or remembered where they are many.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection

from ledger.errors import UnreadableEvent
from ledger.events import MessageEvent
from ledger.log_entries import Entry, LogEntry, UnreadableEntry
from ledger.long_streams import LONG_EVENTS_MIN, LongStreams
from ledger.mapper import EventCodec
from ledger.message import Fold
from ledger.positions import Position
from ledger.provider import Effect
from ledger.store import reads
from ledger.store.log import LogRow

UNREADABLE_KNOWN_MAX = 1_000

logger = logging.getLogger(__name__)


class EntryReader:
    """Makes entries of rows. Every method may be called from any thread."""

    def __init__(self, codec: EventCodec) -> None:
        self.unreadable: set[Position] = set()
        """Where it has met an event that this version cannot read, up to a thousand places."""
        self._codec = codec
        self._long_streams = LongStreams()

    def entries(self, connection: Connection, rows: Sequence[LogRow]) -> list[Entry]:
        """Rows of a partition in the order of the log as entries, each with its effect, whatever came before it in its stream."""
        begins = {row.stream_id: row.version for row in reversed(rows)}
        long: dict[bytes, list[LogRow]] = {each: [] for each, version in begins.items() if version > LONG_EVENTS_MIN}
        short = {each: version for each, version in begins.items() if 1 < version <= LONG_EVENTS_MIN}
        folds: dict[bytes, Fold] = {}
        for row in _before(connection, rows[0], short):
            self.entry(row, folds)
        if not long:
            return [self.entry(row, folds) for row in rows]
        for row in rows:
            if row.stream_id in long:
                long[row.stream_id].append(row)
        known = {
            each.position.number: each for some in long.values() for each in self._entries_of_long(connection, some)
        }
        return [known.get(row.position) or self.entry(row, folds) for row in rows]

    def _entries_of_long(self, connection: Connection, rows: Sequence[LogRow]) -> list[Entry]:
        """Rows of one long stream as entries, from where it is known on, or else from its beginning."""
        partition, stream, begins = rows[0].partition, rows[0].stream_id, rows[0].version
        read = [(row, self._event(row)) for row in rows]
        with self._long_streams.reading(stream) as known:
            if 0 < known.version < begins:
                is_ours = known.hash == reads.hash_of(connection, partition, stream, known.version)
            else:
                is_ours = known.agrees(read)
            if not is_ours:
                known.forget()
            for row in reads.between(connection, partition, stream, known.version, begins):
                known.take(row, self._event(row))
            return [
                _entry_of(row, event, known.take(row, event), known.message_id_before(row.version))
                for row, event in read
            ]

    def entry(self, row: LogRow, folds: dict[bytes, Fold]) -> Entry:
        """The next row of a stream as an entry; `folds` has what came before it, by stream."""
        folded, event = _fold_of(row, folds), self._event(row)
        message_id = folded.message_id or None
        effect = Effect.UNREADABLE if isinstance(event, UnreadableEvent) else folded.add(event)
        return _entry_of(row, event, effect, message_id)

    def _event(self, row: LogRow) -> MessageEvent | UnreadableEvent:
        """The event of a row, or why it cannot be read, which the operator is told as well."""
        try:
            return self._codec.decode(row.topic, row.state)
        except UnreadableEvent as error:
            self._tell_unreadable(Position(row.partition, row.position), str(error))
            return error

    def _tell_unreadable(self, position: Position, reason: str) -> None:
        """Tells the operator once of each place."""
        if position not in self.unreadable and len(self.unreadable) < UNREADABLE_KNOWN_MAX:
            self.unreadable.add(position)
            logger.error("the event at %s cannot be read, and is shown as unreadable: %s", position, reason)


def _fold_of(row: LogRow, folds: dict[bytes, Fold]) -> Fold:
    """The fold that a row's event belongs to, begun where there is none yet."""
    stream = bytes(row.stream_id)
    if stream not in folds:
        folds[stream] = Fold()
    return folds[stream]


def _before(connection: Connection, first: LogRow, begins: Mapping[bytes, int]) -> Iterator[LogRow]:
    """What came in streams before the version at which each begins in a page, of which `first` is the first row."""
    match list(begins.items()):
        case [(stream, version)]:  # without SQLAlchemy, which would cost as much as such a page of a history
            return reads.between(connection, first.partition, stream, 0, version)
        case _:
            return reads.events_of_streams(connection, first.partition, list(begins), before=first.position)


def _entry_of(row: LogRow, event: MessageEvent | UnreadableEvent, effect: Effect, message_id: str | None) -> Entry:
    """A row as an entry; the message's id is that of the events before it."""
    position = Position(row.partition, row.position)
    if isinstance(event, UnreadableEvent):
        return UnreadableEntry(position, row.version, message_id, row.topic, str(event), bytes(row.hash))
    return LogEntry(position, row.version, event, effect, bytes(row.hash))
