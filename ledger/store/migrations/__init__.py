"""The versions of the log's schema, run by Alembic through `ledger/store/schema.py`."""
