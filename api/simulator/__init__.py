"""A signing, retrying provider: plays Red Cloud against a running server, then audits what its ledger holds.

`simulate(plan)` is the one entry. Facts are made in `lifecycles.py`, ordered in `deliveries.py`, sent in `provider.py`
and checked in `audit.py`.
"""

from api.simulator.plan import Plan
from api.simulator.simulation import Progress, simulate
from api.simulator.summary import Summary

__all__ = ["Plan", "Progress", "Summary", "simulate"]
