"""The one table of routes: who may ask what, who answers, and what comes back. `GET /openapi.json` is written from it."""

from api import shapes
from api.access import Scope
from api.audit.acts import Act
from api.http import described
from api.http.audit import get_audit
from api.http.conversations import get_conversation, get_conversation_messages, get_conversations
from api.http.described import (
    EVENT_STREAM_MEDIA_TYPE,
    METRICS_MEDIA_TYPE,
    Answer,
    Content,
    Description,
    bytes_of,
    json_of,
)
from api.http.feed import get_feed, get_feed_stream
from api.http.health import get_livez, get_readyz
from api.http.history import get_body, get_history
from api.http.messages import get_message, get_messages, until_reached
from api.http.metrics_route import get_metrics
from api.http.openapi import get_openapi
from api.http.projection_states import get_projections, get_verification, post_rebuild
from api.http.quarantine import get_quarantine, get_quarantined_body, post_replay
from api.http.routing import Guarded, Open, Signed
from api.http.sending import get_send, post_send

WEBHOOK = Signed(
    "POST",
    "/webhooks/red-cloud",
    Description(
        "Deliver a webhook, signed by Red Cloud. 2xx means that it is on disk.",
        "Receiving",
        answers=(
            json_of(shapes.RecordedWebhook | shapes.QuarantinedWebhook, "Recorded, or kept in quarantine.", 202),
            json_of(shapes.DuplicateWebhook | shapes.QuarantinedWebhook, "The ledger holds this already.", 200),
        ),
        problems=(400, 401, 408, 413, 415, 503),
        body=Content(shapes.Webhook),
    ),
)

RECEIVING = (
    Guarded(
        "POST",
        "/sends",
        Scope.WRITE,
        Act.HAND_OVER_SEND,
        post_send,
        Description(
            "Hand over that Red Cloud accepted a request to send.",
            "Receiving",
            answers=(
                json_of(shapes.SendRecorded, "Each result is recorded on its message.", 202),
                json_of(shapes.SendRecorded, "The same was handed over before.", 200),
            ),
            problems=(408, 409, 413, 415, 422),
            body=Content(shapes.SendHandedOver),
        ),
    ),
    Guarded(
        "GET",
        "/sends/{idempotencyKey}",
        Scope.MASKED,
        Act.READ_SEND,
        get_send,
        Description(
            "What was handed over under an idempotency key.",
            "Receiving",
            answers=(json_of(shapes.Send, "The send, and where its results stand in the log."),),
            problems=(404,),
            parameters=(described.IDEMPOTENCY_KEY,),
        ),
    ),
)

MESSAGES = (
    Guarded(
        "GET",
        "/messages",
        Scope.MASKED,
        Act.LIST_MESSAGES,
        get_messages,
        Description(
            "Find messages, newest update first.",
            "Messages",
            answers=(json_of(shapes.Page[shapes.Message], "A page of messages."),),
            parameters=(*described.MESSAGE_FILTERS, described.LIMIT, described.CURSOR),
        ),
    ),
    Guarded(
        "GET",
        "/messages/{messageId}",
        Scope.MASKED,
        Act.READ_MESSAGE,
        get_message,
        Description(
            "The status of a message, now or as it was known then.",
            "Messages",
            answers=(
                json_of(shapes.Message, "The status.", headers=("ETag",)),
                Answer(304, "The client has it already.", headers=("ETag",)),
            ),
            problems=(404, 504),
            parameters=(described.MESSAGE_ID, described.WAIT_FOR, described.AS_OF, described.IF_NONE_MATCH),
        ),
        until_reached,
    ),
    Guarded(
        "GET",
        "/messages/{messageId}/history",
        Scope.MASKED,
        Act.READ_HISTORY,
        get_history,
        Description(
            "Everything that the log holds of a message, in the order of recording.",
            "Messages",
            answers=(json_of(shapes.History, "The events."),),
            problems=(404,),
            parameters=(described.MESSAGE_ID, described.HISTORY_LIMIT, described.CURSOR),
        ),
    ),
    Guarded(
        "GET",
        "/messages/{messageId}/history/{version}/body",
        Scope.MASKED,
        Act.READ_BODY,
        get_body,
        Description(
            "The exact bytes of an event. Refused to keys that have only the scope `masked`.",
            "Messages",
            answers=(bytes_of("The body as it was received."),),
            problems=(404,),
            parameters=(described.MESSAGE_ID, described.VERSION),
        ),
    ),
)

CONVERSATIONS = (
    Guarded(
        "GET",
        "/conversations",
        Scope.MASKED,
        Act.LIST_CONVERSATIONS,
        get_conversations,
        Description(
            "Find conversations, latest message first.",
            "Conversations",
            answers=(json_of(shapes.Page[shapes.Conversation], "A page of conversations."),),
            parameters=(described.NUMBER_ID, described.PARTICIPANT, described.LIMIT, described.CURSOR),
        ),
    ),
    Guarded(
        "GET",
        "/conversations/{conversationId}",
        Scope.MASKED,
        Act.READ_CONVERSATION,
        get_conversation,
        Description(
            "One conversation.",
            "Conversations",
            answers=(json_of(shapes.Conversation, "The conversation."),),
            problems=(404,),
            parameters=(described.CONVERSATION_ID,),
        ),
    ),
    Guarded(
        "GET",
        "/conversations/{conversationId}/messages",
        Scope.MASKED,
        Act.READ_CONVERSATION,
        get_conversation_messages,
        Description(
            "What was written in a conversation, oldest first.",
            "Conversations",
            answers=(json_of(shapes.Page[shapes.ConversationMessage], "A page of messages."),),
            problems=(404,),
            parameters=(described.CONVERSATION_ID, described.LIMIT, described.CURSOR),
        ),
    ),
)

FEED = (
    Guarded(
        "GET",
        "/feed",
        Scope.MASKED,
        Act.READ_FEED,
        get_feed,
        Description(
            "Every event of the ledger, in order within a partition.",
            "Feed",
            answers=(json_of(shapes.Feed, "Events after the cursor; `next` is always given."),),
            parameters=(described.AFTER, described.LIMIT),
        ),
    ),
    Guarded(
        "GET",
        "/feed/stream",
        Scope.MASKED,
        Act.FOLLOW_FEED,
        get_feed_stream,
        Description(
            "The same as server-sent events: `id` is the cursor after the event, `data` its JSON.",
            "Feed",
            answers=(Answer(200, "The stream.", Content(str, EVENT_STREAM_MEDIA_TYPE)),),
            parameters=(described.AFTER, described.LAST_EVENT_ID),
        ),
    ),
)

OPERATION = (
    Guarded(
        "GET",
        "/projections",
        Scope.MASKED,
        Act.LOOK_AT_OPERATIONS,
        get_projections,
        Description(
            "How far the read models are.",
            "Operation",
            answers=(json_of(shapes.Projections, "Every read model."),),
        ),
    ),
    Guarded(
        "POST",
        "/projections/{name}/rebuild",
        Scope.ADMIN,
        Act.REBUILD,
        post_rebuild,
        Description(
            "Build a read model again from the log, beside the live one.",
            "Operation",
            answers=(json_of(shapes.RebuildStarted, "It has begun.", 202, headers=("Location",)),),
            problems=(404, 409),
            parameters=(described.PROJECTION,),
        ),
    ),
    Guarded(
        "GET",
        "/verification",
        Scope.MASKED,
        Act.LOOK_AT_OPERATIONS,
        get_verification,
        Description(
            "When everything was last verified, by whom, and what was found.",
            "Operation",
            answers=(json_of(shapes.LastVerification, "The last verification, from the audit trail."),),
        ),
    ),
    Guarded(
        "GET",
        "/audit",
        Scope.ADMIN,
        Act.READ_AUDIT,
        get_audit,
        Description(
            "Who did or saw what, newest first. Asking is an entry as well.",
            "Operation",
            answers=(json_of(shapes.Page[shapes.AuditEntry], "A page of entries."),),
            problems=(400,),
            parameters=(*described.AUDIT_FILTERS, described.LIMIT, described.CURSOR),
        ),
    ),
    Guarded(
        "GET",
        "/quarantine",
        Scope.ADMIN,
        Act.LIST_QUARANTINE,
        get_quarantine,
        Description(
            "Authentic deliveries that could not be read, oldest first.",
            "Operation",
            answers=(json_of(shapes.Page[shapes.QuarantinedDelivery], "A page of deliveries."),),
            parameters=(described.LIMIT, described.CURSOR),
        ),
    ),
    Guarded(
        "GET",
        "/quarantine/{id}/body",
        Scope.ADMIN,
        Act.READ_QUARANTINED,
        get_quarantined_body,
        Description(
            "The exact bytes of a delivery in quarantine.",
            "Operation",
            answers=(bytes_of("The body as it was received."),),
            problems=(404,),
            parameters=(described.QUARANTINE_ID,),
        ),
    ),
    Guarded(
        "POST",
        "/quarantine/replay",
        Scope.ADMIN,
        Act.REPLAY_QUARANTINE,
        post_replay,
        Description(
            "Record what this version can read by now.",
            "Operation",
            answers=(json_of(shapes.Replay, "How many were recorded, and how many remain."),),
        ),
    ),
)

OPEN = (
    Open("/livez", get_livez, Description("Does the process live?", "Health", (json_of(shapes.Alive, "It does."),))),
    Open(
        "/readyz",
        get_readyz,
        Description(
            "Can the server do its work?",
            "Health",
            (
                json_of(shapes.Readiness, "It can."),
                json_of(shapes.Readiness, "It cannot, for these reasons.", 503),
            ),
        ),
    ),
    Open(
        "/metrics",
        get_metrics,
        Description(
            "What operators watch.",
            "Health",
            (Answer(200, "Metrics for Prometheus.", Content(str, METRICS_MEDIA_TYPE)),),
        ),
    ),
    Open(
        "/openapi.json",
        get_openapi,
        Description("This description.", "Health", (json_of(dict, "OpenAPI 3.1."),)),
    ),
)

ROUTES: tuple[Guarded | Open, ...] = (*RECEIVING, *MESSAGES, *CONVERSATIONS, *FEED, *OPERATION, *OPEN)
