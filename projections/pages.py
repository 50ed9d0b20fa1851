"""How a page of a list is read: some rows at a time, and no more bytes than a page may have.

A failure or a text may have 256 KiB, and a page a thousand of them.
"""

from collections.abc import Callable

from ledger.store.driver import Row

PAGE_BYTES_MAX = 4 * 1024 * 1024
ROWS_AT_ONCE = 64

RowsAfter = Callable[[Row | None, int], list[Row]]
"""At most so many rows after a row (None: from the beginning), in the order of the list."""


def read_page(rows_after: RowsAfter, limit: int) -> tuple[list[Row], bool]:
    """The rows of a page, and whether there are more after them; fewer, but at least one, where they are long.

    The last column of a row is what is long in it.
    """
    found: list[Row] = []
    room_bytes = PAGE_BYTES_MAX
    while len(found) <= limit:
        wanted = min(limit + 1 - len(found), ROWS_AT_ONCE)
        some = rows_after(found[-1] if found else None, wanted)
        for row in some:
            if room_bytes <= 0:
                return found, True
            found.append(row)
            room_bytes -= len(row[-1])
        if len(some) < wanted:
            break
    return found[:limit], len(found) > limit
