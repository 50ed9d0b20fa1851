"""Why a message failed, in the provider's words: the details as sent, and the code that people filter by.

The contract does not name the members of a failure, so likely names are tried in order.
"""

from ledger.errors import UnreadableBody
from ledger.json_values import JSONObject, legible, parse_object
from ledger.message import Message

NOT_DETAILS = frozenset({"eventType", "messageId", "externalReference", "sequence", "providerMessageRef"})
CODE_PATHS = (
    ("errorCode",),
    ("failureCode",),
    ("code",),
    ("error", "code"),
    ("failure", "code"),
    ("reasonCode",),
    ("reason",),
    ("failureReason",),
    ("error",),
)


def failure_details(body: bytes) -> JSONObject:
    """All members of a failure's body that say something of the failure, as sent."""
    try:
        members = parse_object(body)
    except UnreadableBody:
        return {}  # written by a program of its own, not received by us; the exact bytes are in the history
    return {name: value for name, value in members.items() if name not in NOT_DETAILS}


def failure_code(details: JSONObject) -> str | None:
    """The first of the likely members that is text or a number, as legible text."""
    for path in CODE_PATHS:
        value = _member(details, path)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return legible(str(value))
    return None


def code_of(message: Message) -> str | None:
    """The code of a message that failed, as lists are filtered by."""
    return None if message.failure_body is None else failure_code(failure_details(message.failure_body))


def is_code(text: str) -> bool:
    """Whether what people filter by is a code to look up; else it is a sentence to read."""
    return not any(map(str.isspace, text))


def _member(details: JSONObject, path: tuple[str, ...]) -> object:
    value: object = details
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
