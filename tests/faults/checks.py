"""What must hold after any fault: acknowledged ⊆ stored, nothing twice, the chain verifies."""

from collections import Counter
from collections.abc import Iterator, Mapping

from ledger.ledger import Ledger
from ledger.signatures import Secret
from ledger.store import reads
from ledger.verification import verify
from tests.faults.load import Journal
from tests.faults.places import SECRET, SECRET_ID

PAGE = 1_000


def stored_bodies(ledger: Ledger) -> Iterator[tuple[str, bytes]]:
    """(position, exact body) of every event, partition by partition."""
    for partition in range(ledger.partitions):
        after = 0
        while True:
            with ledger.database.reading() as connection:
                rows = reads.events_after(connection, partition, after, PAGE)
            for row in rows:
                yield f"{partition}-{row.position}", ledger.codec.decode(row.topic, row.state).receipt.body
            if not rows:
                break
            after = rows[-1].position


def violations(ledger: Ledger, journal: Journal) -> list[str]:
    """Everything that is wrong with a whole ledger, against the client's journal."""
    stored = dict(stored_bodies(ledger))
    return [*journal.wrong, *lost(stored, journal.acknowledged), *stored_twice(stored), *unverified(ledger)]


def lost(stored: Mapping[str, bytes], acknowledged: Mapping[str, bytes]) -> list[str]:
    """Acknowledged facts that are not where they were acknowledged."""
    return [
        f"LOST: {place} was acknowledged for {body!r}, stored is {stored.get(place)!r}"
        for place, body in acknowledged.items()
        if stored.get(place) != body
    ]


def stored_twice(stored: Mapping[str, bytes]) -> list[str]:
    """Bodies that are stored more than once (the campaigns deliver copies byte by byte)."""
    return [f"TWICE: {body!r} is stored {count} times" for body, count in Counter(stored.values()).items() if count > 1]


def unverified(ledger: Ledger) -> list[str]:
    """What `ledger verify --deep` finds."""
    found = verify(ledger, deep=True, secrets=[Secret(SECRET_ID, SECRET)]).findings
    return [f"VERIFY: {finding}" for finding in found]
