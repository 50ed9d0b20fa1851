"""The audit trail: who did or saw what, in a chain of its own beside the log. It cannot be made again from anything."""
