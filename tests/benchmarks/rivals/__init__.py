"""What the ledger is measured against: ceilings that keep nothing, and what people would write instead.

Each is an ASGI application in a process of its own, run by `server.py` under the same server settings as `ledger serve`.
"""
