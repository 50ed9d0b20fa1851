"""The ceiling of the server and the load generator: reads the body, answers, knows nothing."""

from starlette.types import ASGIApp, Receive, Scope, Send

CONTENT = b'{"outcome":"recorded","messageId":"msg_0123456789abcdef01234567","version":1,"position":"0-100000"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(CONTENT))]


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 202, "headers": HEADERS})
    await send({"type": "http.response.body", "body": CONTENT})


def create_app() -> ASGIApp:
    """The application."""
    return _answer
