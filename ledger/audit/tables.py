"""The tables of the audit trail: on SQLite in a file of its own beside the ledger's, on PostgreSQL in the same database."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()

audit_head = Table(
    "audit_head",
    metadata,
    Column("ledger_id", Text, primary_key=True),
    Column("format", Integer, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
"""One row: whose trail this is, and its last number and hash. An append locks it; that lock is what gives order."""

audit_entries = Table(
    "audit_entries",
    metadata,
    # On SQLite an INTEGER PRIMARY KEY is the table's own order, and no index beside it.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),
    Column("way", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("subject", Text, nullable=True),
    Column("asked", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("request_id", Text, nullable=True),
    Column("hash", LargeBinary, nullable=False),
    Index("audit_entries_by_holder", "holder", "number"),
    Index("audit_entries_by_act", "act", "number"),
    Index("audit_entries_by_subject", "subject", "number"),
)
"""The trail. Rows are inserted and never changed."""
