"""The rules of the ledger, each with an example."""
