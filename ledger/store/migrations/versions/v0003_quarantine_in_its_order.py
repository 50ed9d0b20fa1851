"""The quarantine is read oldest first; without an index of that order each page of it read all of it."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Makes the index."""
    op.create_index("quarantine_by_time", "quarantine", ["received_at_us", "quarantine_id"])
