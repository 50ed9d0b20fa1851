"""A ledger such as a shop's support people search: ninety days of messages in every state, the last of them just now.

Made from bodies as they would come. Several databases are filled at once, because making the facts takes longer than storing them.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial

from ledger.facts import Item
from ledger.mapper import EventCodec
from ledger.reception import Reception
from ledger.sends import acceptances_of, parse_send, send_of
from tests.benchmarks.filling import made_ahead, store
from tests.benchmarks.prepared import message_id, receipt

MESSAGES_A_PART = 1_000
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
    make = partial(_items, messages, now_us)
    store(urls, made_ahead(make, range(0, messages, MESSAGES_A_PART)))


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


def _items(messages: int, now_us: int, part: int) -> list[Item]:
    """What came of the messages from number `part` on."""
    groups = range(part, min(part + MESSAGES_A_PART, messages), AT_ONCE)
    return [item for first in groups for item in _under_way(first, messages, now_us)]


def _under_way(first: int, messages: int, now_us: int) -> Iterator[Item]:
    codec = EventCodec()
    reception = Reception(None, 1, codec=codec)
    each_us = DAYS * DAY_US // messages
    at_us = now_us - DAYS * DAY_US + first * each_us
    some = range(first, min(first + AT_ONCE, messages))
    outbound = [each for each in some if not is_inbound(each)]
    for one in range(0, len(outbound), RECIPIENTS_OF_A_SEND):
        raw = _send(outbound[one : one + RECIPIENTS_OF_A_SEND])
        accepted = parse_send(raw)
        yield send_of(accepted, raw, partitions=1, now_us=at_us)
        yield from acceptances_of(accepted, codec, partitions=1, now_us=at_us)
    for step, bodies in enumerate(_webhooks(some, outbound), start=1):
        step_us = at_us + step * AT_ONCE * each_us // 5
        yield from (reception.read(receipt(content, step_us)) for content in bodies)


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
