"""The ledger as a library: a program of one's own that takes webhooks in by its own means, and asks the log.

There is no HTTP here: perhaps the webhooks come through a queue of your cloud's. `tests/docs/test_integrating.py` runs it.
"""

import sys
import time
from collections.abc import Sequence
from enum import Enum

from ledger.errors import LedgerError, SignatureRefused
from ledger.ledger import Ledger
from ledger.log_entries import readable
from ledger.message import Message
from ledger.positions import Cursor
from ledger.reception import Reception

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case: b"x-redcloud-timestamp" and b"x-redcloud-signature" are needed."""


class Answer(Enum):
    """What to do with a delivery in the queue."""

    TAKEN = "it is on disk: acknowledge it"
    NOT_GENUINE = "nobody who knows the secret sent it: take it away, and look who did"
    LATER = "the store cannot be written: leave it in the queue"


def take_in(ledger: Ledger, reception: Reception, headers: Headers, body: bytes) -> Answer:
    """Verifies, reads and durably records a delivery. Killed anywhere, it is taken in again: a fact is stored once."""
    try:
        item = reception.receive(headers, body, now_us=time.time_ns() // 1000)
        ledger.commit([item])
    except SignatureRefused:
        return Answer.NOT_GENUINE
    except LedgerError:
        return Answer.LATER
    return Answer.TAKEN


def told(message: Message) -> str:
    """A message in one line."""
    return f"{message.message_id}: {message.status.value} after {message.event_count} events"


def main(database_url: str) -> None:
    """Prints what became of every message, in the order in which they were first heard of."""
    with Ledger.open_existing(database_url) as ledger:
        cursor, seen = Cursor.start(ledger.partitions), dict[str, None]()
        while True:
            entries, cursor = ledger.feed(cursor, 1_000)
            if not entries:
                break
            seen.update(dict.fromkeys(entry.event.message_id for entry in readable(entries)))
        for message_id in seen:
            print(told(ledger.message(message_id)))  # noqa: T201 - that is what this program is for


if __name__ == "__main__":
    match sys.argv[1:]:
        case [database_url]:
            main(database_url)
        case _:
            sys.exit("usage: own_program.py DATABASE_URL, such as sqlite:///ledger.db")
