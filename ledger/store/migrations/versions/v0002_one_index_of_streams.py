"""One index of streams holds what the append looks for; an index of facts is for long streams alone."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Replaces both indices of the log: on SQLite some 2 s for each million events."""
    op.drop_index("events_by_fact", "events")
    op.drop_index("events_by_stream", "events")
    op.create_index("events_by_stream", "events", ["stream_id", "partition", "version", "fact_key"])
    op.create_index(
        "events_by_fact",
        "events",
        ["fact_key", "partition"],
        unique=True,
        sqlite_where=sa.text("version > 32"),
        postgresql_where=sa.text("version > 32"),
    )
