"""The versions of the log's schema, run by Alembic through `ledger/store/migrating.py`."""

NEWEST = "0003"
"""The version that this program works with: the last of `versions/`. Told here so that opening a ledger needs no Alembic."""
