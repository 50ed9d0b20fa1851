"""The ledger's own application with the store taken out: every delivery is answered as if it were on disk at once."""

import asyncio
import os
from typing import cast

from starlette.types import ASGIApp

from api.app import app_of
from api.service import Service
from api.settings import read_settings
from ledger.facts import Item, Outcome, Placed
from ledger.positions import Position


class _Answered(Service):
    """A service that keeps nothing."""

    def submit(self, item: Item) -> asyncio.Future[Outcome]:
        del item
        answer = cast("asyncio.Future[Outcome]", asyncio.get_running_loop().create_future())
        answer.set_result(Placed(Position(0, 1), 1, is_new=True))
        return answer


def create_app() -> ASGIApp:
    """The application."""
    return app_of(_Answered.open(read_settings(os.environ)))
