"""A crash at every statement and commit of `ledger quarantine replay`, on both engines.

In the quarantine are deliveries that this version can read, some whose fact the log holds already, and some that nobody
can read yet. After each crash: a delivery is marked as replayed if and only if a replay recorded it; nothing is in the log twice; and
another replay records the rest.
"""

import hashlib
import json

from ledger.events import Receipt
from ledger.facts import Item, UnreadableDelivery
from ledger.ledger import Ledger
from ledger.log_entries import readable
from ledger.positions import Cursor
from ledger.reception import QUARANTINE_ID_BYTES, Reception
from tests.faults.checks import stored_bodies, stored_twice, unverified
from tests.faults.figures import Figures
from tests.faults.steps import at_every_step_postgresql, at_every_step_sqlite

PARTITIONS = 2
READABLE, RECORDED_ALREADY, UNREADABLE = 12, 3, 3
REPLAYED_AT_US = 7


def replaying_sqlite(trials: int, seed: int) -> Figures:
    """On SQLite."""
    return at_every_step_sqlite("replaying-sqlite", "replay-quarantine", _fill, _wrong, trials, seed)


def replaying_postgresql(trials: int, seed: int) -> Figures:
    """On PostgreSQL."""
    return at_every_step_postgresql("replaying-postgresql", "replay-quarantine", _fill, _wrong, trials, seed)


def _fill(url: str, _seed: int) -> None:
    reception = Reception(None, PARTITIONS)
    with Ledger.open(url, partitions=PARTITIONS) as ledger:
        for number in range(READABLE):
            _commit(ledger, _kept_unread(_body(number), number))
        for number in range(RECORDED_ALREADY):
            _commit(ledger, reception.receive((), _body(number), now_us=number))
        for number in range(UNREADABLE):
            _commit(ledger, reception.receive((), b"garbage %d" % number, now_us=number))


def _wrong(url: str) -> list[str]:
    wanted = {_body(number) for number in range(READABLE)}
    with Ledger.open_existing(url) as ledger:
        found = _torn(ledger)
        replayed_before = sum(each.replayed_at_us is not None for each in ledger.quarantined(limit=1_000))
        ended = ledger.replay_quarantine(now_us=REPLAYED_AT_US)
        if ended != (READABLE - replayed_before, UNREADABLE):
            found.append(
                f"expected {READABLE - replayed_before} to be replayed then and {UNREADABLE} to remain: {ended}"
            )
        if (stored := {body for _, body in stored_bodies(ledger)}) != wanted:
            found.append(f"expected {len(wanted)} facts after the second replay, found {len(stored)}")
        if again := ledger.replay_quarantine()[0]:
            found.append(f"{again} were replayed twice")
        return [*found, *_torn(ledger), *unverified(ledger)]


def _torn(ledger: Ledger) -> list[str]:
    """Deliveries that are marked and not in the log, or the other way round, and facts that are in it twice."""
    stored = dict(stored_bodies(ledger))
    held = ledger.quarantined(limit=1_000)
    marked = {each.receipt.body for each in held if each.replayed_at_us is not None}
    waiting = {each.receipt.body for each in held if each.replayed_at_us is None}
    entries, _ = ledger.feed(Cursor.start(PARTITIONS), 1_000)
    receipts = [entry.event.receipt for entry in readable(entries)]
    replayed = {each.body for each in receipts if each.replayed_at_us is not None}
    return [
        *(f"LOST: {body!r} is marked as replayed, and not in the log" for body in marked - set(stored.values())),
        *(f"{body!r} was replayed, and is not marked" for body in waiting & replayed),
        *stored_twice(stored),
    ]


def _body(number: int) -> bytes:
    return json.dumps({"eventType": "message.sent", "messageId": f"msg_{number // 2}", "sequence": number}).encode()


def _kept_unread(body: bytes, number: int) -> UnreadableDelivery:
    """A delivery that an earlier version of ours could not read."""
    quarantine_id = hashlib.sha256(body).digest()[:QUARANTINE_ID_BYTES]
    receipt = Receipt(received_at_us=number, body=body)
    partition = quarantine_id[0] % PARTITIONS
    return UnreadableDelivery(quarantine_id, partition, "an earlier version could not read it", receipt)


def _commit(ledger: Ledger, item: Item) -> None:
    ledger.commit([item])
