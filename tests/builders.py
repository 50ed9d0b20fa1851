"""Facts, in the words of the provider, for tests that read as a story.

    message = given(delivered(sequence=3)).when(sent(sequence=2))

Every builder goes the real way: it writes the body that Red Cloud would send, and reads it as a delivery is read.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eventsourcing.persistence import StoredEvent

from ledger.events import MessageEvent, OutboundReported, Receipt, RequestAccepted, event_of, stream_id
from ledger.facts import Fact, Outcome, Placed, UnreadableDelivery, fact_of
from ledger.json_values import parse_object
from ledger.ledger import Ledger
from ledger.log_entries import readable
from ledger.mapper import EventCodec
from ledger.message import Message, Step, fold, steps
from ledger.positions import Cursor
from ledger.provider import Effect, Status
from ledger.reception import QUARANTINE_ID_BYTES
from ledger.sends import acceptances_of, parse_send
from ledger.signatures import Secret, Signature
from ledger.store.recorder import LogRecorder
from ledger.webhooks import fact_key, parse

NOW_US = 1_732_377_600_000_000
"""2024-11-23T16:00:00Z, the hour at which everything in a test happens unless it says otherwise."""

SECRET = Secret("main", b"a secret of this test only")
CODEC = EventCodec()


def body(event_type: object, message_id: object = "msg_1", **members: object) -> bytes:
    """A webhook's body as the provider would write it; a member that is None is left out."""
    said = {"eventType": event_type, "messageId": message_id, **members}
    return json.dumps({name: value for name, value in said.items() if value is not None}).encode()


def event(raw: bytes, *, received_at_us: int = NOW_US) -> MessageEvent:
    """The domain event of a body."""
    return event_of(parse(raw), Receipt(received_at_us, raw))


def queued(sequence: int = 1, message_id: str = "msg_1", **members: object) -> MessageEvent:
    return event(body("message.queued", message_id, sequence=sequence, **members))


def sent(sequence: int = 2, message_id: str = "msg_1", **members: object) -> MessageEvent:
    return event(body("message.sent", message_id, sequence=sequence, **members))


def delivered(sequence: int = 3, message_id: str = "msg_1", **members: object) -> MessageEvent:
    return event(body("message.delivery", message_id, sequence=sequence, **members))


def failed(sequence: int = 3, message_id: str = "msg_1", **members: object) -> MessageEvent:
    return event(body("message.failed", message_id, sequence=sequence, **members))


def unknown(
    event_type: str = "message.read", message_id: str = "msg_1", sequence: int | None = None, **members: object
) -> MessageEvent:
    return event(body(event_type, message_id, sequence=sequence, **members))


def inbound(message_id: str = "msg_1", text: str = "Hello", **members: object) -> MessageEvent:
    parties = {"conversationId": "conv_1", "numberId": "num_abc123", "from": "+15557654321", "to": "+15551234567"}
    return event(body("message.inbound", message_id, **{**parties, "body": text, **members}))


def accepted(
    message_id: str = "msg_1", idempotency_key: str = "idem_1", reference: str | None = "order_789"
) -> MessageEvent:
    """The acceptance of a request to send one message, from what the user's own application hands over."""
    (acceptance,) = acceptances(send_body([message_id], idempotency_key, reference))
    return CODEC.decode(acceptance.topic, acceptance.state)


def send_body(
    message_ids: Iterable[str], idempotency_key: str = "idem_1", reference: str | None = "order_789"
) -> bytes:
    """The body of `POST /sends`."""
    results = [{"to": "+15551234567", "messageId": each, "status": "QUEUED"} for each in message_ids]
    request = {"sendFrom": "num_abc123", "to": ["+15551234567"], "text": "Hi", "externalReference": reference}
    said = {"idempotencyKey": idempotency_key, "request": request, "response": {"results": results, "errors": []}}
    return json.dumps(said).encode()


def acceptances(raw: bytes, *, partitions: int = 1) -> list[Fact]:
    """The facts of the body of a `POST /sends`."""
    return acceptances_of(parse_send(raw), CODEC, partitions=partitions, now_us=NOW_US)


def fact(of: MessageEvent, *, partitions: int = 1) -> Fact:
    """An event on its way into the log."""
    source = "acceptance" if isinstance(of, RequestAccepted) else "webhook"
    return fact_of(of, fact_key(source, parse_object(of.receipt.body)), CODEC, partitions)


def facts(events: Iterable[MessageEvent], *, partitions: int = 1) -> list[Fact]:
    """Events on their way into the log."""
    return [fact(each, partitions=partitions) for each in events]


def kept_unread(raw: bytes, *, received_at_us: int = NOW_US) -> UnreadableDelivery:
    """A delivery that an older version could not read, and this one can, on its way into the quarantine of one partition."""
    quarantine_id = hashlib.sha256(raw).digest()[:QUARANTINE_ID_BYTES]
    return UnreadableDelivery(quarantine_id, 0, "an older version could not read it", Receipt(received_at_us, raw))


def signed_headers(raw: bytes, timestamp: str = "1732377600", secret: Secret = SECRET) -> list[tuple[bytes, bytes]]:
    """The two headers that the provider would send with a body."""
    digest = hmac.digest(secret.key, timestamp.encode() + b"." + raw, "sha256").hex().encode()
    return [(b"x-redcloud-timestamp", timestamp.encode()), (b"x-redcloud-signature", digest)]


def signature_of(raw: bytes, timestamp: str = "1732377600", secret: Secret = SECRET) -> Signature:
    """The proof that `secret` signed a body."""
    digest = hmac.digest(secret.key, timestamp.encode() + b"." + raw, "sha256")
    return Signature(timestamp, digest, secret.id, late=False)


@dataclass(frozen=True)
class Lifecycle:
    """A message's events in the order of the log, and what the fold makes of them."""

    events: tuple[MessageEvent, ...]

    def when(self, *events: MessageEvent) -> "Lifecycle":
        return Lifecycle((*self.events, *events))

    @property
    def message(self) -> Message:
        return fold(self.events)

    @property
    def history(self) -> list[Step]:
        return list(steps(self.events))

    @property
    def effects(self) -> list[Effect]:
        return [step.effect for step in self.history]

    @property
    def status(self) -> Status:
        return self.message.status


def given(*events: MessageEvent) -> Lifecycle:
    """What a message's log holds already."""
    return Lifecycle(events)


def sequences(events: Sequence[MessageEvent]) -> list[int]:
    return [each.sequence for each in events if isinstance(each, OutboundReported)]


def commit_each(ledger: Ledger, items: Iterable[Fact]) -> list[Placed]:
    """Commits facts one by one, each in the partition where it belongs."""
    return [placed(outcome) for item in items for outcome in ledger.commit([item])]


def placed(outcome: Outcome) -> Placed:
    """The outcome of a fact."""
    assert isinstance(outcome, Placed)
    return outcome


def stored_facts(ledger: Ledger) -> list[tuple[str, int, bytes]]:
    """(position, version, fact key) of every event in the feed, as a reader would meet them."""
    found: list[tuple[str, int, bytes]] = []
    cursor = Cursor.start(ledger.partitions)
    while True:
        entries, cursor = ledger.feed(cursor, 500)
        if not entries:
            return found
        found += [(str(entry.position), entry.version, fact(entry.event).fact_key) for entry in readable(entries)]


def append_unreadable(ledger: Ledger, message_id: str, version: int) -> None:
    """Appends an event that no version of ours can read, as a newer program would leave one behind."""
    event = StoredEvent(stream_id(message_id), version, "message.of-the-future", b"\1")
    LogRecorder(ledger.database, 0, 1).insert_events([event])
