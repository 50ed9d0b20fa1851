"""GET /livez and GET /readyz: whether the process lives, and whether it can do its work."""

from starlette.requests import Request
from starlette.responses import Response

from api.http.responses import json_answer
from api.service import Service
from api.shapes import Alive, Readiness
from ledger.errors import StoreUnavailable


async def get_livez(_service: Service, _request: Request) -> Response:
    """Lives; asks no database, and waits for no thread."""
    return json_answer(Alive(status="alive"))


async def get_readyz(service: Service, _request: Request) -> Response:
    """Ready, or 503 with the reasons; in threads of its own, because a proxy drops a server that tells it late."""
    try:
        reasons, warnings = await service.health.ask(_looked, service)
    except StoreUnavailable as error:
        reasons, warnings = [str(error)], service.clock.warnings()
    told = Readiness(status="not ready" if reasons else "ready", reasons=reasons, warnings=warnings)
    return json_answer(told, 503 if reasons else 200)


def _looked(service: Service) -> tuple[list[str], list[str]]:
    """Why it is not, and what an operator should know."""
    reasons = service.readiness.reasons()
    service.audit.look_again()
    return reasons, [*service.clock.warnings(), *service.readiness.warnings(service.trail)]
