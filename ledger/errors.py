"""Every error that the ledger raises on purpose, in three families that say who must act.

The families are what the outside maps to answers (`api/http/problems.py`); the docstring of a class is what it means, and its
message says what happened, to which message, what was expected and what was found.
"""


class LedgerError(Exception):
    """The base of everything that the ledger raises on purpose."""


class SenderMustFix(LedgerError):
    """What was asked or sent cannot be accepted as it is; the same again will fail again."""


class TryAgain(LedgerError):
    """Nothing is wrong with what was sent, and the same again may succeed; what was stored all the same is found then."""

    retry_after_s = 5


class WeMustFix(LedgerError):
    """The ledger, its settings or its stored rows are at fault; an operator must act."""


class SignatureRefused(SenderMustFix):
    """The delivery is not provably the provider's. The reason is for our log only, never for the sender."""


class UnreadableBody(SenderMustFix):
    """The body is not a webhook that we can read. An authentic one is quarantined with this reason."""


class MalformedSend(SenderMustFix):
    """The body of a request acceptance does not have the documented shape."""


class SendConflict(SenderMustFix):
    """The idempotency key was recorded before with other content."""


class MalformedQuestion(SenderMustFix):
    """A parameter of a reading request makes no sense."""


class NotFound(SenderMustFix):
    """The ledger holds nothing under that name."""


class QueueFull(TryAgain):
    """More deliveries are waiting for the disk than the queue holds."""

    retry_after_s = 2


class ShuttingDown(TryAgain):
    """The server is draining and takes nothing new."""


class StoreUnavailable(TryAgain):
    """The database cannot be written at the moment."""


class SettingRefused(WeMustFix):
    """A setting or secret makes no sense, so the start is refused."""


class SchemaMismatch(WeMustFix):
    """The database's schema is not the one that this version works with."""


class UnreadableEvent(WeMustFix):
    """A stored event cannot be turned back into a domain event: unknown topic, newer version or broken state."""


class LedgerInUse(WeMustFix):
    """Another server has this embedded ledger open."""
