"""Signs of life of the runners: one row a projection, whoever's runner it is, each by the clock of its own host."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from ledger.clock import now_us
from ledger.durations import SECOND_US
from ledger.store.driver import fetch, placeholder_of, run

CLOCKS_APART_US_MAX = 60 * SECOND_US
"""Further ahead than this is no clock of a host, but one that was set back since."""


def beat(connection: Connection, projections: Sequence[str], runner: str) -> None:
    """Says that a runner is alive. A host whose clock is behind never makes another's sign of life look older."""
    place = placeholder_of(connection)
    statement = (
        f"INSERT INTO heartbeats (projection, runner, seen_us) VALUES ({place}, {place}, {place}) "  # noqa: S608 - no value in it
        f"ON CONFLICT (projection) DO UPDATE SET runner = excluded.runner, seen_us = excluded.seen_us "
        f"WHERE heartbeats.seen_us NOT BETWEEN excluded.seen_us AND excluded.seen_us + {CLOCKS_APART_US_MAX}"
    )
    for projection in projections:
        run(connection, statement, (projection, runner, now_us()))


class Seen(NamedTuple):
    """Which runner showed last that it is alive (`host:process`), and how long ago."""

    runner: str
    ago_s: float


def last_seen(connection: Connection, projection: str) -> Seen | None:
    """The last sign of life; None where there never was one."""
    place = placeholder_of(connection)
    found = fetch(connection, f"SELECT runner, seen_us FROM heartbeats WHERE projection = {place}", (projection,))  # noqa: S608 - no value in it
    if not found:
        return None
    ((runner, seen_us),) = found
    ago_us = now_us() - seen_us
    is_clock_ahead = -CLOCKS_APART_US_MAX <= ago_us < 0
    return Seen(runner, 0.0 if is_clock_ahead else abs(ago_us) / SECOND_US)
