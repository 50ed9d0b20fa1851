"""Request ids: the client's own where it makes sense, else one of ours; answered, and on every log line of the request."""

import re
import secrets
from collections.abc import Iterable
from itertools import count

REQUEST_ID_HEADER = b"x-request-id"

_SANE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


class RequestIds:
    """The ids that one server gives. A new one costs no randomness: it is the server's own prefix and a number."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(4).encode("ascii")
        self._numbers = count(1)

    def of(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The id of a request with these headers, as ASGI gives them."""
        for name, value in headers:
            if name == REQUEST_ID_HEADER and _SANE.fullmatch(value):
                return value
        return b"%b-%x" % (self._prefix, next(self._numbers))
