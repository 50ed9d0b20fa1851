"""The register of read models: which generation is live, which was before it, and which is being built.

Whoever reads rows asks the register in the same transaction, so what it reads is of one generation throughout.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, insert, select, update

from ledger.clock import now_us
from ledger.errors import NotFound
from ledger.store.driver import fetch, placeholder_of
from ledger.store.schema import one_at_a_time
from projections.checkpoints import Generation, begin
from projections.projection import IS_RANDOM, Projection, create_tables, indexes_of
from projections.tables import metadata, read_models


class RegisterEntry(NamedTuple):
    """The register's row of a projection."""

    name: str
    ledger_id: str
    version: int
    live: int
    previous: int | None
    previous_version: int | None
    shadow: int | None
    shadow_version: int | None
    newest: int
    switched_at_us: int
    rebuilder: str | None
    rebuilder_seen_us: int
    rebuild_done: int
    rebuild_total: int
    rebuild_rate: float
    rebuild_cancelled: int

    @property
    def live_generation(self) -> Generation:
        """What readers read."""
        return Generation(self.name, self.live)

    @property
    def kept(self) -> list[int]:
        """The generations that are not dropped."""
        return [number for number in (self.live, self.previous, self.shadow) if number is not None]


def open_register(connection: Connection, projections: Sequence[Projection], ledger_id: str, partitions: int) -> None:
    """Makes what is missing: the shared tables, and an empty first generation of each projection."""
    one_at_a_time(connection, "lifecycle-ledger-read-models")
    metadata.create_all(connection)
    for projection in projections:
        if connection.execute(select(read_models.c.name).where(read_models.c.name == projection.name)).first() is None:
            _enter(connection, projection, ledger_id, partitions)


def register_entry(connection: Connection, name: str) -> RegisterEntry:
    """The register's row of a projection, or NotFound."""
    return _entry(connection, name, "")


def locked_entry(connection: Connection, name: str) -> RegisterEntry:
    """The same, which nobody changes until the transaction ends (on SQLite BEGIN IMMEDIATE has locked everything)."""
    return _entry(connection, name, "" if connection.dialect.name == "sqlite" else " FOR UPDATE")


def _entry(connection: Connection, name: str, lock: str) -> RegisterEntry:
    place = placeholder_of(connection)
    columns = ", ".join(RegisterEntry._fields)
    found = fetch(connection, f"SELECT {columns} FROM read_models WHERE name = {place}{lock}", (name,))  # noqa: S608 - no value in it
    if not found:
        raise NotFound(f"there is no projection {name[:64]!r}")
    return RegisterEntry(*found[0])


class Live(NamedTuple):
    """The generation that readers read, and the version of the projection that made it."""

    generation: Generation
    version: int


def live(connection: Connection, name: str) -> Live:
    """What readers read. Its rows stay for one more rebuild after another has taken its place."""
    place = placeholder_of(connection)
    ((number, version),) = fetch(connection, f"SELECT live, version FROM read_models WHERE name = {place}", (name,))  # noqa: S608 - no value in it
    return Live(Generation(name, number), version)


def change(connection: Connection, name: str, **columns: object) -> None:
    """Changes columns of a projection's row."""
    connection.execute(update(read_models).where(read_models.c.name == name).values(**columns))


def new_generation(connection: Connection, projection: Projection, partitions: int) -> Generation:
    """An empty generation with a number that was never used before; `Rebuild` makes the indexes that it has not after its rows.

    On PostgreSQL that is all of them: it locks nothing of the generation that is live. On SQLite it holds the one lock that
    everybody writes with, so it is those alone that would change a page for each row.
    """
    number = register_entry(connection, projection.name).newest + 1
    generation = Generation(projection.name, number)
    change(connection, projection.name, newest=number)
    create_tables(connection, projection, generation)
    if connection.dialect.name == "sqlite":
        for index in indexes_of(projection, generation):
            if IS_RANDOM not in index.info:
                index.create(connection)
    begin(connection, generation, partitions)
    return generation


def _enter(connection: Connection, projection: Projection, ledger_id: str, partitions: int) -> None:
    connection.execute(
        insert(read_models).values(
            name=projection.name,
            ledger_id=ledger_id,
            version=projection.version,
            live=1,
            newest=1,
            switched_at_us=now_us(),
            rebuilder_seen_us=0,
            rebuild_done=0,
            rebuild_total=0,
            rebuild_rate=0.0,
            rebuild_cancelled=0,
        )
    )
    generation = Generation(projection.name, 1)
    create_tables(connection, projection, generation)
    for index in indexes_of(projection, generation):
        index.create(connection)
    begin(connection, generation, partitions)
