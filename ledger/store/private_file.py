"""Files that only their owner may read. What the ledger keeps is personal data."""

import os
from contextlib import suppress
from pathlib import Path

OWNER_ONLY = 0o600


def make_private(path: Path) -> None:
    """Makes an empty file where there is none. SQLite, and a copy, would let everybody read it; both fill what they find.

    Where it cannot be made, whoever opens it next says why. SQLite gives what it puts beside a file the mode of the file.
    """
    with suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY))
