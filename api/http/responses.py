"""Answers as JSON bytes, encoded once."""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

_encode = msgspec.json.Encoder().encode

FOR_THE_CALLER = {"Cache-Control": "no-store", "Vary": "Authorization"}
"""Never kept by anything in between: reads are personal data, and what they show depends on the scopes of the key."""


def json_answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(_encode(content), status, FOR_THE_CALLER | dict(headers or {}), "application/json")


def not_modified(etag: str) -> Response:
    """The client has this answer already."""
    return Response(None, 304, FOR_THE_CALLER | {"ETag": etag})


def bytes_answer(content: bytes) -> Response:
    """Exact bytes as a download, so that no browser ever renders them."""
    headers = FOR_THE_CALLER | {
        "Content-Disposition": "attachment",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return Response(content, 200, headers, "application/octet-stream")
