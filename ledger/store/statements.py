"""The two statements whose text depends on how many rows there are, in a few sizes only.

One statement with many rows crosses into the driver once: a driver that runs row by row gives up and retakes Python's
global lock for every row, which under load costs the append more than the database does. Sizes are powers of two, so
that both engines meet the same few texts again and keep them prepared.
"""

from collections.abc import Sequence
from functools import lru_cache

import msgspec
from sqlalchemy import Connection

ROWS_MAX = 256


def insert_rows(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Inserts rows (each in the order of `columns`) with as few statements as whole powers of two allow."""
    placeholder = _placeholder(connection)
    start = 0
    while start < len(rows):
        size = min(1 << (len(rows) - start).bit_length() - 1, ROWS_MAX)
        values = tuple(value for row in rows[start : start + size] for value in row)
        connection.exec_driver_sql(_insert_text(table, tuple(columns), size, placeholder), values)
        start += size


def look_up(connection: Connection, statement: str, partition: int, keys: Sequence[bytes]) -> dict[bytes, int]:
    """What a statement finds for each of those keys for which it finds something.

    The statement selects `key` and, in a subquery, the number `found` from `keys(key)`, a table of the given keys, with
    `{partition}` as a place for the partition. It looks each key up by itself: so a planner that has no statistics of a young
    table cannot choose to read a whole partition instead.
    """
    fetch = _fetch_at_once if connection.dialect.name == "sqlite" else _fetch
    found: dict[bytes, int] = {}
    for start in range(0, len(keys), ROWS_MAX):
        some = keys[start : start + ROWS_MAX]
        size = 1 << (len(some) - 1).bit_length()
        padded = (*some, *(some[-1],) * (size - len(some)))
        found.update(fetch(connection, statement, size, (*padded, partition)))
    return found


def _fetch(connection: Connection, statement: str, size: int, values: tuple[object, ...]) -> dict[bytes, int]:
    text = _look_up_text(statement, size, _placeholder(connection), "key, found")
    return {bytes(key): number for key, number in connection.exec_driver_sql(text, values)}


def _fetch_at_once(connection: Connection, statement: str, size: int, values: tuple[object, ...]) -> dict[bytes, int]:
    # SQLite's driver gives up Python's lock for every row that it fetches: so all of them come as one.
    text = _look_up_text(statement, size, _placeholder(connection), "json_group_object(hex(key), found)")
    (together,) = connection.exec_driver_sql(text, values).one()
    return {bytes.fromhex(key): number for key, number in _decode_numbers(together).items()}


def _placeholder(connection: Connection) -> str:
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"


@lru_cache(maxsize=256)
def _insert_text(table: str, columns: tuple[str, ...], size: int, placeholder: str) -> str:
    row = f"({', '.join([placeholder] * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * size)}"  # noqa: S608 - no value in it


@lru_cache(maxsize=256)
def _look_up_text(statement: str, size: int, placeholder: str, selected: str) -> str:
    keys = ", ".join([f"({placeholder})"] * size)
    each = statement.format(partition=placeholder)
    return f"WITH keys(key) AS (VALUES {keys}) SELECT {selected} FROM ({each}) AS looked_up WHERE found IS NOT NULL"  # noqa: S608 - no value in it


_decode_numbers = msgspec.json.Decoder(dict[str, int]).decode
