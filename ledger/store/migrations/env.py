"""Alembic's entry: runs migrations on the connection that `ledger/store/migrating.py` hands over, in its transaction."""

from alembic import context

from ledger.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
