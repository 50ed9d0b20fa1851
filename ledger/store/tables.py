"""The tables of the log. Every unique key names the partition, so that a distributed PostgreSQL can shard by it.

`ledger/store/migrations/` makes these tables; a test holds the two equal.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, SmallInteger, Table, Text, text

LOOKED_THROUGH = 32
"""The first versions of a stream are looked through for a fact; beyond, there is an index (docs/decisions/look-up-statements.md).

Another number is another schema, and needs a migration: the index is of the versions beyond it."""

metadata = MetaData()

ledger = Table(
    "ledger",
    metadata,
    Column("id", Text, primary_key=True),
    Column("partitions", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
)
"""One row: what was decided when the ledger was created and never changes."""

partition_heads = Table(
    "partition_heads",
    metadata,
    Column("partition", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
"""A row a partition: the last position and the last hash. An append locks its row; that lock is what gives order."""

events = Table(
    "events",
    metadata,
    Column("partition", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("stream_id", LargeBinary, nullable=False),
    Column("version", Integer, nullable=False),
    Column("topic", Text, nullable=False),
    Column("fact_key", LargeBinary, nullable=True),
    Column("state", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    # The selective column leads: a planner without statistics of a young table would else walk a whole partition.
    Index("events_by_stream", "stream_id", "partition", "version", "fact_key"),
    Index(
        "events_by_fact",
        "fact_key",
        "partition",
        unique=True,
        sqlite_where=text(f"version > {LOOKED_THROUGH}"),
        postgresql_where=text(f"version > {LOOKED_THROUGH}"),
    ),
)
"""The log. Rows are inserted and never changed. `fact_key` is null only for events put by the eventsourcing library itself."""

quarantine = Table(
    "quarantine",
    metadata,
    Column("partition", SmallInteger, primary_key=True, autoincrement=False),
    Column("quarantine_id", LargeBinary, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("received_at_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("receipt", LargeBinary, nullable=False),
    Column("replayed_at_us", BigInteger, nullable=True),
    Index("quarantine_by_time", "received_at_us", "quarantine_id"),
)
"""Authentic deliveries that are not readable as a webhook; `receipt` is the encoded Receipt with the exact body."""

sends = Table(
    "sends",
    metadata,
    Column("partition", SmallInteger, primary_key=True, autoincrement=False),
    Column("send_id", LargeBinary, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("recorded_at_us", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""The register of idempotency keys of POST /sends, with the exact body that was handed over."""
