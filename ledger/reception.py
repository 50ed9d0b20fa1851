"""The story of one webhook up to the disk: verify, parse, become an event, become a fact.

Pure: the clock and the secrets are arguments. What comes out waits in `ledger/group_commit.py` for its place in the log.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ledger.errors import UnreadableBody
from ledger.events import Receipt, event_of, receipt_of
from ledger.facts import Fact, UnreadableDelivery, fact_of, quarantine_partition
from ledger.mapper import EventCodec
from ledger.signatures import REPLAY_WINDOW_S_DEFAULT, Secret, verify
from ledger.webhooks import parse

QUARANTINE_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Reception:
    """How deliveries are received here: the active secrets (None: signing is switched off), the window, the partitions."""

    secrets: Sequence[Secret] | None
    partitions: int
    replay_window_s: int = REPLAY_WINDOW_S_DEFAULT
    codec: EventCodec = field(default_factory=EventCodec)

    def receive(self, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, now_us: int) -> Fact | UnreadableDelivery:
        """What to make durable of one delivery, or SignatureRefused. `headers` as ASGI gives them."""
        signature = None
        if self.secrets is not None:
            signature = verify(headers, body, self.secrets, now_us=now_us, replay_window_s=self.replay_window_s)
        return self.read(receipt_of(body, signature, now_us))

    def read(self, receipt: Receipt) -> Fact | UnreadableDelivery:
        """What an authentic delivery is: a fact where this version can read it."""
        try:
            webhook = parse(receipt.body)
        except UnreadableBody as error:
            # Red Cloud gives up after five refusals, so an authentic but unreadable body is kept and answered 202.
            quarantine_id = hashlib.sha256(receipt.body).digest()[:QUARANTINE_ID_BYTES]
            return UnreadableDelivery(
                quarantine_id, quarantine_partition(quarantine_id, self.partitions), str(error), receipt
            )
        return fact_of(event_of(webhook, receipt), webhook.fact_key, self.codec, self.partitions)
