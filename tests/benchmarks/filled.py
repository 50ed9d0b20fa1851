"""Ledgers with a past: facts committed directly, in the batches that a busy server makes, as if they had come by HTTP."""

from collections.abc import Iterator
from itertools import islice

from api.simulator.signing import signed_headers
from ledger.facts import Item
from ledger.ledger import Ledger
from ledger.reception import Reception
from ledger.signatures import Secret
from projections.read_models import ReadModels
from tests.benchmarks.prepared import LIFECYCLE, SECRET, SECRET_ID, SPREAD, body, message_id

BATCH = 64
BIG_BATCH = 512
BEGAN_US = 1_763_913_600_000_000
INBOUND_EACH = 10
"""Of so many blocks of messages one is inbound."""

MESSAGES_A_CONVERSATION = 40


def past() -> Iterator[bytes]:
    """Bodies without end: outbound lifecycles, and an inbound message for every hundredth fact or so."""
    first = 0
    while True:
        for step in range(len(LIFECYCLE)):
            yield from (body(message, step) for message in range(first, first + SPREAD))
        yield from (inbound(number) for number in range(first // INBOUND_EACH, (first + SPREAD) // INBOUND_EACH))
        first += SPREAD


def inbound(number: int) -> bytes:
    """An inbound message of a conversation of many."""
    conversation = number // MESSAGES_A_CONVERSATION
    text = (
        f'{{"eventType":"message.inbound","messageId":"in_{message_id(number)[4:]}","conversationId":"conv_{conversation}",'
        f'"numberId":"num_1","from":"+1555{conversation:07}","to":"+15550000000","body":"Is it on its way? ({number})"}}'
    )
    return text.encode()


def events_of(bodies: Iterator[bytes], partitions: int) -> Iterator[Item]:
    """Signed and received: all that happens before a commit."""
    reception = Reception((Secret(SECRET_ID, SECRET),), partitions)
    for number, content in enumerate(bodies):
        now_us = BEGAN_US + 1_000 * number
        headers = [(name.lower(), value) for name, value in signed_headers(SECRET, str(now_us // 1_000_000), content)]
        yield reception.receive(headers, content, now_us=now_us)


def fill(url: str, events: int, *, batch: int = BIG_BATCH, partitions: int = 1) -> None:
    """Makes a ledger of so many events, and its read models."""
    with Ledger.open(url, partitions=partitions) as ledger:
        made = islice(events_of(past(), partitions), events)
        waiting: dict[int, list[Item]] = {}
        for item in made:
            some = waiting.setdefault(item.partition, [])
            some.append(item)
            if len(some) == batch:
                ledger.commit(waiting.pop(item.partition))
        for some in waiting.values():
            ledger.commit(some)
        ledger.database.tidy()
        with ReadModels.open(ledger) as read_models:
            read_models.catch_up()
