"""How far the read models are, building one again, and when all was last verified: `/projections`, `/verification`."""

from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller
from api.answers import projection_answer, verification_answer
from api.http.questions import path_text
from api.http.responses import json_answer
from api.service import Service
from api.shapes import LastVerification, Projections, RebuildStarted
from api.verifying import last_verification

PROJECTIONS_PATH = "/projections"


def get_projections(service: Service, _caller: Caller, _request: Request) -> Response:
    """The state of every read model, and the progress of rebuilds."""
    return json_answer(Projections(items=[projection_answer(each) for each in service.read_models.projections()]))


def get_verification(service: Service, _caller: Caller, _request: Request) -> Response:
    """When `ledger verify` last came to its end, by whom, and what it found."""
    found = last_verification(service.trail)
    return json_answer(LastVerification(last=None if found is None else verification_answer(found)))


def post_rebuild(service: Service, _caller: Caller, request: Request) -> Response:
    """Begins to build a read model again beside the live one; 409 while a rebuild of it runs, here or in another process."""
    name = path_text(request, "name")
    service.rebuild(name)
    started = RebuildStarted(name=name, state="rebuilding", progress=PROJECTIONS_PATH)
    return json_answer(started, 202, {"Location": PROJECTIONS_PATH})
