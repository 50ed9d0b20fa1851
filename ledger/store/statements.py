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
    """What the log holds of some streams: the latest version of each; and (position, version) of facts that were asked for."""

    versions: dict[bytes, int]
    places: dict[bytes, tuple[int, int]]


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
        for stream, version, fact_key, position in _events(connection, some, FIRST_EVENTS):
            found.versions[stream] = max(version, found.versions.get(stream, version))
            if fact_key in wanted:
                found.places[fact_key] = (position, version)
    long = {stream: streams[stream] for stream, version in found.versions.items() if version == LOOKED_THROUGH}
    for some in _some_at_a_time(long):
        home, values = _home_and_values(some)
        text = _with_keys(_LATEST_VERSIONS, len(some), placeholder_of(connection), home)
        found.versions.update({bytes(stream): version for stream, version in fetch(connection, text, values)})
    for some in _some_at_a_time(wanted if long else {}):
        for fact_key, version, _, position in _events(connection, some, LATE_FACTS):
            found.places[fact_key] = (position, version)
    return found


def _events(
    connection: Connection, keys: Sequence[tuple[bytes, int]], which: str
) -> Iterable[tuple[bytes, int, bytes, int]]:
    """The events of some keys (and their partitions) by a condition: (key, version, fact key, position)."""
    home, values = _home_and_values(keys)
    text = events_text(which, len(keys), connection.dialect.name, home)
    if connection.dialect.name == "sqlite":
        told = _decode_together(fetch(connection, text, values)[0][0])
        return [(bytes.fromhex(key), version, bytes.fromhex(fact_key), at) for key, version, fact_key, at in told]
    found = fetch(connection, text, values)
    return [(bytes(key), version, bytes(fact_key or b""), at) for key, version, fact_key, at in found]


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
def events_text(which: str, keys: int, dialect: str, home: str) -> str:
    """The statement that finds the events of so many keys by a condition; its values are those of `_home_and_values`."""
    if dialect == "sqlite":
        return _with_keys(_TOGETHER.replace("{which}", which), keys, "?", home)
    return _with_keys(_OF_EACH.replace("{which}", which), keys, "%s", home)


FIRST_EVENTS = f"stream_id = key AND {{home}} AND version <= {LOOKED_THROUGH}"
LATE_FACTS = f"fact_key = key AND {{home}} AND version > {LOOKED_THROUGH}"
ONE_HOME, EACH_ITS_HOME = "partition = {}", "partition = home"

# Each key is looked up by itself, so that a planner that has no statistics of a young table cannot choose to read a whole
# partition instead: docs/decisions/look-up-statements.md. SQLite's driver gives up Python's lock for every row that it fetches:
# so all of them come as one.
_TOGETHER = (
    "{keys} SELECT json_group_array(json_array(hex(key), version, hex(fact_key), position)) FROM keys CROSS JOIN events"
    " WHERE {which}"
)
_decode_together = msgspec.json.Decoder(list[tuple[str, int, str, int]]).decode
_OF_EACH = (
    "{keys} SELECT key, version, fact_key, position FROM keys CROSS JOIN LATERAL"
    " (SELECT version, fact_key, position FROM events WHERE {which} OFFSET 0) AS found"
)
_LATEST_VERSIONS = (
    "{keys} SELECT key, (SELECT max(version) FROM events WHERE stream_id = key AND {home}) AS version FROM keys"
)
