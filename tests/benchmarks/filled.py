"""Ledgers with a past: lifecycles of messages, and what customers write, as if they had come by HTTP one a millisecond.

The past of more events begins with the past of fewer: a ledger that was filled can be filled further.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, count

from ledger.facts import Item
from ledger.ledger import Ledger
from ledger.reception import Reception
from tests.benchmarks.filling import made_ahead, store
from tests.benchmarks.prepared import LIFECYCLE, SPREAD, body, message_id, receipt

BATCH = 64
"""As many as a busy server commits at once."""

BEGAN_US = 1_763_913_600_000_000
EACH_US = 1_000
INBOUND_EACH = 10
"""Of so many blocks of messages one is inbound."""

MESSAGES_A_CONVERSATION = 40
BLOCK_EVENTS = len(LIFECYCLE) * SPREAD + SPREAD // INBOUND_EACH


def past() -> Iterator[bytes]:
    """Bodies without end: outbound lifecycles, and an inbound message for every hundredth fact or so."""
    return chain.from_iterable(map(_bodies, count()))


def inbound(number: int) -> bytes:
    """An inbound message of a conversation of many."""
    conversation = number // MESSAGES_A_CONVERSATION
    text = (
        f'{{"eventType":"message.inbound","messageId":"in_{message_id(number)[4:]}","conversationId":"conv_{conversation}",'
        f'"numberId":"num_1","from":"+1555{conversation:07}","to":"+15550000000","body":"Is it on its way? ({number})"}}'
    )
    return text.encode()


def facts(block: int) -> list[Item]:
    """One block of the past, received: all that happens before a commit."""
    reception = Reception(None, 1)
    numbered = enumerate(_bodies(block), block * BLOCK_EVENTS)
    return [reception.read(receipt(content, BEGAN_US + EACH_US * number)) for number, content in numbered]


def facts_between(first: int, end: int) -> Iterator[list[Item]]:
    """Facts by number, from the first to before the end, block by block."""
    blocks = range(first // BLOCK_EVENTS, -(-end // BLOCK_EVENTS))
    for block, made in zip(blocks, made_ahead(facts, blocks), strict=True):
        before = block * BLOCK_EVENTS
        yield made[max(first - before, 0) : end - before]


def fill(urls: Sequence[str], events: int, *, batch: int | None = None) -> None:
    """Makes ledgers of so many events, or goes on until they have as many; and their read models.

    The facts are made once for all of them, so they must be equally full. `batch`: facts a commit (default: a block).
    """
    (held,) = {_events_of(url) for url in urls}
    store(urls, facts_between(held, events), batch=batch)


def _bodies(block: int) -> Iterator[bytes]:
    first = block * SPREAD
    for step in range(len(LIFECYCLE)):
        yield from (body(message, step) for message in range(first, first + SPREAD))
    yield from (inbound(number) for number in range(first // INBOUND_EACH, (first + SPREAD) // INBOUND_EACH))


def _events_of(url: str) -> int:
    with Ledger.open(url, partitions=1) as ledger:
        return sum(head.position for head in ledger.heads())
