"""How a failed message says why. The provider does not document the members: many shapes are sent."""

from collections.abc import Callable
from random import Random

REASONS = (
    ("30003", "Unreachable destination handset"),
    ("30005", "Unknown destination handset"),
    ("30006", "Landline or unreachable carrier"),
    ("30007", "Message filtered by the carrier"),
    ("30008", "Unknown error"),
    ("21610", "The recipient has unsubscribed"),
)

FAILURE_SHAPES: tuple[Callable[[str, str], dict[str, object]], ...] = (
    lambda code, text: {"errorCode": code, "errorMessage": text},
    lambda code, text: {"error": {"code": code, "message": text}},
    lambda _, text: {"failureReason": text},
    lambda code, text: {"failure": {"code": int(code), "description": text, "permanent": True}},
    lambda code, text: {"code": int(code), "reason": text},
    lambda code, text: {"reasonCode": code, "details": [text, {"carrier": "Fictional Wireless"}]},
    lambda _, text: {"error": text},
    lambda _, __: {},
)


def failure_details(shape: int, dice: Random) -> dict[str, object]:
    """The details of one failure, in the shape of that number (any whole number; they come round again)."""
    code, text = dice.choice(REASONS)
    return FAILURE_SHAPES[shape % len(FAILURE_SHAPES)](code, text)
