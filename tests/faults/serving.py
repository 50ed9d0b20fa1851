"""The servers of campaigns: `ledger serve` on a database, with the secret of the campaigns.

A start takes a tenth of a second, because they are forks (`tests/forks.py`): else it would take longer than the load lasts that
a server is killed under.
"""

from pathlib import Path

from tests import forks, serving
from tests.faults.places import SECRET, SECRET_ID
from tests.forks import ROOT
from tests.serving import Serving

__all__ = ["ROOT", "Serving", "environment", "serve"]


def serve(url: str, log: Path) -> Serving:
    """A server that listens. DidNotStart where it does not."""
    return serving.serve(log, environment(url))


def environment(url: str, **settings: str) -> dict[str, str]:
    """The environment of a command of ours on a database."""
    secrets = f"{SECRET_ID}:{SECRET.decode()}"
    ours = {"LEDGER_DATABASE_URL": url, "LEDGER_WEBHOOK_SECRETS": secrets, "LEDGER_PORT": "0"}
    return forks.environment(**ours, **settings)
