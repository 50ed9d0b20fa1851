"""The way in for Red Cloud's webhooks: a plain ASGI endpoint, because this is the path that must be fast.

Checked in the contract's order: method, size, encoding, signature, body. Answered only after the commit.
"""

import asyncio
import time

import msgspec
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.errors import LengthWrong, MethodRefused
from api.http.bodies import NOT_HTTP_BEHIND, read_body
from api.http.problems import kind_of, problem_of
from api.http.request_ids import REQUEST_ID_HEADER
from api.http.seldom import Seldom
from api.service import Service
from api.shapes import DuplicateWebhook, QuarantinedWebhook, RecordedWebhook
from ledger.errors import LedgerError, SenderMustFix, ShuttingDown, SignatureRefused
from ledger.facts import Fact, Outcome, Placed, Quarantined, UnreadableDelivery

JSON_HEADER = (b"content-type", b"application/json")
RECORDED = 202
FOUND = 200
STOPPED = "the server is shutting down and could not finish this in time; send it again"

logger = structlog.get_logger()
_encode = msgspec.json.Encoder().encode


class WebhookEndpoint:
    """POST /webhooks/red-cloud."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._seldom = Seldom()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one delivery."""
        request_id = self._service.request_ids.of(scope["headers"])
        try:
            status, content = await self._record(scope, receive, request_id)
        except Exception as error:  # noqa: BLE001 - whatever it was, the provider is told to try again
            await self._refused(error, request_id)(scope, receive, send)
            return
        except asyncio.CancelledError:  # the server ends, and waits for nobody any longer
            await self._refused(ShuttingDown(STOPPED), request_id)(scope, receive, send)
            return
        headers = [JSON_HEADER, (b"content-length", b"%d" % len(content)), (REQUEST_ID_HEADER, request_id)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _record(self, scope: Scope, receive: Receive, request_id: bytes) -> tuple[int, bytes]:
        started_s = time.perf_counter()
        if scope["method"] != "POST":
            raise MethodRefused("Deliver webhooks with POST.")
        body = await read_body(scope, receive)
        try:
            item = self._service.reception.receive(scope["headers"], body, now_us=self._service.now_us())
        except SignatureRefused:
            if NOT_HTTP_BEHIND in scope:
                raise LengthWrong(
                    f"{len(body)} bytes were announced, and what came behind them is no request"
                ) from None
            raise
        outcome = await self._service.submit(item)
        self._service.clock.saw(late=item.late)
        self._service.metrics.webhook_answered(item, outcome, time.perf_counter() - started_s)
        if outcome.is_new and (item.late or type(outcome) is Quarantined):
            self._tell_odd(outcome, request_id)
        return (RECORDED if outcome.is_new else FOUND), answer_of(item, outcome)

    def _tell_odd(self, outcome: Outcome, request_id: bytes) -> None:
        """What was kept, and should be looked at: where it is, and nothing of what is in it."""
        match outcome:
            case Quarantined(quarantine_id, why):
                told = "a delivery cannot be read and is in quarantine"
                self._warn(told, request_id, quarantine_id=quarantine_id, why=why)
            case Placed(position, _, _):
                self._warn("a delivery is late", request_id, position=str(position))

    def _warn(self, event: str, request_id: bytes, reason: str = "", **told: str) -> None:
        self._seldom.tell(event, reason, request_id=request_id.decode("ascii"), **told)

    def _refused(self, error: Exception, request_id: bytes) -> Response:
        self._service.metrics.webhook_refused(kind_of(error).slug)
        with structlog.contextvars.bound_contextvars(request_id=request_id.decode("ascii")):
            if isinstance(error, SignatureRefused):
                self._warn("a delivery was refused", request_id, reason=str(error))
            elif isinstance(error, SenderMustFix):
                self._warn("a delivery was refused", request_id, reason=kind_of(error).slug)
            elif not isinstance(error, LedgerError):
                logger.error("a delivery could not be received", exc_info=error)
        answer = problem_of(error)
        answer.headers["x-request-id"] = request_id.decode("ascii")
        return answer


def answer_of(item: Fact | UnreadableDelivery, outcome: Outcome) -> bytes:
    """What the provider is told."""
    match item, outcome:
        case Fact(), Placed(position, version, is_new):
            shape = RecordedWebhook if is_new else DuplicateWebhook
            return _encode(shape(message_id=item.message_id, version=version, position=str(position)))
        case _, Quarantined(quarantine_id, reason):
            return _encode(QuarantinedWebhook(quarantine_id=quarantine_id, reason=reason))
        case _:
            raise AssertionError(outcome)
