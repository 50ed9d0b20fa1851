"""The hash chains, of each partition and of the audit trail: what makes an edit, a deletion or a reordering visible.

Each event's hash covers the hash before it and everything stored of the event: its place, its stream and version, its
topic, its fact key and its state. It covers stored bytes, not what they mean, so it can be checked without decoding.
"""

import hashlib
import struct

HASH_BYTES = 32

_PLACE = struct.Struct(">HQ16sQHH")


def genesis_hash(ledger_id: str, partition: int) -> bytes:
    """The hash before the first event of a partition: different in every ledger, so that no tail fits another."""
    return hashlib.sha256(f"lifecycle-ledger:{ledger_id}:{partition}".encode()).digest()


def audit_genesis_hash(ledger_id: str) -> bytes:
    """The hash before the first entry of a ledger's audit trail."""
    return hashlib.sha256(f"lifecycle-ledger:{ledger_id}:audit".encode()).digest()


def event_hash(
    previous: bytes,
    partition: int,
    number: int,
    stream: bytes,
    version: int,
    topic: str,
    fact_key: bytes | None,
    state: bytes,
) -> bytes:
    """SHA-256 over the previous hash and all that is stored of one event, each part with its length."""
    name = topic.encode()
    key = fact_key or b""
    place = _PLACE.pack(partition, number, stream, version, len(name), len(key))
    return hashlib.sha256(b"".join((previous, place, name, key, state))).digest()


def entry_hash(previous: bytes, stored: bytes) -> bytes:
    """SHA-256 over the previous hash and all that is stored of one entry of the audit trail, its number included."""
    return hashlib.sha256(previous + stored).digest()
