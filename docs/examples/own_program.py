"""The ledger as a library: a program of one's own that takes webhooks in by its own means, and asks the log.

There is no HTTP here: perhaps the webhooks come through a queue of your cloud's. `tests/docs/test_examples.py` runs it.
"""

import sys
import time
from collections.abc import Sequence

from ledger.facts import Placed
from ledger.ledger import Ledger
from ledger.message import Message
from ledger.positions import Cursor
from ledger.reception import Reception
from ledger.signatures import Secret

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case: b"x-redcloud-timestamp" and b"x-redcloud-signature" are needed."""


def take_in(ledger: Ledger, secret: bytes, deliveries: Sequence[tuple[Headers, bytes]]) -> int:
    """Verifies, reads and durably records deliveries; how many were new. SignatureRefused for one that is not genuine."""
    reception = Reception([Secret("main", secret)], ledger.partitions, codec=ledger.codec)
    new = 0
    for headers, body in deliveries:
        item = reception.receive(headers, body, now_us=time.time_ns() // 1000)
        (outcome,) = ledger.commit([item])  # on disk, or StoreUnavailable: only now may it be acknowledged
        new += isinstance(outcome, Placed) and outcome.is_new
    return new


def told(message: Message) -> str:
    """A message in one line."""
    return f"{message.message_id}: {message.status.value} after {message.event_count} events"


def main(database_url: str) -> None:
    """Prints what became of every message, in the order in which they were first heard of."""
    with Ledger.open(database_url) as ledger:
        cursor, seen = Cursor.start(ledger.partitions), dict[str, None]()
        while True:
            entries, cursor = ledger.feed(cursor, 1_000)
            if not entries:
                break
            seen.update(dict.fromkeys(entry.event.message_id for entry in entries))
        for message_id in seen:
            print(told(ledger.message(message_id)))  # noqa: T201 - that is what this program is for


if __name__ == "__main__":
    main(sys.argv[1])
