"""Answers as JSON bytes, encoded once."""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

_encode = msgspec.json.Encoder().encode


def json_answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer. Reads are never cached by anything in between: they are personal data."""
    return Response(_encode(content), status, {"Cache-Control": "no-store"} | dict(headers or {}), "application/json")


def not_modified(etag: str) -> Response:
    """The client has this answer already."""
    return Response(None, 304, {"Cache-Control": "no-store", "ETag": etag})


def bytes_answer(content: bytes) -> Response:
    """Exact bytes as a download, so that no browser ever renders them."""
    headers = {
        "Content-Disposition": "attachment",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "no-store",
    }
    return Response(content, 200, headers, "application/octet-stream")
