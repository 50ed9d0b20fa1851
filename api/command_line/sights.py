"""What a demonstration points at: real messages of the ledger at hand, found by reading the feed once."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from ledger.ledger import Ledger
from ledger.log_entries import LogEntry, readable
from ledger.message import Message, evolve
from ledger.positions import Cursor
from ledger.provider import Direction, Effect, Status

PAGE_EVENTS = 1_000

_PLAIN = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sights:
    """Outbound messages by status, inbound conversations and their messages, and one example of each (None: there is none).

    `failed` is preferably a message whose webhooks came out of order; `conversation` is the longest one.
    """

    outbound: Counter[Status]
    conversations: Counter[str]
    failed: str | None
    conversation: str | None


def sights(ledger: Ledger) -> Sights:
    """What there is to see. Only ids that need no quoting in a shell or a URL are pointed at."""
    messages: dict[str, Message] = {}
    disordered: set[str] = set()
    for entry in _entries(ledger):
        message_id = entry.event.message_id
        messages[message_id] = evolve(messages.get(message_id, Message()), entry.event)
        if entry.effect is Effect.SUPERSEDED:
            disordered.add(message_id)
    conversations = Counter(
        message.inbound.conversation_id
        for message in messages.values()
        if message.inbound is not None and message.inbound.conversation_id is not None
    )
    failed = [each for each, message in messages.items() if message.status is Status.FAILED and _PLAIN.fullmatch(each)]
    return Sights(
        outbound=Counter(each.status for each in messages.values() if each.direction is Direction.OUTBOUND),
        conversations=conversations,
        failed=next((each for each in failed if each in disordered), failed[0] if failed else None),
        conversation=next((each for each, _ in conversations.most_common() if _PLAIN.fullmatch(each)), None),
    )


def _entries(ledger: Ledger) -> Iterator[LogEntry]:
    cursor = Cursor.start(ledger.partitions)
    page, cursor = ledger.feed(cursor, PAGE_EVENTS)
    while page:
        yield from readable(page)
        page, cursor = ledger.feed(cursor, PAGE_EVENTS)
