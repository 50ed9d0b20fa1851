"""What a projection is: a name, a version, its tables, and a function from a batch of the log to changes of rows.

The function must be pure in all but reading: the same log gives the same rows, however it was cut into batches. So a
generation can be dropped and built again, and the runner may throw away what it computed and compute it again.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import Connection, Index, MetaData, Table
from sqlalchemy.schema import CreateTable

from ledger.mapper import EventCodec
from ledger.store.database import Database
from ledger.store.driver import Row
from projections.checkpoints import Generation
from projections.log_batches import Batch
from projections.recent import Recent

INDEXED_CHARACTERS_MAX = 200
_LONG_TEXT = uuid5(NAMESPACE_URL, "urn:lifecycle-ledger:long-text")


class TableKind(NamedTuple):
    """One table of a projection: made anew for every generation, as `{name}_g{number}`.

    The first `keys` columns are its key: the first is the partition, and the second tells what the row is of. People know that by
    the column `known_by`, of this table or of another with the same second column.
    """

    name: str
    columns: tuple[str, ...]
    keys: int
    make: Callable[[str, MetaData], Table]
    known_by: str | None

    def of(self, generation: Generation) -> str:
        """The name of this table in a generation."""
        return f"{self.name}_g{generation.number}"

    def table(self, generation: Generation) -> Table:
        """The table of a generation."""
        return self.make(self.of(generation), MetaData())


class Sources(NamedTuple):
    """What changes are computed from: one state of the generation's rows, the log, and messages folded a moment ago."""

    rows: Connection
    generation: Generation
    log: Database
    codec: EventCodec
    recent: Recent


class TooMuchAtOnce(Exception):
    """The rows that several messages of a batch have already are more than should be in memory at once: project it in halves."""


class Projection(Protocol):
    """One read model."""

    @property
    def name(self) -> str:
        """The name that people know it by."""

    @property
    def version(self) -> int:
        """Goes up when the same log gives other rows, so that the rows are built again.

        Until they are, lists show the rows of the version before: a new column is one that no list asks for yet, or its table has
        another name; and what was encoded then must be readable.
        """

    @property
    def tables(self) -> Sequence[TableKind]:
        """Its tables; the first has the stream's id as its key, and as a column that of the others, which sum its rows up."""

    def changes(self, sources: Sources, batch: Batch) -> list[Row]:
        """What `write` takes, for each row that a batch changes in the first table. Reads only.

        Any error says that an event in the batch cannot be projected. They hold int, str, bytes, bool and None alone, because
        they may come from another process (`ahead.py`), as msgpack, without types.
        TooMuchAtOnce, which comes of no batch of one event, is for whoever projects in halves to find that event.
        """

    def write(self, connection: Connection, generation: Generation, changed: list[Row]) -> None:
        """Writes these rows, and what is summed up from them, within the transaction that moves the checkpoint."""

    def forget(self, connection: Connection, generation: Generation, partition: int, stream: bytes) -> None:
        """Takes away what one message has in the rows, before it is folded again from its first event."""


def indexed(text: str | None) -> str | None:
    """Text as an index holds it: an index entry is bounded, so long text becomes its beginning and a digest of the whole."""
    if text is None or len(text) <= INDEXED_CHARACTERS_MAX:
        return text
    return f"{text[: INDEXED_CHARACTERS_MAX // 2]}…{uuid5(_LONG_TEXT, text).hex}"


IS_RANDOM = "is_random"
"""In the `info` of an index: that hardly any two keys of a batch are on one of its pages. A rebuild makes it after the rows."""


def create_tables(connection: Connection, projection: Projection, generation: Generation) -> None:
    """Makes the empty tables of a generation, without their indexes."""
    for kind in projection.tables:
        connection.execute(CreateTable(kind.table(generation)))


def indexes_of(projection: Projection, generation: Generation) -> list[Index]:
    """The indexes of a generation; each knows its table."""
    return [index for kind in projection.tables for index in sorted(kind.table(generation).indexes, key=_name)]


def _name(index: Index) -> str:
    return str(index.name)
