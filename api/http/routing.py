"""What a route is: a method, a path, who may ask, who answers, and how it is described to others."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller, Scope
from api.audit.acts import Act
from api.http.described import Description
from api.service import Service

NOT_ASKED_FOR = frozenset({"If-None-Match", "waitFor"})
"""How an answer is given, and not what is asked for."""

SyncHandler = Callable[[Service, Caller, Request], Response]
AsyncHandler = Callable[[Service, Caller, Request], Awaitable[Response]]
Wait = Callable[[Service, Request], Awaitable[None]]
OpenHandler = Callable[[Service, Request], Awaitable[Response]]


class Guarded(NamedTuple):
    """A route that needs a scope, and what the audit trail calls the use of it. `first` is waited for before its handler."""

    method: str
    path: str
    scope: Scope
    act: Act
    handler: SyncHandler | AsyncHandler
    description: Description
    first: Wait | None = None

    def asked(self, request: Request) -> dict[str, object]:
        """What a request asks for with the parameters that the route is described with."""
        given = {"query": request.query_params, "header": request.headers}
        names = [(each.place, each.name) for each in self.description.parameters if each.place in given]
        return {name: given[place].get(name) for place, name in names if name not in NOT_ASKED_FOR}


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
