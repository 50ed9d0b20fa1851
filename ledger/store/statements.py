"""The statements of the append whose text depends on how many rows there are, in a few sizes only.

One statement with many rows crosses into the driver once: a driver that runs row by row gives up and retakes Python's
global lock for every row, which under load costs the append more than the database does. Sizes are powers of two and the few
below eight, so that both engines meet the same texts again and keep them prepared.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from ledger.store.driver import fetch, placeholder_of, run
from ledger.store.tables import LOOKED_THROUGH

ROWS_MAX = 256
SIZES_BELOW = 8


class Found(NamedTuple):
    """What the log holds of some streams: the latest version of each, and the positions of the facts that were asked for."""

    versions: dict[bytes, int]
    positions: dict[bytes, int]


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


def find(connection: Connection, streams: Mapping[bytes, int], facts: Mapping[bytes, int] | None = None) -> Found:
    """What the log holds of streams: ids and their partitions; the facts (keys and theirs) are looked for in these streams alone.

    A fact names its message, so it can be in no other stream.
    """
    found, wanted = Found({}, {}), facts or {}
    for some in _some_at_a_time(streams):
        for stream, version, fact_key, position in _first_events(connection, some):
            found.versions[stream] = max(version, found.versions.get(stream, version))
            if fact_key in wanted:
                found.positions[fact_key] = position
    long = {stream: streams[stream] for stream, version in found.versions.items() if version == LOOKED_THROUGH}
    if long:
        found.versions.update(_look_up(connection, long, _LATEST_VERSION))
        found.positions.update(_look_up(connection, wanted, _POSITION_OF_A_LATE_FACT))
    return found


def _first_events(
    connection: Connection, streams: Sequence[tuple[bytes, int]]
) -> Iterable[tuple[bytes, int, bytes, int]]:
    """The events of some streams up to the version LOOKED_THROUGH: (stream, version, fact key, position)."""
    home, values = _home_and_values(streams)
    text = first_events_text(len(streams), connection.dialect.name, home)
    if connection.dialect.name == "sqlite":
        told = _decode_together(fetch(connection, text, values)[0][0])
        return [(bytes.fromhex(stream), version, bytes.fromhex(key), at) for stream, version, key, at in told]
    return [
        (bytes(stream), version, bytes(key or b""), at) for stream, version, key, at in fetch(connection, text, values)
    ]


def _look_up(connection: Connection, keys: Mapping[bytes, int], question: str) -> dict[bytes, int]:
    """The answer to a question for each key (and its partition) that has one."""
    found: dict[bytes, int] = {}
    for some in _some_at_a_time(keys):
        home, values = _home_and_values(some)
        text = _with_keys(_LOOK_UP.replace("{question}", question), len(some), placeholder_of(connection), home)
        found.update({bytes(key): number for key, number in fetch(connection, text, values)})
    return found


def _home_and_values(keys: Sequence[tuple[bytes, int]]) -> tuple[str, tuple[object, ...]]:
    """How a statement says where each of the keys is at home, and its values.

    One partition alone is a value of its own: so a distributed PostgreSQL knows the one machine that it has to ask.
    """
    values = [value for key in keys for value in key]
    first = keys[0][1]
    is_one = all(home == first for _, home in keys)
    return (ONE_HOME, (*values, first)) if is_one else (EACH_ITS_HOME, tuple(values))


def _with_keys(text: str, count: int, placeholder: str, home: str) -> str:
    rows = ", ".join([f"({placeholder}, {placeholder})"] * count)
    return text.format(keys=f"WITH keys(key, home) AS (VALUES {rows})", home=home.format(placeholder))


def _some_at_a_time(keys: Mapping[bytes, int]) -> Iterable[Sequence[tuple[bytes, int]]]:
    """The keys and their partitions, the last of them repeated until they are a power of two."""
    every = [*keys.items()]
    for start in range(0, len(every), ROWS_MAX):
        some = every[start : start + ROWS_MAX]
        yield [*some, *some[-1:] * ((1 << (len(some) - 1).bit_length()) - len(some))]


@lru_cache(maxsize=256)
def _insert_text(table: str, columns: tuple[str, ...], size: int, placeholder: str) -> str:
    row = f"({', '.join([placeholder] * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * size)}"  # noqa: S608 - no value in it


@lru_cache(maxsize=64)
def first_events_text(streams: int, dialect: str, home: str) -> str:
    """The statement that finds the first events of so many streams; its values are those of `_home_and_values`."""
    if dialect == "sqlite":
        return _TOGETHER.format(_with_keys(_FIRST_EVENTS, streams, "?", home))
    return _with_keys(_FIRST_EVENTS_OF_EACH, streams, "%s", home)


# Each key is looked up by itself, so that a planner that has no statistics of a young table cannot choose to read a whole
# partition instead: docs/decisions/look-up-statements.md.
_FIRST_EVENTS = (
    "{keys} SELECT stream_id, version, fact_key, position FROM keys CROSS JOIN events"  # noqa: S608 - no value in it
    f" WHERE stream_id = key AND {{home}} AND version <= {LOOKED_THROUGH}"
)
_FIRST_EVENTS_OF_EACH = (
    "{keys} SELECT key, version, fact_key, position FROM keys CROSS JOIN LATERAL"  # noqa: S608 - no value in it
    " (SELECT version, fact_key, position FROM events"
    f" WHERE stream_id = key AND {{home}} AND version <= {LOOKED_THROUGH} OFFSET 0) AS first_events"
)
_LOOK_UP = (
    "{keys} SELECT key, found FROM (SELECT key, ({question}) AS found FROM keys) AS looked_up WHERE found IS NOT NULL"
)
_LATEST_VERSION = "SELECT max(version) FROM events WHERE stream_id = key AND {home}"
_POSITION_OF_A_LATE_FACT = (
    f"SELECT position FROM events WHERE fact_key = key AND {{home}} AND version > {LOOKED_THROUGH}"  # noqa: S608 - no value in it
)
ONE_HOME, EACH_ITS_HOME = "partition = {}", "partition = home"

# SQLite's driver gives up Python's lock for every row that it fetches: so all of them come as one.
_TOGETHER = "SELECT json_group_array(json_array(hex(stream_id), version, hex(fact_key), position)) FROM ({})"
_decode_together = msgspec.json.Decoder(list[tuple[str, int, str, int]]).decode
