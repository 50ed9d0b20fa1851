"""The ledger in one process, without the runner of the projections: what a process of its own for both is worth."""

import os
import sys

from starlette.types import ASGIApp

from api.app import app_of
from api.service import Service
from api.serving.interpreter import SWITCH_INTERVAL_S
from api.settings import read_settings


class _Receiving(Service):
    """A service whose read models stand still."""

    def start(self) -> None:
        start = self.read_models.start
        self.read_models.start = lambda: None  # type: ignore[method-assign]
        super().start()
        self.read_models.start = start  # type: ignore[method-assign]


def create_app() -> ASGIApp:
    """The application."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return app_of(_Receiving.open(read_settings(os.environ)))
