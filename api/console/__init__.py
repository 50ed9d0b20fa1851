"""The web console for support people: one file a page, HTML made on the server, nothing loaded from elsewhere.

`console_routes(service)` is all that the application needs to know. The way in is `doorway.py`, what every page is given is
`visit.py`, and what becomes of it is `rendering.py`.
"""

from starlette.routing import Route

from api.access import Scope
from api.audit.acts import Act
from api.console.assets import asset
from api.console.audit import audit_page
from api.console.conversations import conversation_page, conversations_page
from api.console.doorway import Action, Door, Page, not_a_page, route_of
from api.console.event import event_body, event_page
from api.console.failures import failures_page
from api.console.front import front_page
from api.console.message import message_page
from api.console.messages import MESSAGES_ASK, messages_csv, messages_page
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
    Door("POST", "/console/sign-in", sign_in, Act.SIGN_IN),
    Door("POST", "/console/sign-out", sign_out, Act.SIGN_OUT),
    Page("/console", front_page, Act.LOOK_AROUND),
    Page("/console/search", search_page, Act.SEARCH, ("q",)),
    Page("/console/messages", messages_page, Act.LIST_MESSAGES, MESSAGES_ASK),
    Page("/console/messages.csv", messages_csv, Act.LIST_MESSAGES, MESSAGES_ASK),
    # Without an id in the path: for ids that no path can carry ("", "." and "..").
    Page("/console/message", message_page, Act.READ_MESSAGE, ("id",)),
    Page("/console/event", event_page, Act.READ_BODY, ("id", "version")),
    Page("/console/event/body", event_body, Act.READ_BODY, ("id", "version")),
    Page("/console/conversation", conversation_page, Act.READ_CONVERSATION, ("id", "cursor")),
    Page("/console/send", send_page, Act.READ_SEND, ("id", "status", "from")),
    Page("/console/messages/{messageId}", message_page, Act.READ_MESSAGE),
    Page("/console/messages/{messageId}/events/{version}", event_page, Act.READ_BODY),
    Page("/console/messages/{messageId}/events/{version}/body", event_body, Act.READ_BODY),
    Page("/console/stuck", stuck_page, Act.LOOK_AROUND),
    Page("/console/failures", failures_page, Act.LOOK_AROUND, ("since",)),
    Page("/console/conversations", conversations_page, Act.LIST_CONVERSATIONS, ("with", "cursor")),
    Page("/console/conversations/{conversationId}", conversation_page, Act.READ_CONVERSATION, ("cursor",)),
    Page("/console/sends/{idempotencyKey}", send_page, Act.READ_SEND, ("status", "from")),
    Page("/console/operations", operations_page, Act.LOOK_AT_OPERATIONS, ("rebuilding",)),
    Page("/console/operations/stream", operations_stream, Act.LOOK_AT_OPERATIONS),
    Action("/console/operations/rebuild", rebuild, Act.REBUILD),
    Page("/console/quarantine", quarantine_page, Act.LIST_QUARANTINE, ("cursor", "replayed"), Scope.ADMIN),
    Page("/console/quarantine/{quarantineId}/body", quarantined_body, Act.READ_QUARANTINED, (), Scope.ADMIN),
    Page("/console/audit", audit_page, Act.READ_AUDIT, ("holder", "act", "subject", "cursor"), Scope.ADMIN),
    Action("/console/quarantine/replay", replay, Act.REPLAY_QUARANTINE),
    Page("/console/{rest:path}", not_a_page, Act.LOOK_AT_OPERATIONS),
)


def console_routes(service: Service) -> list[Route]:
    """Every way into the console of a service."""
    console = Console(service)
    return [route_of(console, way) for way in WAYS]
