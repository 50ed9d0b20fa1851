"""Reading a request's body: within a size, uncompressed. How long it may take is bounded in `api/http/connection.py`, which says so."""

from starlette.types import Receive, Scope

from api.errors import BodyCutOff, BodyTooLarge, BodyTooSlow, EncodingRefused

BODY_BYTES_MAX = 256 * 1024
CONTENT_LENGTH_DIGITS_MAX = 20
TOO_SLOW = "ledger.body_too_slow"
"""The member of a scope by which the connection says why it ended within a body."""
NOT_HTTP_BEHIND = "ledger.not_http_behind"
"""The member of a scope by which the connection says that what came behind the body is no request."""


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body; BodyTooLarge, BodyTooSlow, BodyCutOff or EncodingRefused. Little more than the limit is ever held."""
    is_identity = True
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:CONTENT_LENGTH_DIGITS_MAX]) > BODY_BYTES_MAX:
            raise _too_large()  # none of it is read
        if name == b"content-encoding":
            is_identity = is_identity and value.strip().lower() in {b"identity", b""}
    body = await _read(scope, receive)
    if not is_identity:
        raise EncodingRefused("send the body as it was signed: Content-Encoding must be identity or absent")
    return body


async def _read(scope: Scope, receive: Receive) -> bytes:
    chunks: list[bytes] = []
    body_bytes = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            if TOO_SLOW in scope:
                raise BodyTooSlow(scope[TOO_SLOW])
            raise BodyCutOff("the connection ended before the body did")
        chunk: bytes = message.get("body", b"")
        body_bytes += len(chunk)
        if body_bytes > BODY_BYTES_MAX:
            raise _too_large()
        chunks.append(chunk)
        if not message.get("more_body"):
            return chunk if len(chunks) == 1 else b"".join(chunks)


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {BODY_BYTES_MAX} bytes")
