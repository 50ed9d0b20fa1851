"""Every refusal as RFC 9457 `application/problem+json`: one table from our errors to answers, and nothing of a traceback."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.errors import (
    BodyCutOff,
    BodyTooLarge,
    BodyTooSlow,
    EncodingRefused,
    Forbidden,
    LengthWrong,
    MethodRefused,
    NotFoundYet,
    NotReachedInTime,
    ProjectorSilent,
    TooManyFailures,
    TooManyStreams,
    Unauthenticated,
)
from api.http.responses import FOR_THE_CALLER
from api.http.seldom import Seldom
from api.shapes import Problem
from ledger import errors
from ledger.store.damage import StoreDamaged
from projections.errors import RebuildRunning

PROBLEM_MEDIA_TYPE = "application/problem+json"
TYPE_BASE = "docs/HTTP.md#problem-"


class Kind(NamedTuple):
    """What the outside is told of a family of errors. `detail` replaces the error's own message where that must not go out."""

    status: int
    slug: str
    title: str
    detail: str | None = None


STORE_DETAIL = "The database cannot be used right now. Try again."
SIGNATURE_DETAIL = "The signature could not be verified. Nothing was stored."

OPERATOR_NEEDED = Kind(
    503,
    "operator-needed",
    "The ledger needs its operator",
    "The ledger cannot answer this until its operator acts; its log says why.",
)

KINDS: Mapping[type[Exception], Kind] = {
    errors.SignatureRefused: Kind(401, "signature-refused", "Signature refused", SIGNATURE_DETAIL),
    Unauthenticated: Kind(401, "unauthenticated", "No API key that is known here"),
    TooManyFailures: Kind(429, "too-many-failed-attempts", "Too many failed attempts"),
    Forbidden: Kind(403, "forbidden", "The key lacks a scope"),
    errors.NotFound: Kind(404, "not-found", "Not found"),
    BodyCutOff: Kind(400, "body-cut-off", "The body ended early"),
    BodyTooSlow: Kind(408, "body-too-slow", "The body came too slowly"),
    LengthWrong: Kind(400, "malformed-request", "Bad Request"),
    RebuildRunning: Kind(409, "rebuild-running", "A rebuild is running"),
    errors.SendConflict: Kind(409, "idempotency-key-reused", "The idempotency key has other content"),
    MethodRefused: Kind(405, "method-not-allowed", "Method not allowed"),
    BodyTooLarge: Kind(413, "body-too-large", "The body is too large"),
    EncodingRefused: Kind(415, "encoding-refused", "Content-Encoding refused"),
    errors.MalformedSend: Kind(422, "malformed-send", "Not a request acceptance"),
    errors.MalformedQuestion: Kind(400, "malformed-question", "A parameter makes no sense"),
    errors.SenderMustFix: Kind(400, "refused", "Refused"),
    errors.QueueFull: Kind(503, "queue-full", "Too many deliveries are waiting"),
    errors.ShuttingDown: Kind(503, "shutting-down", "The server is shutting down"),
    NotReachedInTime: Kind(504, "read-model-behind", "The read model is behind"),
    NotFoundYet: Kind(503, "not-found-yet", "Nothing is found yet"),
    TooManyStreams: Kind(503, "too-many-streams", "Too many streams are open"),
    ProjectorSilent: Kind(503, "projector-silent", "The process that projects does not answer"),
    errors.TryAgain: Kind(503, "store-unavailable", "The store is unavailable", STORE_DETAIL),
    SQLAlchemyError: Kind(503, "store-unavailable", "The store is unavailable", STORE_DETAIL),
    errors.UnreadableEvent: Kind(503, "unreadable-event", "A stored event cannot be read"),
    StoreDamaged: OPERATOR_NEEDED,
    errors.WeMustFix: OPERATOR_NEEDED,
}
NOTHING_AT_ROOT = (
    "Nothing is here. The pages for people are at /console, and what programs may ask is in /openapi.json."
)
NOT_FOR_THE_LOG = (
    errors.SenderMustFix,
    Unauthenticated,
    TooManyFailures,
    Forbidden,
    NotReachedInTime,
    NotFoundYet,
    StoreDamaged,
)
"""What no operator must act on, or is told of otherwise."""
BODY_IS_NOT_READ = (BodyTooLarge, EncodingRefused, BodyCutOff, BodyTooSlow, LengthWrong)
"""After these the rest of the body would be taken for the next request."""

HTTP_TITLES = {404: "Not found", 405: "Method not allowed"}


def kind_of(error: Exception) -> Kind:
    """The most specific entry of the table for an error."""
    for each in type(error).__mro__:
        if each in KINDS:
            return KINDS[each]
    return Kind(500, "internal", "Internal error", "Something went wrong on our side; the log of the server says what.")


def problem(status: int, slug: str, title: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """A problem as an answer."""
    return _answer(problem_content(status, slug, title, detail), status, headers or {})


def problem_content(status: int, slug: str, title: str, detail: str) -> bytes:
    """The members of a problem."""
    return msgspec.json.encode(Problem(type=TYPE_BASE + slug, title=title, status=status, detail=detail))


def problem_of(error: Exception) -> Response:
    """The answer for one of our errors."""
    kind = kind_of(error)
    told = Problem(type=TYPE_BASE + kind.slug, title=kind.title, status=kind.status, detail=kind.detail or str(error))
    if isinstance(error, NotReachedInTime):
        told.lag_events, told.lag_seconds = error.lag_events, error.lag_seconds
    return _answer(msgspec.json.encode(told), kind.status, _headers_of(error))


def _answer(content: bytes, status: int, headers: Mapping[str, str]) -> Response:
    """A refusal holds for who asked, and for now: what is not found may come, and a scope be given."""
    return Response(content, status, FOR_THE_CALLER | dict(headers), PROBLEM_MEDIA_TYPE)


async def answer_error(failures: Seldom, guesses: Seldom, request: Request, error: Exception) -> Response:
    """Starlette's handler for our errors. What an operator must act on is told to the log as well, a line a second of a kind."""
    if isinstance(error, TooManyFailures):
        guesses.tell("wrong API keys come again and again", address=request.client.host if request.client else "")
    elif not isinstance(error, NOT_FOR_THE_LOG):
        failures.tell("a request could not be answered", kind_of(error).slug, error=type(error).__name__)
    return problem_of(error)


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's handler for what it refuses by itself: unknown paths and wrong methods."""
    if not isinstance(error, HTTPException):
        raise error
    title = HTTP_TITLES.get(error.status_code, "Refused")
    # Starlette lists the methods of a set, in any order.
    headers = {name: ", ".join(sorted(value.split(", "))) for name, value in (error.headers or {}).items()}
    detail = NOTHING_AT_ROOT if request.url.path == "/" else f"{title}."
    return problem(error.status_code, title.lower().replace(" ", "-"), title, detail, headers)


def _headers_of(error: Exception) -> dict[str, str]:
    headers: dict[str, str] = {}
    match error:
        case errors.TryAgain() | TooManyFailures():
            headers["Retry-After"] = str(error.retry_after_s)
        case errors.WeMustFix() | StoreDamaged():
            headers["Retry-After"] = "60"
        case SQLAlchemyError():
            headers["Retry-After"] = "5"
        case Unauthenticated():
            headers["WWW-Authenticate"] = 'Bearer realm="ledger"'
        case MethodRefused():
            headers["Allow"] = "POST"
        case errors.LedgerError() if not isinstance(error, BODY_IS_NOT_READ):
            pass
        case _:
            headers["Connection"] = "close"  # as uvicorn does after an error that nobody expected
    return headers
