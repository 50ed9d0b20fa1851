"""The web console for support people: one file a page, HTML made on the server, nothing loaded from elsewhere.

`console_routes(service)` is all that the application needs to know. The way in is `doorway.py`, what every page is given is
`visit.py`, and what becomes of it is `rendering.py`.
"""

from starlette.routing import Route

from api.access import Scope
from api.console.assets import asset
from api.console.conversations import conversation_page, conversations_page
from api.console.doorway import Action, Door, Page, not_a_page, route_of
from api.console.event import event_body, event_page
from api.console.failures import failures_page
from api.console.front import front_page
from api.console.message import message_page
from api.console.messages import messages_csv, messages_page
from api.console.operations import operations_page, operations_stream, rebuild
from api.console.quarantine import quarantine_page, quarantined_body, replay
from api.console.searching import search_page
from api.console.send import send_page
from api.console.signing_in import sign_in, sign_in_page, sign_out
from api.console.stuck import stuck_page
from api.console.visit import Console
from api.service import Service

WAYS: tuple[Page | Action | Door, ...] = (
    Door("GET", "/console/static/{name}", asset),
    Door("GET", "/console/sign-in", sign_in_page),
    Door("POST", "/console/sign-in", sign_in),
    Door("POST", "/console/sign-out", sign_out),
    Page("/console", front_page),
    Page("/console/search", search_page),
    Page("/console/messages", messages_page),
    Page("/console/messages.csv", messages_csv),
    # Without an id in the path: for ids that no path can carry ("", "." and "..").
    Page("/console/message", message_page),
    Page("/console/event", event_page),
    Page("/console/event/body", event_body),
    Page("/console/conversation", conversation_page),
    Page("/console/send", send_page),
    Page("/console/messages/{messageId}", message_page),
    Page("/console/messages/{messageId}/events/{version}", event_page),
    Page("/console/messages/{messageId}/events/{version}/body", event_body),
    Page("/console/stuck", stuck_page),
    Page("/console/failures", failures_page),
    Page("/console/conversations", conversations_page),
    Page("/console/conversations/{conversationId}", conversation_page),
    Page("/console/sends/{idempotencyKey}", send_page),
    Page("/console/operations", operations_page),
    Page("/console/operations/stream", operations_stream),
    Action("/console/operations/rebuild", rebuild),
    Page("/console/quarantine", quarantine_page, Scope.ADMIN),
    Page("/console/quarantine/{quarantineId}/body", quarantined_body, Scope.ADMIN),
    Action("/console/quarantine/replay", replay),
    Page("/console/{rest:path}", not_a_page),
)


def console_routes(service: Service) -> list[Route]:
    """Every way into the console of a service."""
    console = Console(service)
    return [route_of(console, way) for way in WAYS]
