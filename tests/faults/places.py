"""Where a campaign keeps its ledgers: fresh SQLite files in a folder, or fresh databases on a private PostgreSQL."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECRET_ID, SECRET = "main", b"a secret of the fault campaigns"


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """A folder that is gone afterwards. On a disk, not in memory: what is measured there is synced."""
    with tempfile.TemporaryDirectory(prefix="ledger-faults-") as folder:
        yield Path(folder)


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """A folder for what is not about the disk: in memory, where the machine offers that."""
    with tempfile.TemporaryDirectory(prefix="ledger-faults-", dir=memory()) as folder:
        yield Path(folder)


def memory() -> Path | None:
    """A folder in memory to make others in; None where the machine offers none."""
    folder = Path("/dev/shm")  # noqa: S108 - only folders of random name are made in it
    return folder if folder.is_dir() else None


def sqlite_url(folder: Path) -> str:
    """The URL of an embedded ledger in a folder."""
    return f"sqlite:///{folder}/ledger.db"
