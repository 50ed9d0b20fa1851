"""GET /projections and POST /projections/{name}/rebuild: how far the read models are, and building one again."""

from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller
from api.http.questions import path_text
from api.http.responses import json_answer
from api.service import Service
from projections.read_models import projection_json

PROJECTIONS_PATH = "/projections"


def get_projections(service: Service, _caller: Caller, _request: Request) -> Response:
    """The state of every read model, and the progress of rebuilds."""
    return json_answer({"items": [projection_json(each) for each in service.read_models.projections()]})


def post_rebuild(service: Service, _caller: Caller, request: Request) -> Response:
    """Begins to build a read model again beside the live one; 409 while a rebuild of it runs, here or in another process."""
    name = path_text(request, "name")
    service.read_models.claim_rebuild(name).start()
    started = {"name": name, "state": "rebuilding", "progress": PROJECTIONS_PATH}
    return json_answer(started, 202, {"Location": PROJECTIONS_PATH})
