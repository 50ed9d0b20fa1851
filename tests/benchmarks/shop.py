"""A ledger such as a shop's support people search: ninety days of messages in every state, the last of them just now.

Every row is made by our own code, from bodies as they would come; only HTTP is left out. Several databases are filled at once,
because making the facts takes as long as storing them.
"""

import hmac
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from ledger.events import receipt_of
from ledger.facts import Item
from ledger.ledger import Ledger
from ledger.mapper import EventCodec
from ledger.reception import Reception
from ledger.sends import acceptances_of, parse_send, send_of
from ledger.signatures import Signature
from projections.read_models import ReadModels
from tests.benchmarks.measuring import tell
from tests.benchmarks.prepared import SECRET, SECRET_ID, message_id

BATCH = 4_000
TELL_EVERY = 100
AT_ONCE = 100
"""So many messages are under way at the same time."""
RECIPIENTS_OF_A_SEND = 10
DAYS = 90
DAY_US = 86_400_000_000
PEOPLE = 200_000
MESSAGES_A_CONVERSATION = 40

# Of every so many messages one is …
INBOUND, FAILED, LEFT_SENT, LEFT_ACCEPTED, LEFT_SUBMITTED = 10, 16, 50, 500, 1_000
OF_A_CAMPAIGN, TO_THE_BUSIEST, UNREADABLE, FROM_A_RARE_NUMBER = 20, 100, 10_000, 5_000

CODES = ("30003", "30003", "30003", "30003", "30007", "30007", "30005", "30008", "21610", "30034")
CAMPAIGN, BUSIEST, RARE_NUMBER = "campaign_7", "+15550000001", "num_rare"


def fill(urls: Sequence[str], messages: int, now_us: int) -> None:
    """Makes ledgers of so many messages, about four events each, and their read models."""
    with ExitStack() as stack:
        ledgers = [stack.enter_context(Ledger.open(url, partitions=1)) for url in urls]
        for number, batch in enumerate(_batches(_items(messages, now_us))):
            if number % TELL_EVERY == 0:
                tell(f"  {number * BATCH:,} facts")
            for ledger in ledgers:
                ledger.commit(batch)
        for ledger in ledgers:
            ledger.database.tidy()
            with ReadModels.open(ledger) as read_models:
                for projection in read_models.projections():
                    tell(f"  {projection.name}")
                    read_models.claim_rebuild(projection.name).run()


def conversation_of(message: int) -> int:
    """The number of the conversation that an inbound message is of."""
    return message // INBOUND // MESSAGES_A_CONVERSATION


def is_inbound(message: int) -> bool:
    """Whether a customer wrote it."""
    return message % INBOUND == INBOUND - 1


def identity(message: int) -> str:
    """The id of a message."""
    return f"in_{message_id(message)[4:]}" if is_inbound(message) else message_id(message)


def recipient(message: int) -> str:
    """Whom an outbound message is for."""
    return BUSIEST if message % TO_THE_BUSIEST == 0 else f"+1555{message % PEOPLE:07}"


def reference(message: int) -> str:
    """What an outbound message is about."""
    return CAMPAIGN if message % OF_A_CAMPAIGN == 0 else f"order_{message}"


def send_key(message: int) -> str:
    """The idempotency key of the request that an outbound message was sent by."""
    place = message % AT_ONCE - message % AT_ONCE // INBOUND
    return f"idem_{message // AT_ONCE * INBOUND + place // RECIPIENTS_OF_A_SEND}"


def _items(messages: int, now_us: int) -> Iterator[Item]:
    codec = EventCodec()
    reception = Reception(None, 1, codec=codec)
    began_us, each_us = now_us - DAYS * DAY_US, DAYS * DAY_US // messages
    for first in range(0, messages, AT_ONCE):
        some = range(first, min(first + AT_ONCE, messages))
        outbound = [each for each in some if not is_inbound(each)]
        at_us = began_us + first * each_us
        for one in range(0, len(outbound), RECIPIENTS_OF_A_SEND):
            raw = _send(outbound[one : one + RECIPIENTS_OF_A_SEND])
            accepted = parse_send(raw)
            yield send_of(accepted, raw, partitions=1, now_us=at_us)
            yield from acceptances_of(accepted, codec, partitions=1, now_us=at_us)
        for step, bodies in enumerate(_webhooks(some, outbound), start=1):
            step_us = at_us + step * AT_ONCE * each_us // 5
            for content in bodies:
                yield reception.read(receipt_of(content, _signed(content, str(step_us // 1_000_000)), step_us))


def _signed(content: bytes, timestamp: str) -> Signature:
    # As if it had been verified: that would find what is made here.
    digest = hmac.digest(SECRET, f"{timestamp}.".encode() + content, "sha256")
    return Signature(timestamp, digest, SECRET_ID, late=False)


def _webhooks(some: Sequence[int], outbound: Sequence[int]) -> Iterator[list[bytes]]:
    accepted = [each for each in outbound if each % LEFT_SUBMITTED != 1]
    sent = [each for each in accepted if each % LEFT_ACCEPTED != 2]
    ended = [each for each in sent if each % LEFT_SENT != 3]
    yield [_outbound("message.queued", each, 1) for each in accepted]
    yield [_outbound("message.sent", each, 2, providerMessageRef=f"SM{message_id(each)[4:]}") for each in sent]
    yield [_ending(each) for each in ended]
    yield [_inbound(each) for each in some if is_inbound(each)]
    yield [b"not readable: %d" % each for each in some if each % UNREADABLE == 0]


def _send(messages: Sequence[int]) -> bytes:
    first = messages[0]
    number = RARE_NUMBER if first % FROM_A_RARE_NUMBER == 0 else f"num_{first // RECIPIENTS_OF_A_SEND % 5}"
    results = [{"to": recipient(each), "messageId": identity(each), "status": "QUEUED"} for each in messages]
    request = {
        "sendFrom": number,
        "to": [each["to"] for each in results],
        "messageType": "SMS",
        "text": "It is on its way.",
    }
    said = {"idempotencyKey": send_key(first), "request": request, "response": {"results": results, "errors": []}}
    return json.dumps(said).encode()


def _outbound(kind: str, message: int, sequence: int, **more: str) -> bytes:
    said = {
        "eventType": kind,
        "messageId": identity(message),
        "externalReference": reference(message),
        "sequence": sequence,
    }
    return json.dumps(said | more).encode()


def _ending(message: int) -> bytes:
    if message % FAILED != 5:
        return _outbound("message.delivery", message, 3)
    code = CODES[message // FAILED % len(CODES)]
    return _outbound("message.failed", message, 3, errorCode=code, errorMessage="The carrier did not take it.")


def _inbound(message: int) -> bytes:
    conversation = conversation_of(message)
    said = {
        "eventType": "message.inbound",
        "messageId": identity(message),
        "conversationId": f"conv_{conversation}",
        "numberId": f"num_{conversation % 5}",
        "from": f"+1555{conversation % PEOPLE:07}",
        "to": "+15559999999",
        "body": f"Is it on its way? ({message})",
        "media": [],
    }
    return json.dumps(said).encode()


def _batches(items: Iterator[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def main() -> None:
    """Fills ledgers to measure more than once: `python -m tests.benchmarks.shop MESSAGES URL [URL …]`."""
    messages, *urls = sys.argv[1:]
    fill(urls, int(messages), time.time_ns() // 1_000)


if __name__ == "__main__":
    main()
