"""Rows of read models, written and found many at a time: the same SQL text on both engines, in a few sizes only.

Why many rows a statement and why powers of two: see `ledger/store/statements.py`.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain

from sqlalchemy import Connection

from ledger.store.driver import Row, copying, fetch, placeholder_of, run

ROWS_MAX = 1_024
"""Between two statements a writer waits for Python's global lock, up to 5 ms while another thread computes: so few of them.
The widest table has 13 columns, and SQLite takes 32,766 parameters."""

STATEMENT_BYTES_MAX = 4 * 1024 * 1024
"""SQLite's driver copies what a statement is given; a row that is longer by itself is a statement by itself."""

COPIED_ROWS_MIN = 256
STAGED = "staged_"


def upsert(
    connection: Connection,
    table: str,
    columns: tuple[str, ...],
    keys: int,
    rows: Sequence[Sequence[object]],
    *,
    unchanged: tuple[str, ...] = (),
) -> None:
    """Writes rows (each in the order of `columns`, of which the first `keys` are the key), in place of those that are there.

    `unchanged` are columns in which those that are there have the same value already: SQLite then leaves their indexes alone.
    """
    in_place = _in_place(columns, keys, unchanged)
    if connection.dialect.name == "postgresql" and len(rows) >= COPIED_ROWS_MIN:
        _copy(connection, table, columns, rows)
        run(connection, f"INSERT INTO {table} SELECT * FROM {STAGED}{table} {in_place}")  # noqa: S608 - no value in it
        return
    placeholder = placeholder_of(connection)
    start = 0
    while start < len(rows):
        size = min(1 << (len(rows) - start).bit_length() - 1, ROWS_MAX)
        while size > 1 and _long_bytes(rows[start : start + size]) > STATEMENT_BYTES_MAX:
            size //= 2
        values = tuple(chain.from_iterable(rows[start : start + size]))
        run(connection, _upsert_text(table, columns, size, placeholder, in_place), values)
        start += size


def _copy(connection: Connection, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[object]]) -> None:
    """Puts rows into a table of this session alone, which has its columns: PostgreSQL takes them three times as fast that way."""
    run(connection, f"CREATE TEMPORARY TABLE IF NOT EXISTS {STAGED}{table} (LIKE {table}) ON COMMIT DELETE ROWS")
    run(connection, f"TRUNCATE {STAGED}{table}")
    with copying(connection, f"COPY {STAGED}{table} ({', '.join(columns)}) FROM STDIN") as copied:
        for row in rows:
            copied.write_row(row)


def select_by_key(
    connection: Connection, table: str, columns: tuple[str, ...], key: str, partition: int, values: Sequence[bytes]
) -> Iterator[Row]:
    """The rows of a partition whose `key` is one of the values."""
    placeholder = placeholder_of(connection)
    for start in range(0, len(values), ROWS_MAX):
        some = values[start : start + ROWS_MAX]
        size = 1 << (len(some) - 1).bit_length()
        # An IN list takes the last value again to fill up; the row comes back once all the same.
        padded = (partition, *some, *(some[-1],) * (size - len(some)))
        yield from fetch(connection, _in_text(table, columns, key, size, placeholder), padded)


def _long_bytes(rows: Sequence[Sequence[object]]) -> int:
    """How long the rows are, about: what may be long, a state or a body, is the last column of a table."""
    return sum([len(row[-1]) for row in rows if type(row[-1]) is bytes])


@lru_cache(maxsize=512)
def _upsert_text(table: str, columns: tuple[str, ...], size: int, placeholder: str, in_place: str) -> str:
    row = f"({', '.join([placeholder] * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * size)} {in_place}"  # noqa: S608 - no value in it


@lru_cache(maxsize=512)
def _in_place(columns: tuple[str, ...], keys: int, unchanged: tuple[str, ...]) -> str:
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns[keys:] if column not in unchanged)
    return f"ON CONFLICT ({', '.join(columns[:keys])}) DO {f'UPDATE SET {changes}' if changes else 'NOTHING'}"


@lru_cache(maxsize=512)
def _in_text(table: str, columns: tuple[str, ...], key: str, size: int, placeholder: str) -> str:
    places = ", ".join([placeholder] * size)
    return f"SELECT {', '.join(columns)} FROM {table} WHERE partition = {placeholder} AND {key} IN ({places})"  # noqa: S608 - no value in it
