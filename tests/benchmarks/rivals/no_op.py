"""The ceiling of a Starlette route: verifies, parses, keeps nothing."""

from starlette.types import ASGIApp

from ledger.webhooks import Webhook
from tests.benchmarks.rivals.webhook_route import application


async def _record(webhook: Webhook, body: bytes) -> bool:
    return True


def create_app() -> ASGIApp:
    """The application."""
    return application(_record)
