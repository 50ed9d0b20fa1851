"""GET /metrics: what operators watch, for Prometheus. Open to anybody, and free of personal data."""

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from api.service import Service


def get_metrics(service: Service, _request: Request) -> Response:
    """All metrics of this server."""
    content = generate_latest(service.metrics.registry)
    return Response(content, 200, {"Cache-Control": "no-store", "Content-Type": CONTENT_TYPE_LATEST})
