"""Every act that the audit trail knows, and when one leaves an entry. Every way in names one of these.

`docs/HTTP.md` explains each; a test holds the two equal, and another holds every route to what stands here.
"""

from collections.abc import Mapping
from enum import Enum, StrEnum

from ledger.audit.entries import RESTORE_ACT


class Way(StrEnum):
    """Through which way somebody came."""

    HTTP = "http"
    CONSOLE = "console"
    COMMAND_LINE = "command line"
    SIGNAL = "signal"


class Act(StrEnum):
    """What somebody did."""

    READ_MESSAGE = "read-message"
    LIST_MESSAGES = "list-messages"
    READ_HISTORY = "read-history"
    READ_BODY = "read-body"
    READ_SEND = "read-send"
    LIST_CONVERSATIONS = "list-conversations"
    READ_CONVERSATION = "read-conversation"
    READ_FEED = "read-feed"
    FOLLOW_FEED = "follow-feed"
    SEARCH = "search"
    LOOK_AROUND = "look-around"
    LIST_QUARANTINE = "list-quarantine"
    READ_QUARANTINED = "read-quarantined"
    READ_AUDIT = "read-audit"
    REPLAY_QUARANTINE = "replay-quarantine"
    REBUILD = "rebuild"
    CANCEL_REBUILD = "cancel-rebuild"
    ROLLBACK = "rollback"
    RETRY_PARKED = "retry-parked"
    VERIFY = "verify"
    UPGRADE = "upgrade"
    BACKUP = "backup"
    RESTORE = RESTORE_ACT
    RELOAD_KEYS = "reload-keys"
    SIGN_IN = "sign-in"
    SIGN_OUT = "sign-out"
    LOOK_AT_OPERATIONS = "look-at-operations"
    HAND_OVER_SEND = "hand-over-send"


class Leaves(Enum):
    """When an act leaves an entry. Being refused for lack of a scope always does."""

    WHEN_SHOWN = "an answer that shows numbers or bodies: not one without items, and to a masked key only where it asked by a number"
    ALWAYS = "an administrative act: whatever came of it"
    NOTHING = "nothing personal is shown, and nothing administered"


LEAVES: Mapping[Act, Leaves] = {
    Act.READ_MESSAGE: Leaves.WHEN_SHOWN,
    Act.LIST_MESSAGES: Leaves.WHEN_SHOWN,
    Act.READ_HISTORY: Leaves.WHEN_SHOWN,
    Act.READ_BODY: Leaves.WHEN_SHOWN,
    Act.READ_SEND: Leaves.WHEN_SHOWN,
    Act.LIST_CONVERSATIONS: Leaves.WHEN_SHOWN,
    Act.READ_CONVERSATION: Leaves.WHEN_SHOWN,
    Act.READ_FEED: Leaves.WHEN_SHOWN,
    Act.FOLLOW_FEED: Leaves.WHEN_SHOWN,
    Act.SEARCH: Leaves.WHEN_SHOWN,
    Act.LOOK_AROUND: Leaves.WHEN_SHOWN,
    Act.LIST_QUARANTINE: Leaves.WHEN_SHOWN,
    Act.READ_QUARANTINED: Leaves.WHEN_SHOWN,
    Act.READ_AUDIT: Leaves.ALWAYS,
    Act.REPLAY_QUARANTINE: Leaves.ALWAYS,
    Act.REBUILD: Leaves.ALWAYS,
    Act.CANCEL_REBUILD: Leaves.ALWAYS,
    Act.ROLLBACK: Leaves.ALWAYS,
    Act.RETRY_PARKED: Leaves.ALWAYS,
    Act.VERIFY: Leaves.ALWAYS,
    Act.UPGRADE: Leaves.ALWAYS,
    Act.BACKUP: Leaves.ALWAYS,
    Act.RESTORE: Leaves.ALWAYS,
    Act.RELOAD_KEYS: Leaves.ALWAYS,
    Act.SIGN_IN: Leaves.ALWAYS,
    Act.SIGN_OUT: Leaves.ALWAYS,
    Act.LOOK_AT_OPERATIONS: Leaves.NOTHING,
    # What was handed over is an event of the log itself, and its answer shows the sender nothing that is new to him.
    Act.HAND_OVER_SEND: Leaves.NOTHING,
}


BY_A_NUMBER = frozenset({"phone", "participant", "q"})
"""Parameters in which a whole number may stand: something found with it confirms it, whatever the answer cuts off."""


def shows_nothing(result: Mapping[str, object]) -> bool:
    """Whether an answer was an empty list: who asks the feed every second would fill the trail with them."""
    return result.get("items") == 0
