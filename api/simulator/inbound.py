"""The inbound facts: customers write to our numbers, several messages to a conversation. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from api.simulator.facts import Fact, written
from api.simulator.outbound import TIME_MEMBERS
from api.simulator.parties import OwnNumber, Parties, identifier
from ledger.provider import Kind

CONVERSATION_MESSAGES_MAX = 6
SHARE_OF_ODD_TEXTS = 0.06
SHARE_WITH_MEDIA = 0.1
SHARE_CORRECTED = 0.004
SHARE_WITH_TWO_CUSTOMERS = 0.1
INBOUND_MESSAGES_FOR_ALL_TEXTS = 10
"""From so many inbound messages on, every odd text and one corrected message occur at least once."""

TEXTS = (
    "Yes please",
    "STOP",
    "When will it arrive?",
    "Can I come at 10 instead?",
    "Thank you!",
    "Who is this?",
    "C",
    "I am at the door, nobody answers",
)

ODD_TEXTS = (
    "👍🏽 see you 🏳️‍🌈",
    "\u200fשלום, מתי זה מגיע? مرحبا",  # noqa: RUF001 - both directions of writing, on purpose
    "<script>alert('the customer wrote this')</script>",
    "{{7*7}} ${7*7} %(seven)s",
    "=cmd|' /C calc'!A0",
    "a NUL \0 and a bell \a",
    "",
    "line one\r\nline two\u2028line three\u202e" + "x" * 1_500,
)

MEDIA: tuple[list[object], ...] = (
    ["https://media.example/photo-1.jpg"],
    [{"url": "https://media.example/photo-2.png", "contentType": "image/png", "bytes": 48_211}],
    [{"url": "https://media.example/voice.amr"}, {"url": "https://media.example/card.vcf"}],
)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation: one customer, sometimes two, writing to one of our numbers.

    `time_members`: which of TIME_MEMBERS its webhooks tell the time with.
    """

    conversation_id: str
    own_number: OwnNumber
    customers: tuple[str, ...]
    time_members: int


def inbound_facts(
    messages: int, parties: Parties, dice: Random, *, start_us: int, span_us: float, answer_us_max: int
) -> Iterator[Fact]:
    """The facts of so many inbound messages, conversation after conversation, each beginning somewhere in the span."""
    texts = _texts(messages, dice)
    corrected = _corrected(messages, dice)
    taken = 0
    while taken < messages:
        size = min(dice.randint(1, CONVERSATION_MESSAGES_MAX), messages - taken)
        conversation = _conversation(parties, dice)
        at_us = start_us + int(dice.random() * span_us)
        for number in range(taken, taken + size):
            at_us += int(dice.random() * answer_us_max)
            yield from _message(conversation, texts[number], at_us, dice, corrected=number in corrected)
        taken += size


def _texts(messages: int, dice: Random) -> list[str]:
    odd = round(messages * SHARE_OF_ODD_TEXTS)
    if messages >= INBOUND_MESSAGES_FOR_ALL_TEXTS:
        odd = max(odd, len(ODD_TEXTS))
    texts = [ODD_TEXTS[number % len(ODD_TEXTS)] for number in range(odd)]
    texts += dice.choices(TEXTS, k=messages - odd)
    dice.shuffle(texts)
    return texts


def _corrected(messages: int, dice: Random) -> frozenset[int]:
    least = 1 if messages >= INBOUND_MESSAGES_FOR_ALL_TEXTS else 0
    return frozenset(dice.sample(range(messages), max(least, round(messages * SHARE_CORRECTED))))


def _conversation(parties: Parties, dice: Random) -> Conversation:
    customers = dice.choices(parties.customers, k=2 if dice.random() < SHARE_WITH_TWO_CUSTOMERS else 1)
    time_members = int(dice.random() * len(TIME_MEMBERS))
    return Conversation(identifier("conv", dice), dice.choice(parties.own_numbers), tuple(customers), time_members)


def _message(conversation: Conversation, text: str, at_us: int, dice: Random, *, corrected: bool) -> Iterator[Fact]:
    members: dict[str, object] = {
        "eventType": Kind.INBOUND,
        "messageId": identifier("msg", dice),
        "conversationId": conversation.conversation_id,
        "numberId": conversation.own_number.number_id,
        "from": conversation.customers[int(dice.random() * len(conversation.customers))],
        "to": conversation.own_number.phone,
        "body": text,
        # A message without text is a picture: there is always something in it.
        "media": dice.choice(MEDIA) if not text or dice.random() < SHARE_WITH_MEDIA else [],
    } | TIME_MEMBERS[conversation.time_members](at_us)
    yield _fact(members, at_us)
    if corrected:
        yield _fact(members | {"body": f"{text} (corrected)"}, at_us + 1)


def _fact(members: dict[str, object], at_us: int) -> Fact:
    return Fact(at_us, Kind.INBOUND.value, str(members["messageId"]), written(members))
