"""What can be checked of one stored row by itself: its hash, its body, its signature."""

import hashlib
import hmac
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from ledger.chain import event_hash
from ledger.errors import LedgerError
from ledger.events import Receipt, RequestAccepted, stream_id
from ledger.json_values import parse_object
from ledger.mapper import EventCodec
from ledger.positions import Position
from ledger.reception import QUARANTINE_ID_BYTES
from ledger.sends import parse_send, send_id_of
from ledger.signatures import Secret
from ledger.store.registers import decode_receipt
from ledger.store.walk import RawRow
from ledger.verification.findings import FINDINGS_PER_PARTITION_MAX, RESTORE, Finding, shown
from ledger.webhooks import FACT_KEY_BYTES, fact_key

STREAM_ID_BYTES = 16


class Content:
    """Deep verification: each body must still be what its row says, and be signed by whom its receipt says."""

    def __init__(self, codec: EventCodec, secrets: Sequence[Secret]) -> None:
        self._codec = codec
        self._keys = {secret.id: secret.key for secret in secrets}
        self.signatures = 0
        self.unchecked: Counter[str | None] = Counter()
        self._fitting: Counter[str] = Counter()
        self._unfitting: Counter[str] = Counter()
        self._unfitting_first: defaultdict[str, list[Position]] = defaultdict(list)

    def wrong_with(self, partition: int, row: RawRow) -> str | None:
        """What is wrong with an event's content, or None. What the library put has no fact key, and is not ours.

        Signatures that do not fit are told in the end, by `wrong_signatures`.
        """
        number, stream, _version, topic, key, state, _hash = row
        if key is None:
            return None
        try:
            event = self._codec.decode(topic, state)
            said = parse_object(event.receipt.body)
        except (LedgerError, TypeError, ValueError) as error:
            return f"the event cannot be read: {error}"
        made = fact_key("acceptance" if isinstance(event, RequestAccepted) else "webhook", said)
        if made != key:
            return f"the body is another fact than the stored key says: expected {made.hex()}, found {shown(key)}"
        if stream_id(event.message_id).bytes != stream:
            return f"the event of message {event.message_id!r} is in the stream of another message"
        if not isinstance(event, RequestAccepted):  # a request that was handed over is never signed
            self._check_signature(Position(partition, number), event.receipt)
        return None

    def wrong_secrets(self) -> Mapping[str, int]:
        """Secrets of which not one signature is, though so many name them: another secret was given under that id."""
        return {each: count for each, count in self._unfitting.items() if not self._fitting[each]}

    def wrong_signatures(self) -> Iterator[Finding]:
        """Signatures that do not fit, of secrets that fit others."""
        for secret_id, count in self._unfitting.items():
            if self._fitting[secret_id]:
                first = self._unfitting_first[secret_id]
                told = f"the stored signature is not that of secret {secret_id!r} over the stored body; {RESTORE}"
                yield from (Finding(position, told) for position in first)
                if more := count - len(first):
                    yield Finding(None, f"{more:,} signatures more are not that of secret {secret_id!r}", more)

    def _check_signature(self, position: Position, receipt: Receipt) -> None:
        secret_id = receipt.secret_id
        if secret_id is None or receipt.digest is None or receipt.timestamp is None or secret_id not in self._keys:
            self.unchecked[secret_id] += 1
            return
        self.signatures += 1
        signed = receipt.timestamp.encode("ascii", "replace") + b"." + receipt.body
        if hmac.compare_digest(hmac.digest(self._keys[secret_id], signed, "sha256"), receipt.digest):
            self._fitting[secret_id] += 1
            return
        self._unfitting[secret_id] += 1
        if len(self._unfitting_first[secret_id]) < FINDINGS_PER_PARTITION_MAX:
            self._unfitting_first[secret_id].append(position)


def hash_of(previous: bytes, partition: int, row: RawRow) -> bytes | None:
    """The hash that a row's columns give, or None where a column has a type or length that we never store."""
    number, stream, version, topic, key, state, _stored = row
    try:
        if len(stream) != STREAM_ID_BYTES or (key is not None and len(key) != FACT_KEY_BYTES):
            return None
        return event_hash(previous, partition, number, stream, version, topic, key, state)
    except (TypeError, ValueError, AttributeError, struct.error):
        return None


def is_quarantined_as(quarantine_id: bytes, receipt: bytes) -> bool:
    """Whether a receipt in quarantine has the body that its id was made from."""
    try:
        return hashlib.sha256(decode_receipt(receipt).body).digest()[:QUARANTINE_ID_BYTES] == quarantine_id
    except (msgspec.MsgspecError, TypeError, ValueError):
        return False


def received_at_us_of(receipt: bytes) -> int:
    """When a delivery in quarantine came, as its receipt says, which can be read."""
    return decode_receipt(receipt).received_at_us


def is_sent_as(send_id: bytes, digest: bytes, body: bytes) -> bool:
    """Whether a registered send has the idempotency key and the content that it was registered with."""
    try:
        accepted = parse_send(body)
        return (send_id_of(accepted.idempotency_key).bytes, accepted.digest) == (send_id, digest)
    except (LedgerError, TypeError, AttributeError):
        return False
