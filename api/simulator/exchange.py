"""One request to the server under test and what came back. Knows HTTP; knows nothing of messages."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import httpx2
import msgspec

from api.simulator.plan import Plan

ANSWER_TIMEOUT_S = 30.0
# uvicorn closes idle connections after five seconds; ours must go first, or a reset counts as a failed attempt.
IDLE_CONNECTION_S = 4.0
UNREADABLE = "unreadable"

Headers = Sequence[tuple[bytes, bytes]]


class _Outcome(msgspec.Struct):
    outcome: str


_OUTCOME = msgspec.json.Decoder(_Outcome)


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is None where nothing came back: connection refused or reset, or no answer in time; `reason` says which."""

    status: int | None
    body: bytes = b""
    reason: str = ""

    @property
    def acknowledged(self) -> bool:
        """Whether the server took it: any 2xx."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - what "2xx" means

    @property
    def outcome(self) -> str:
        """The `outcome` that the answer names, or `unreadable`."""
        try:
            return _OUTCOME.decode(self.body).outcome
        except msgspec.DecodeError:
            return UNREADABLE


class Server:
    """The server under test, over keep-alive HTTP/1.1 connections. Use as `async with`."""

    def __init__(self, plan: Plan) -> None:
        limits = httpx2.Limits(max_connections=None, keepalive_expiry=IDLE_CONNECTION_S)
        self._base = httpx2.URL(plan.url.rstrip("/"))
        # Without TLS there is nothing to verify, and reading the trust store would take longer than a small run.
        verify = self._base.scheme == "https"
        # No proxy from the environment: what is measured and audited is the URL that was given.
        self._client = httpx2.AsyncClient(limits=limits, timeout=ANSWER_TIMEOUT_S, verify=verify, trust_env=False)
        self._bearer = [] if plan.api_key is None else [(b"Authorization", f"Bearer {plan.api_key}".encode("ascii"))]

    def url(self, raw_path: str) -> httpx2.URL:
        """The URL of a percent-encoded path below the base."""
        return self._base.copy_with(raw_path=self._base.raw_path.rstrip(b"/") + raw_path.encode("ascii"))

    async def post(self, url: httpx2.URL, body: bytes, headers: Headers) -> Answer:
        """The answer to a JSON body, with just these headers."""
        json_headers = [(b"Content-Type", b"application/json"), *headers]
        return await self._answer(httpx2.Request("POST", url, headers=json_headers, content=body))

    async def post_with_key(self, url: httpx2.URL, body: bytes) -> Answer:
        """The answer to a JSON body, with the API key if there is one."""
        return await self.post(url, body, self._bearer)

    async def get_with_key(self, url: httpx2.URL) -> Answer:
        """The answer to a question, with the API key if there is one."""
        return await self._answer(httpx2.Request("GET", url, headers=self._bearer))

    async def _answer(self, request: httpx2.Request) -> Answer:
        try:
            response = await self._client.send(request)
        except httpx2.RequestError as error:
            return Answer(None, reason=_reason(error))
        return Answer(response.status_code, response.content)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()


def _reason(error: BaseException) -> str:
    """What the system said, below what libraries made of it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


async def stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    """Waits so long, or until the run is to stop; says whether it is."""
    until_s = time.perf_counter() + seconds
    # Once more for what is left: uvloop's timers count whole milliseconds, and what is told must not come before it happened.
    while not stop.is_set() and (left_s := until_s - time.perf_counter()) > 0:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), left_s)
    return stop.is_set()
