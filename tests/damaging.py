"""A file as a bad disk leaves it: it opens, and the pages in its middle are junk."""

from contextlib import closing
from pathlib import Path

from ledger.store.sqlite import SQLITE
from tests.builders import body

PAGE_BYTES = 4_096
BODIES = [body("message.sent", f"msg_{number}", sequence=1, filler="x" * 300) for number in range(300)]
"""Enough for a ledger of which some can be read afterwards, and some cannot."""


def damage(file: Path) -> None:
    """Overwrites a quarter of a file, page by page."""
    content = file.read_bytes()
    pages = len(content) // PAGE_BYTES
    start, end = pages * 3 // 8 * PAGE_BYTES, pages * 5 // 8 * PAGE_BYTES
    file.write_bytes(content[:start] + b"junk" * ((end - start) // 4) + content[end:])


def damage_table(file: Path, table: str) -> None:
    """Overwrites the first page of a table of an SQLite database that nobody has open."""
    with closing(SQLITE.connect(file)) as connection:
        ((page,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchall()
    content = bytearray(file.read_bytes())
    content[(page - 1) * PAGE_BYTES : page * PAGE_BYTES] = b"junk" * (PAGE_BYTES // 4)
    file.write_bytes(content)
