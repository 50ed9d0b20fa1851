"""The two statements of the append whose text depends on how many rows there are, in a few sizes only.

One statement with many rows crosses into the driver once: a driver that runs row by row gives up and retakes Python's
global lock for every row, which under load costs the append more than the database does. Sizes are powers of two and the few
below eight, so that both engines meet the same texts again and keep them prepared.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from ledger.store.driver import fetch, placeholder_of, run

ROWS_MAX = 256
SIZES_BELOW = 8


class Found(NamedTuple):
    """What the log holds of some facts and streams: the positions of those facts, and the latest versions of those streams."""

    positions: dict[bytes, int]
    versions: dict[bytes, int]


def insert_rows(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Inserts rows (each in the order of `columns`) with few statements."""
    placeholder = placeholder_of(connection)
    start = 0
    while start < len(rows):
        left = len(rows) - start
        size = left if left < SIZES_BELOW else min(1 << left.bit_length() - 1, ROWS_MAX)
        values = tuple([value for row in rows[start : start + size] for value in row])
        run(connection, _insert_text(table, tuple(columns), size, placeholder), values)
        start += size


def find(connection: Connection, partition: int, facts: Sequence[bytes], streams: Sequence[bytes]) -> Found:
    """What a partition holds of the facts with these keys and of the streams with these ids, where it holds anything.

    Each key is looked up by itself: so a planner that has no statistics of a young table cannot choose to read a whole
    partition instead.
    """
    found = Found({}, {})
    for start in range(0, max(len(facts), len(streams)), ROWS_MAX):
        some_facts, some_streams = _padded(facts[start : start + ROWS_MAX]), _padded(streams[start : start + ROWS_MAX])
        text = _find_text(len(some_facts), len(some_streams), placeholder_of(connection))
        values = (*some_facts, *some_streams, partition, partition)
        if connection.dialect.name == "sqlite":
            _add_together(found, fetch(connection, _TOGETHER.format(text), values)[0][0])
        else:
            for is_stream, key, number in fetch(connection, text, values):
                found[is_stream][bytes(key)] = number
    return found


def _padded(keys: Sequence[bytes]) -> Sequence[bytes]:
    """The keys, the last of them repeated until they are a power of two."""
    size = 1 << (len(keys) - 1).bit_length()
    return [*keys, *[keys[-1]] * (size - len(keys))] if keys else keys


def _add_together(found: Found, together: str) -> None:
    for is_stream, key, number in _decode_together(together):
        found[is_stream][bytes.fromhex(key)] = number


@lru_cache(maxsize=256)
def _insert_text(table: str, columns: tuple[str, ...], size: int, placeholder: str) -> str:
    row = f"({', '.join([placeholder] * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * size)}"  # noqa: S608 - no value in it


@lru_cache(maxsize=256)
def _find_text(facts: int, streams: int, placeholder: str) -> str:
    keys = ", ".join([f"(0, {placeholder})"] * facts + [f"(1, {placeholder})"] * streams)
    return _FIND.format(keys=keys, placeholder=placeholder)


_FIND = (
    "WITH keys(is_stream, key) AS (VALUES {keys}) SELECT is_stream, key, found FROM ("
    "SELECT is_stream, key, CASE is_stream"
    " WHEN 0 THEN (SELECT position FROM events WHERE partition = {placeholder} AND fact_key = key)"
    " ELSE (SELECT max(version) FROM events WHERE partition = {placeholder} AND stream_id = key)"
    " END AS found FROM keys) AS looked_up WHERE found IS NOT NULL"
)

# SQLite's driver gives up Python's lock for every row that it fetches: so all of them come as one.
_TOGETHER = "SELECT json_group_array(json_array(is_stream, hex(key), found)) FROM ({})"
_decode_together = msgspec.json.Decoder(list[tuple[int, str, int]]).decode
