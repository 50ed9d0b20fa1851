"""`ledger serve` as processes: the one that listens, the one that commits, the one that projects, and what they say to each other.

`server.py` runs the HTTP server, `workers.py` its two workers, which are forked before anything is open.
"""
