"""What a route is: a method, a path, who may ask, who answers, and how it is described to others."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller, Scope
from api.http.described import Description
from api.service import Service

SyncHandler = Callable[[Service, Caller, Request], Response]
AsyncHandler = Callable[[Service, Caller, Request], Awaitable[Response]]
OpenHandler = Callable[[Service, Request], Response | Awaitable[Response]]


class Guarded(NamedTuple):
    """A route that needs a scope."""

    method: str
    path: str
    scope: Scope
    handler: SyncHandler | AsyncHandler
    description: Description


class Open(NamedTuple):
    """A route that anybody may ask, and that shows nothing personal."""

    path: str
    handler: OpenHandler
    description: Description

    @property
    def method(self) -> str:
        """Nothing is changed by who shows no key."""
        return "GET"


class Signed(NamedTuple):
    """The route of the provider, which signs instead of showing a key. `api/app.py` leads to it before all others."""

    method: str
    path: str
    description: Description
