"""Backups of an embedded ledger: made while it is served, proved before they have their name, and put in its place."""
