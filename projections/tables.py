"""The tables that every projection shares. What a projection itself writes is named by it and a generation.

A generation is one building of a read model from the log: `message_status_g3`. Readers ask the register which is live, in
the same transaction in which they read it; so a switch from one generation to the next is one row that changes.
"""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, SmallInteger, Table, Text

metadata = MetaData()

read_models = Table(
    "read_models",
    metadata,
    Column("name", Text, primary_key=True),
    Column("ledger_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("live", Integer, nullable=False),
    Column("previous", Integer, nullable=True),
    Column("previous_version", Integer, nullable=True),
    Column("shadow", Integer, nullable=True),
    Column("shadow_version", Integer, nullable=True),
    Column("newest", Integer, nullable=False),
    Column("switched_at_us", BigInteger, nullable=False),
    Column("rebuilder", Text, nullable=True),
    Column("rebuilder_seen_us", BigInteger, nullable=False),
    Column("rebuild_done", BigInteger, nullable=False),
    Column("rebuild_total", BigInteger, nullable=False),
    Column("rebuild_rate", Float, nullable=False),
    Column("rebuild_cancelled", SmallInteger, nullable=False),
)
"""The register: a row a projection, with its generations and the rebuild that runs. `newest` numbers are never reused."""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("projection", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("partition", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("parked", Integer, nullable=False),
)
"""How far a generation is in a partition. `revision` is another after every change of that part of the generation, so
that whoever computed rows from another state of them cannot write. `hash` is the log's at that position: it shows another history."""

parked_events = Table(
    "parked_events",
    metadata,
    Column("projection", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("partition", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("stream_id", LargeBinary, nullable=False),
    Column("topic", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("parked_at_us", BigInteger, nullable=False),
    Index("parked_events_by_stream", "partition", "stream_id"),
)
"""Events that could not be projected, and those after them of the same messages."""

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("projection", Text, primary_key=True),
    Column("runner", Text, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
)
"""When a runner was last alive, whether or not there was anything to do."""
