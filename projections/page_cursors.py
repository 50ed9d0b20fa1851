"""Where a page of a list ended, as opaque text. Whatever is not a cursor of that list is MalformedQuestion.

Each list has a struct of its own; its tag keeps the cursors of one list from being taken by another.
"""

import base64
import binascii
from typing import Annotated, TypeVar

import msgspec

from ledger.errors import MalformedQuestion

LIMIT_DEFAULT = 50
LIMIT_MAX = 1_000
CURSOR_CHARACTERS_MAX = 16_384

Integer64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
PartitionNumber = Annotated[int, msgspec.Meta(ge=0, le=2**15 - 1)]
Key = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


class AfterMessage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="messages-1"):
    """After a message of the list, newest update first.

    `bounds` is how far the read model was when the paging began: what was updated since then has moved, and is left out,
    so that nothing appears twice.
    """

    updated_at_us: Integer64
    partition: PartitionNumber
    position: Number
    bounds: tuple[Number, ...]


class AfterConversation(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="conversations-1"
):
    """After a conversation of the list, latest message first."""

    last_message_at_us: Integer64
    key: Key


class AfterConversationMessage(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="conversation-1"
):
    """After a message of a conversation, oldest first."""

    ordered_at_us: Integer64
    partition: PartitionNumber
    position: Number


PageCursor = TypeVar("PageCursor", bound=msgspec.Struct)


def write_cursor(cursor: msgspec.Struct) -> str:
    """The cursor as text for a URL."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode("ascii").rstrip("=")


def read_cursor(text: str | None, kind: type[PageCursor]) -> PageCursor | None:
    """The cursor that an earlier page gave as `next`; None for the first page. MalformedQuestion."""
    if text is None:
        return None
    try:
        bounded = text[:CURSOR_CHARACTERS_MAX]
        packed = base64.b64decode(bounded.encode("ascii") + b"=" * (-len(bounded) % 4), altchars=b"-_", validate=True)
        cursor = msgspec.msgpack.decode(packed, type=kind)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise MalformedQuestion(
            "the cursor is not one that this ledger gave out; start without one, or use a `next`"
        ) from None
    if write_cursor(cursor) != text:
        raise MalformedQuestion("the cursor is not spelled as this list gave it out")
    return cursor


def check_limit(limit: int) -> int:
    """The limit of a page, from 1 to 1000, or MalformedQuestion."""
    if not 1 <= limit <= LIMIT_MAX:
        raise MalformedQuestion(f"limit is {limit}, expected 1 to {LIMIT_MAX}")
    return limit
