"""The two registers beside the log: the quarantine and the sends. Both are written under the lock of their partition's head."""

from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, tuple_, update

from ledger.events import Receipt
from ledger.facts import Quarantined, Registered, Send, UnreadableDelivery
from ledger.store.tables import quarantine, sends

_encode_receipt = msgspec.msgpack.Encoder().encode
decode_receipt = msgspec.msgpack.Decoder(Receipt).decode


class QuarantinedDelivery(NamedTuple):
    """A delivery in quarantine. Times are microseconds since 1970; `attempts` counts how often it was delivered.

    Where its row is damaged, the body of the receipt is all that is stored of it.
    """

    quarantine_id: str
    reason: str
    attempts: int
    receipt: Receipt
    replayed_at_us: int | None
    is_damaged: bool = False


def keep_unreadable(connection: Connection, delivery: UnreadableDelivery, *, again: bool = False) -> Quarantined:
    """Keeps an unreadable delivery, or counts one more attempt of one that is kept already.

    `again` says that an earlier try of this very delivery may have been committed without our learning of it; `attempts` may
    then count it twice, where it was kept before that.
    """
    this = (quarantine.c.partition == delivery.partition) & (quarantine.c.quarantine_id == delivery.quarantine_id)
    ours = (quarantine.c.received_at_us == delivery.receipt.received_at_us) & (quarantine.c.attempts == 1)
    if again and connection.execute(select(quarantine.c.attempts).where(this, ours)).first():
        return Quarantined(delivery.quarantine_id.hex(), delivery.reason, is_new=True)
    kept = connection.execute(
        update(quarantine).where(this).values(attempts=quarantine.c.attempts + 1).returning(quarantine.c.reason)
    ).scalar_one_or_none()
    if kept is not None:
        return Quarantined(delivery.quarantine_id.hex(), kept, is_new=False)
    connection.execute(
        insert(quarantine).values(
            partition=delivery.partition,
            quarantine_id=delivery.quarantine_id,
            reason=delivery.reason,
            received_at_us=delivery.receipt.received_at_us,
            attempts=1,
            receipt=_encode_receipt(delivery.receipt),
        )
    )
    return Quarantined(delivery.quarantine_id.hex(), delivery.reason, is_new=True)


def quarantined(connection: Connection, *, after: tuple[int, str], limit: int) -> list[QuarantinedDelivery]:
    """At most `limit` deliveries in quarantine, oldest first, after a (received_at_us, quarantineId)."""
    received_at_us, quarantine_id = after
    place = tuple_(quarantine.c.received_at_us, quarantine.c.quarantine_id)
    found = connection.execute(
        select(quarantine)
        .where(place > tuple_(received_at_us, bytes.fromhex(quarantine_id)))
        .order_by(quarantine.c.received_at_us, quarantine.c.quarantine_id)
        .limit(limit)
    )
    return [_delivery(row) for row in found]


def quarantined_delivery(connection: Connection, partition: int, quarantine_id: bytes) -> QuarantinedDelivery | None:
    """One delivery in quarantine."""
    this = (quarantine.c.partition == partition) & (quarantine.c.quarantine_id == quarantine_id)
    row = connection.execute(select(quarantine).where(this)).one_or_none()
    return None if row is None else _delivery(row)


def waiting_in_quarantine(connection: Connection, *, received_after_us: int = 0) -> int:
    """How many deliveries have not been replayed, of those that came first since a time."""
    waiting = select(func.count()).select_from(quarantine).where(quarantine.c.replayed_at_us.is_(None))
    return connection.execute(waiting.where(quarantine.c.received_at_us >= received_after_us)).scalar_one()


def mark_replayed(
    connection: Connection, partition: int, quarantine_id: bytes, replayed_at_us: int, *, again: bool = False
) -> bool:
    """Notes that a delivery in quarantine has become an event; whether nobody had noted it before. `again` as above."""
    this = (quarantine.c.partition == partition) & (quarantine.c.quarantine_id == quarantine_id)
    if again and connection.execute(select(this).where(this, quarantine.c.replayed_at_us == replayed_at_us)).first():
        return True
    waiting = this & quarantine.c.replayed_at_us.is_(None)
    marked = connection.execute(update(quarantine).where(waiting).values(replayed_at_us=replayed_at_us))
    return marked.rowcount > 0


def register_send(connection: Connection, send: Send, *, again: bool = False) -> Registered:
    """Registers an idempotency key, or tells whether it was registered with the same content. `again` as above."""
    this = (sends.c.partition == send.partition) & (sends.c.send_id == send.send_id)
    held = connection.execute(select(sends.c.digest, sends.c.recorded_at_us).where(this)).one_or_none()
    if held is not None:
        is_same = bytes(held.digest) == send.digest
        return Registered(is_new=again and is_same and held.recorded_at_us == send.recorded_at_us, is_same=is_same)
    connection.execute(
        insert(sends).values(
            partition=send.partition,
            send_id=send.send_id,
            digest=send.digest,
            recorded_at_us=send.recorded_at_us,
            body=send.body,
        )
    )
    return Registered(is_new=True, is_same=True)


def registered_send(connection: Connection, partition: int, send_id: bytes) -> tuple[int, bytes] | None:
    """(recorded_at_us, the exact body) of a registered send."""
    this = (sends.c.partition == partition) & (sends.c.send_id == send_id)
    row = connection.execute(select(sends.c.recorded_at_us, sends.c.body).where(this)).one_or_none()
    return None if row is None else (row.recorded_at_us, bytes(row.body))


def _delivery(row: Row[tuple[object, ...]]) -> QuarantinedDelivery:
    quarantine_id, stored = bytes(row.quarantine_id).hex(), bytes(row.receipt)
    try:
        receipt = decode_receipt(stored)
    except (msgspec.DecodeError, UnicodeDecodeError):
        damaged = Receipt(row.received_at_us, stored)
        reason = f"its row is damaged (ledger verify); when it came: {row.reason}"
        return QuarantinedDelivery(quarantine_id, reason, row.attempts, damaged, row.replayed_at_us, is_damaged=True)
    return QuarantinedDelivery(quarantine_id, row.reason, row.attempts, receipt, row.replayed_at_us)
