"""What a reader of the log gets: an event at its place with what it did to its message, or the place of one that cannot be read."""

from collections.abc import Iterable
from typing import NamedTuple

from ledger.errors import UnreadableEvent
from ledger.events import MessageEvent
from ledger.positions import Position
from ledger.provider import Effect

WHY_UNREADABLE = "a newer version wrote it (upgrade), or its row is damaged (ledger verify)"


class LogEntry(NamedTuple):
    """One event at its place in the log, with what it did to its message."""

    position: Position
    version: int
    event: MessageEvent
    effect: Effect
    hash: bytes


class UnreadableEntry(NamedTuple):
    """The place of an event that this version cannot read: a newer one wrote it, or its row is damaged.

    Its message is known where an earlier event tells it. Effects of later events of the message are as if there were no such event.
    """

    position: Position
    version: int
    message_id: str | None
    topic: str
    reason: str
    hash: bytes

    @property
    def effect(self) -> Effect:
        """In the place of what it did to its message, which this version cannot know."""
        return Effect.UNREADABLE


Entry = LogEntry | UnreadableEntry


def readable(entries: Iterable[Entry]) -> list[LogEntry]:
    """The same entries, where each can be read: for who must know all of them. UnreadableEvent names the first that cannot be."""
    found: list[LogEntry] = []
    for entry in entries:
        if isinstance(entry, UnreadableEntry):
            raise UnreadableEvent(f"the event at {entry.position} cannot be read: {entry.reason}; {WHY_UNREADABLE}")
        found.append(entry)
    return found
