"""What the read side raises on purpose, in the families of `ledger/errors.py`."""

from ledger.errors import SenderMustFix, TryAgain


class RebuildRunning(SenderMustFix):
    """A rebuild of this projection is running already."""


class NothingToRollBackTo(SenderMustFix):
    """No earlier generation is kept that this program can go on with."""


class RebuildCancelled(SenderMustFix):
    """Somebody cancelled the rebuild; what it had built is gone, and the live rows were never touched."""


class RebuildPaused(TryAgain):
    """The rebuild was interrupted; starting it again goes on where it was."""
