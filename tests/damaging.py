"""A file as a bad disk leaves it: it opens, and the pages in its middle are junk."""

from pathlib import Path

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
