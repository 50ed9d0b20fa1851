"""GET /livez and GET /readyz: whether the process lives, and whether it can do its work."""

from starlette.requests import Request
from starlette.responses import Response

from api.http.responses import json_answer
from api.service import Service


async def get_livez(_service: Service, _request: Request) -> Response:
    """Lives; asks no database, and waits for no thread."""
    return json_answer({"status": "alive"})


async def get_readyz(service: Service, _request: Request) -> Response:
    """Ready, or 503 with the reasons; in threads of its own, because a proxy drops a server that tells it late."""
    return await service.health.ask(_ready, service)


def _ready(service: Service) -> Response:
    reasons = service.readiness.reasons()
    warnings = [*service.clock.warnings(), *service.readiness.warnings(service.trail)]
    status = "not ready" if reasons else "ready"
    return json_answer({"status": status, "reasons": reasons, "warnings": warnings}, 503 if reasons else 200)
