"""GET /livez and GET /readyz: whether the process lives, and whether it can do its work."""

from starlette.requests import Request
from starlette.responses import Response

from api.responses import json_answer
from api.service import Service


def get_livez(_service: Service, _request: Request) -> Response:
    """Lives; asks no database."""
    return json_answer({"status": "alive"})


def get_readyz(service: Service, _request: Request) -> Response:
    """Ready, or 503 with the reasons."""
    reasons = service.readiness.reasons()
    return json_answer({"status": "not ready" if reasons else "ready", "reasons": reasons}, 503 if reasons else 200)
