"""Between steps 2 and 9 on a webhook's way: what one commit takes in, and what it answers.

Three things are made durable: facts (events for the log), authentic deliveries that nobody can read yet, and sends, the
register of idempotency keys. Pure values, tagged for their way to who commits (`ledger/commit_channel.py`); the store decides
under its lock what is new.
"""

import msgspec

from ledger.events import MessageEvent, Receipt, stream_key
from ledger.mapper import EventCodec
from ledger.positions import Position


class Fact(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An event on its way into the log: everything that is stored of it except its place, which only the lock decides."""

    message_id: str
    partition: int
    stream: bytes
    topic: str
    fact_key: bytes
    state: bytes
    late: bool = False


class UnreadableDelivery(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An authentic body that is not readable as a webhook, kept until a version of ours can read it."""

    quarantine_id: bytes
    partition: int
    reason: str
    receipt: Receipt

    @property
    def late(self) -> bool:
        """Whether it was signed outside the replay window."""
        return self.receipt.late


class Send(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A request acceptance under its idempotency key; `digest` (32 bytes) tells the same content from other content."""

    partition: int
    send_id: bytes
    digest: bytes
    body: bytes
    recorded_at_us: int


Item = Fact | UnreadableDelivery | Send


class Placed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Where a fact stands in the log, and whether this delivery put it there or found it."""

    position: Position
    version: int
    is_new: bool


class Quarantined(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Where an unreadable delivery is kept, and whether it was already there."""

    quarantine_id: str
    reason: str
    is_new: bool


class Registered(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Whether an idempotency key is new, and whether it was registered with this same content."""

    is_new: bool
    is_same: bool


Outcome = Placed | Quarantined | Registered


def partition_of(stream: bytes, partitions: int) -> int:
    """The partition of a stream: decided by its id (16 bytes) for as long as the ledger lives."""
    return int.from_bytes(stream[:4], "big") % partitions


def home_of(item: Item, partitions: int) -> int:
    """The partition that an item belongs to in a ledger of so many."""
    match item:
        case Fact():
            return partition_of(item.stream, partitions)
        case Send():
            return partition_of(item.send_id, partitions)
        case UnreadableDelivery():
            return quarantine_partition(item.quarantine_id, partitions)


def quarantine_partition(quarantine_id: bytes, partitions: int) -> int:
    """The partition where an unreadable delivery is kept."""
    return quarantine_id[0] % partitions


def fact_of(event: MessageEvent, fact_key: bytes, codec: EventCodec, partitions: int) -> Fact:
    """The fact that an event is."""
    stream = stream_key(event.message_id)
    return Fact(
        message_id=event.message_id,
        partition=partition_of(stream, partitions),
        stream=stream,
        topic=event.TOPIC,
        fact_key=fact_key,
        state=codec.encode(event),
        late=event.receipt.late,
    )
