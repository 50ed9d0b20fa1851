"""GET /metrics: what operators watch, for Prometheus. Open to anybody, and free of personal data."""

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from api.service import Service


async def get_metrics(service: Service, _request: Request) -> Response:
    """All metrics of this server, in a thread of its own: a monitor must see it most of all when questions wait."""
    content = await service.monitoring.ask(generate_latest, service.metrics.registry)
    return Response(content, 200, {"Cache-Control": "no-store", "Content-Type": CONTENT_TYPE_LATEST})
