"""Layer one: requests of the user's own application, each accepted for one or several recipients. Pure."""

from collections.abc import Iterator, Sequence
from random import Random

from api.simulator.courses import Course
from api.simulator.facts import Fact, Send, written
from api.simulator.outbound import OutboundMessage
from api.simulator.parties import Parties, awkward_identifier, identifier
from ledger.provider import Kind

RECIPIENTS_MAX = 5
SHARE_TO_SEVERAL = 0.08
SHARE_WITH_ERRORS = 0.06
SHARE_WITHOUT_REFERENCE = 0.04

TEXTS = (
    "Your order is on its way.",
    "Your table for two is booked for 19:30. Reply C to cancel.",
    "Reminder: your appointment is tomorrow at 9:00.",
    "Your code is 000000. It is valid for ten minutes.",
    "Grüße! Ihr Paket wartet an der Tür 📦",
)

# The shape of an error is not documented: several are sent.
ERRORS: tuple[dict[str, object], ...] = (
    {"to": "+1555", "code": "INVALID_REQUEST", "message": "not an E.164 number"},
    {"to": "+15550000000", "code": 21614, "detail": {"type": "landline", "retryable": False}},
    {"recipient": "+1555", "error": "RECIPIENT_OPTED_OUT"},
)


def outbound_messages(
    courses: Sequence[Course], parties: Parties, dice: Random, *, start_us: int, gap_us: float
) -> Iterator[tuple[Send, list[OutboundMessage]]]:
    """One message for each course, grouped into the sends that caused them."""
    taken = 0
    while taken < len(courses):
        several = dice.random() < SHARE_TO_SEVERAL
        group = courses[taken : taken + (dice.randint(2, RECIPIENTS_MAX) if several else 1)]
        at_us = start_us + int((taken + dice.random()) * gap_us)
        taken += len(group)
        yield _send(group, parties, dice, at_us)


def _send(group: Sequence[Course], parties: Parties, dice: Random, at_us: int) -> tuple[Send, list[OutboundMessage]]:
    order = identifier("order", dice)
    reference = None if dice.random() < SHARE_WITHOUT_REFERENCE else order
    messages = [_message(course, parties, dice, reference, at_us) for course in group]
    errors = [dice.choice(ERRORS)] if dice.random() < SHARE_WITH_ERRORS else []
    request = _request(messages, errors, parties, dice, reference)
    key = f"idem_{order}"
    return _accepted(key, request, messages, errors, at_us), messages


def _message(course: Course, parties: Parties, dice: Random, reference: str | None, at_us: int) -> OutboundMessage:
    named = awkward_identifier if course.awkward_id else identifier
    to = parties.customers[int(dice.random() * len(parties.customers))]
    return OutboundMessage(named("msg", dice), to, reference, course, at_us)


def _request(
    messages: Sequence[OutboundMessage],
    errors: Sequence[dict[str, object]],
    parties: Parties,
    dice: Random,
    reference: str | None,
) -> dict[str, object]:
    refused = [error.get("to", error.get("recipient")) for error in errors]
    request: dict[str, object] = {
        "sendFrom": parties.own_numbers[int(dice.random() * len(parties.own_numbers))].number_id,
        "to": [message.to for message in messages] + refused,
        "messageType": "SMS",
        "text": TEXTS[int(dice.random() * len(TEXTS))],
    }
    return request if reference is None else request | {"externalReference": reference}


def _accepted(
    key: str,
    request: dict[str, object],
    messages: Sequence[OutboundMessage],
    errors: list[dict[str, object]],
    at_us: int,
) -> Send:
    results = [{"to": message.to, "messageId": message.message_id, "status": "QUEUED"} for message in messages]
    body = {"idempotencyKey": key, "request": request, "response": {"results": results, "errors": errors}}
    acceptances = tuple(
        Fact(
            at_us,
            Kind.REQUEST_ACCEPTED.value,
            result["messageId"],
            written({"idempotencyKey": key, "request": request, "result": result}),
        )
        for result in results
    )
    return Send(at_us, key, written(body), acceptances)
