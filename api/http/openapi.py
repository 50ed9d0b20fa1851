"""GET /openapi.json: the table of routes as OpenAPI 3.1. Nothing is described here that the table does not say."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.access import Scope
from api.http.described import Answer, Content, Description, Parameter
from api.http.problems import PROBLEM_MEDIA_TYPE
from api.http.routing import Guarded, Open, Signed
from api.program_version import program_version
from api.service import Service
from api.shapes import Problem

JSON = dict[str, Any]
AnyRoute = Guarded | Open | Signed

SCHEMA_REF = "#/components/schemas/{name}"
GUARDED_PROBLEMS = (400, 401, 403, 429, 503)
"""What every route with a key may answer: an odd parameter, no key, not this scope, too many wrong keys, no database."""

HEADERS: dict[str, JSON] = {
    "X-Request-Id": {
        "description": "The client's own, where it sent one that makes sense; the log of the server names it.",
        "schema": {"type": "string"},
    },
    "ETag": {"description": "The position that the answer holds up to, quoted.", "schema": {"type": "string"}},
    "Location": {"description": "Where to look.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "WWW-Authenticate": {"description": "How to show a key.", "schema": {"type": "string"}},
}
EVERYWHERE = ("X-Request-Id",)
HEADERS_OF_PROBLEMS = {429: ("Retry-After",), 503: ("Retry-After",), 504: ("Retry-After",)}

SECURITY_SCHEMES: dict[str, JSON] = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key. `admin` includes every scope."},
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "X-RedCloud-Signature",
        "description": 'Lower-case hex of HMAC-SHA256(secret, timestamp + "." + body).',
    },
    "timestamp": {
        "type": "apiKey",
        "in": "header",
        "name": "X-RedCloud-Timestamp",
        "description": "At most 13 digits (Unix seconds; milliseconds from 12 digits up), or RFC 3339.",
    },
}
INFO: JSON = {
    "title": "Lifecycle ledger",
    "summary": "An append-only ledger of Red Cloud's webhooks, and the read models built from it.",
    "description": "Whatever answers GET answers HEAD as well; every other method is 405. Positions are text. What the connection"
    " itself refuses, such as 400, 408 and 431, may answer any request, and is not repeated at every route.",
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}


async def get_openapi(_service: Service, request: Request) -> Response:
    """The description, which was written when the server started."""
    content: bytes = request.app.state.openapi
    return Response(content, 200, {"Cache-Control": "public, max-age=3600"}, "application/json")


def openapi_document(routes: Iterable[AnyRoute]) -> JSON:
    """Routes as an OpenAPI document."""
    told = list(routes)
    schemas, components = _schemas(told)
    paths: dict[str, JSON] = {}
    for route in told:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": INFO | {"version": program_version()},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components, "headers": HEADERS, "securitySchemes": SECURITY_SCHEMES},
    }


def _schemas(routes: Sequence[AnyRoute]) -> tuple[dict[int, JSON], JSON]:
    """The schema of every shape by its id, and the named schemas that these refer to."""
    shapes = [shape for route in routes for shape in _shapes_of(route.description)]
    schemas, components = msgspec.json.schema_components([Problem, *shapes], ref_template=SCHEMA_REF)
    return {id(shape): schema for shape, schema in zip([Problem, *shapes], schemas, strict=True)}, components


def _shapes_of(description: Description) -> Iterable[object]:
    yield from (parameter.shape for parameter in description.parameters)
    yield from (content.shape for content in _contents_of(description))


def _contents_of(description: Description) -> Iterable[Content]:
    yield from (answer.content for answer in description.answers if answer.content is not None)
    if description.body is not None:
        yield description.body


def _operation(route: AnyRoute, schemas: dict[int, JSON]) -> JSON:
    description = route.description
    operation: JSON = {
        "operationId": operation_id(route),
        "summary": description.summary,
        "tags": [description.group],
        "parameters": [_parameter(parameter, schemas) for parameter in description.parameters],
        "responses": _responses(route, schemas),
        "security": _security(route),
    }
    if description.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(description.body, schemas)}
    return operation


def operation_id(route: AnyRoute) -> str:
    """A name for programs that are generated: `get_messages_messageId`."""
    words = route.path.replace("{", "").replace("}", "").replace(".", "_").replace("-", "_").split("/")
    return "_".join([route.method.lower(), *filter(None, words)])


def _parameter(parameter: Parameter, schemas: dict[int, JSON]) -> JSON:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": schemas[id(parameter.shape)],
    }


def _responses(route: AnyRoute, schemas: dict[int, JSON]) -> JSON:
    told = {str(answer.status): _answer(answer, schemas) for answer in route.description.answers}
    problems = route.description.problems + (GUARDED_PROBLEMS if isinstance(route, Guarded) else ())
    for status in sorted(problems):
        told[str(status)] = _problem(status, is_guarded=isinstance(route, Guarded), schemas=schemas)
    return told


def _answer(answer: Answer, schemas: dict[int, JSON]) -> JSON:
    told: JSON = {"description": answer.description, "headers": _headers((*EVERYWHERE, *answer.headers))}
    if answer.content is not None:
        told["content"] = _content(answer.content, schemas)
    return told


def _problem(status: int, *, is_guarded: bool, schemas: dict[int, JSON]) -> JSON:
    names = (*EVERYWHERE, *HEADERS_OF_PROBLEMS.get(status, ()))
    if is_guarded and status == HTTPStatus.UNAUTHORIZED:
        names = (*names, "WWW-Authenticate")
    return {
        "description": f"{HTTPStatus(status).phrase}.",
        "headers": _headers(names),
        "content": {PROBLEM_MEDIA_TYPE: {"schema": schemas[id(Problem)]}},
    }


def _headers(names: Iterable[str]) -> JSON:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _content(content: Content, schemas: dict[int, JSON]) -> JSON:
    # Bytes are no JSON string in base64: OpenAPI 3.1 describes them by their media type alone.
    schema = {} if content.shape is bytes else schemas[id(content.shape)]
    return {content.media_type: {"schema": schema}}


def _security(route: AnyRoute) -> list[JSON]:
    match route:
        case Signed():
            return [{"signature": [], "timestamp": []}]
        case Guarded(scope=Scope.MASKED):
            return [{"key": [Scope.READ.value]}, {"key": [Scope.MASKED.value]}]
        case Guarded(scope=scope):
            return [{"key": [scope.value]}]
        case Open():
            return []
