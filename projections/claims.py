"""Who may rebuild: one at a time in all processes, by a lease in the register that the rebuild renews.

The claim of a process that is dead is free at once where that can be seen, on its own host, and else when its lease ends.
"""

import os
import secrets
import socket
from enum import Enum
from pathlib import Path

from sqlalchemy import Connection, update

from ledger.clock import now_us
from ledger.durations import SECOND_US
from ledger.store.database import Database
from ledger.times import write_time
from projections.checkpoints import Generation
from projections.errors import NothingToRollBackTo, RebuildRunning
from projections.generations import drop_all_but_those_kept
from projections.lease import Stores
from projections.projection import Projection
from projections.rebuild import OnSwitch, Rebuild
from projections.register import RegisterEntry, change, locked_entry, new_generation, register_entry
from projections.tables import read_models

LEASE_S = 15
DEAD = ("Z", "X")
"""What Linux says of a process that was killed, and whose parent has not asked after it yet."""


class Cancelled(Enum):
    """What a cancellation found."""

    RUNNING = "a rebuild that runs"
    CUT_OFF = "what a cut-off rebuild had built"
    NOTHING = "nothing"


def claim_rebuild(stores: Stores, projection: Projection, on_switch: OnSwitch) -> Rebuild:
    """The right to rebuild, with a new shadow generation or the one that a dead rebuild left. RebuildRunning."""
    with stores.rows.writing() as connection:
        owner, registered = _claim(connection, projection.name)
        is_ours = registered.shadow_version == projection.version and not registered.rebuild_cancelled
        if registered.shadow is not None and is_ours:
            target = Generation(projection.name, registered.shadow)
        else:
            target = new_generation(connection, projection, stores.partitions)
            change(connection, projection.name, shadow=target.number, shadow_version=projection.version)
    return Rebuild(stores, projection, target, owner, on_switch, compares=True)


def claim_rollback(stores: Stores, projection: Projection, on_switch: OnSwitch) -> tuple[Rebuild, bool]:
    """The right to make the previous generation live again, and whether that drops what a cut-off rebuild had built.

    RebuildRunning, NothingToRollBackTo.
    """
    with stores.rows.writing() as connection:
        registered = register_entry(connection, projection.name)
        if registered.previous is None:
            raise NothingToRollBackTo(
                f"no earlier generation of {projection.name} is kept, as of one that was never rebuilt"
            )
        if registered.previous > registered.live:  # numbers rise with each rebuild
            raise NothingToRollBackTo(
                f"{projection.name} was rolled back already, at {write_time(registered.switched_at_us)}, and what was live"
                " before the last rebuild is live since; another rebuild makes it anew"
            )
        if registered.previous_version != projection.version:
            raise NothingToRollBackTo(
                f"the earlier generation of {projection.name} is of version {registered.previous_version}, "
                f"this program goes on with version {projection.version}: start that program, and roll back there"
            )
        owner, _ = _claim(connection, projection.name)
    target = Generation(projection.name, registered.previous)
    rollback = Rebuild(stores, projection, target, owner, on_switch, compares=False)
    return rollback, registered.shadow is not None


def cancel_rebuild(rows: Database, projection: Projection) -> Cancelled:
    """Asks whoever rebuilds to end, and drop what was built; where nobody does, what a cut-off rebuild had built is dropped here."""
    with rows.writing() as connection:
        registered = locked_entry(connection, projection.name)
        if is_running(registered):
            change(connection, projection.name, rebuild_cancelled=1)
            return Cancelled.RUNNING
        change(connection, projection.name, shadow=None, shadow_version=None, rebuilder=None)
    drop_all_but_those_kept(rows, projection)
    return Cancelled.NOTHING if registered.shadow is None else Cancelled.CUT_OFF


def is_running(registered: RegisterEntry) -> bool:
    """Whether whoever claimed the rebuild is alive, as far as can be told from here."""
    if registered.rebuilder is None:
        return False
    host, pid, rest = registered.rebuilder.rsplit(":", 2)
    is_of_here = host == socket.gethostname() and rest.rpartition("-")[0] == _pid_namespace()
    if is_of_here and not _process_exists(int(pid)):
        return False
    # A sign of life from the future is none: the clock was set back, or is another host's.
    return abs(now_us() - registered.rebuilder_seen_us) < LEASE_S * SECOND_US


def _claim(connection: Connection, name: str) -> tuple[str, RegisterEntry]:
    registered = register_entry(connection, name)
    if is_running(registered):
        seen_s = (now_us() - registered.rebuilder_seen_us) / SECOND_US
        host, pid, _ = str(registered.rebuilder).rsplit(":", 2)
        raise RebuildRunning(f"a rebuild of {name} runs in process {pid} on host {host}, last seen {seen_s:.1f} s ago")
    owner = f"{socket.gethostname()}:{os.getpid()}:{_pid_namespace()}-{secrets.token_hex(4)}"
    is_unchanged = read_models.c.rebuilder.is_not_distinct_from(registered.rebuilder)
    claimed = connection.execute(
        update(read_models)
        .where(read_models.c.name == name, is_unchanged)
        .values(
            rebuilder=owner,
            rebuilder_seen_us=now_us(),
            rebuild_cancelled=0,
            rebuild_done=0,
            rebuild_total=0,
            rebuild_rate=0.0,
        )
    )
    if claimed.rowcount != 1:
        raise RebuildRunning(f"another rebuild of {name} was started at the same moment")
    return owner, registered


def _pid_namespace() -> str:
    """What tells apart where process ids are counted, as a container may have the name of its host; "" where there is no such thing."""
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is there, and not ours
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] not in DEAD
    except OSError:
        return True  # no such thing here
