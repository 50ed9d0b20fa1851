"""The one place where a request leaves its entry in the audit trail: on disk before the answer leaves, or there is none.

What an entry is about is told only where something was found under it: whatever else stands in an address may be a number, or
a key that somebody put there by mistake.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from inspect import iscoroutinefunction
from typing import cast

import structlog
from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller
from api.audit.acts import BY_A_NUMBER, LEAVES, Act, Leaves, Way, shows_nothing
from api.audit.asked import asked_in_short, subject_in_short
from api.errors import Forbidden, ProjectorSilent
from api.http.problems import kind_of
from api.http.questions import path_text
from api.service import ANSWERS_WITHIN_S, Service
from api.serving.threads import in_time
from ledger.audit.entries import AuditEntry
from ledger.audit.writer import until_written
from ledger.errors import QueueFull, ShuttingDown
from projections.errors import RebuildRunning

NOBODY = Caller("nobody", frozenset())

Ask = Callable[[], Response] | Callable[[], Awaitable[Response]]
"""What makes an answer: a plain function runs in a thread, because it asks the database."""


def tell(request: Request, *, holder: str | None = None, subject: str | None = None, **result: object) -> None:
    """What only the handler knows of its request: how many items it shows, and whom or what it was about."""
    request.state.told = (holder, subject, result)


@dataclass(frozen=True, slots=True)
class Witness:
    """Sees one request to its end. `asked` are its parameters, besides the ids in its path."""

    service: Service
    way: Way
    act: Act
    caller: Caller
    request: Request
    asked: Mapping[str, object]

    async def sees(self, let_in: Awaitable[None], ask: Ask) -> Response:
        """The answer to who is let in, once its entry is on disk where it owes one.

        StoreUnavailable where that cannot be, and where a question is not answered in time. A thread that asks writes the entry as
        well, unless another writes some just then.
        """
        try:
            await let_in
            if iscoroutinefunction(ask):
                response, written = self._answered(await cast("Awaitable[Response]", ask()), self.service.audit.submit)
            else:
                asked = asyncio.to_thread(lambda: self._answered(cast("Response", ask()), self.service.audit.write))
                is_question = self.request.method in {"GET", "HEAD"}
                response, written = await (in_time(asked, ANSWERS_WITHIN_S) if is_question else asked)
        except Exception as error:
            if self._is_known() and (isinstance(error, Forbidden) or LEAVES[self.act] is Leaves.ALWAYS):
                await self.service.record(
                    self._entry(kind_of(error).slug, is_found=isinstance(error, RebuildRunning | ProjectorSilent))
                )
            raise
        if written is not None:
            await until_written(written)
        return response

    def ended(self, **result: object) -> None:
        """What came of a stream, noted after its end; that it was opened is on disk since before its first byte."""
        if self._is_owed(HTTPStatus.OK):
            with suppress(QueueFull, ShuttingDown):
                self.service.audit.submit(self._entry("ended", is_found=True, result=result))

    def _answered(
        self, response: Response, write: Callable[[AuditEntry], Future[None]]
    ) -> tuple[Response, Future[None] | None]:
        """An answer, and the entry that it has to wait for."""
        if not self._is_owed(response.status_code):
            return response, None
        is_done = response.status_code < HTTPStatus.BAD_REQUEST
        outcome = "done" if is_done else HTTPStatus(response.status_code).phrase.lower().replace(" ", "-")
        return response, write(self._entry(outcome, is_found=is_done))

    def _is_owed(self, status: int) -> bool:
        match LEAVES[self.act]:
            case Leaves.WHEN_SHOWN:
                is_answer = status == HTTPStatus.OK and self.request.method != "HEAD"
                is_shown = not self.caller.is_masked or any(self.asked.get(name) for name in BY_A_NUMBER)
                return is_answer and is_shown and not shows_nothing(self._told()[2])
            case Leaves.ALWAYS:
                return self._is_known()
            case Leaves.NOTHING:
                return False

    def _is_known(self) -> bool:
        """Whether somebody did it whom a key names: who has none must not be able to fill the trail."""
        return self._told()[0] is not None or self.caller is not NOBODY

    def _entry(self, outcome: str, *, is_found: bool, result: dict[str, object] | None = None) -> AuditEntry:
        holder, subject, told = self._told()
        in_path, others = self._ids() if is_found else (None, {})
        about = (subject or in_path) if is_found else None
        return AuditEntry(
            at_us=self.service.now_us(),
            holder=holder or self.caller.name,
            way=self.way.value,
            act=self.act.value,
            subject=None if about is None else subject_in_short(about),
            asked=asked_in_short({**others, **self.asked}) if is_found else {},
            outcome=outcome,
            result=told if result is None else result,
            request_id=structlog.contextvars.get_contextvars().get("request_id"),
        )

    def _told(self) -> tuple[str | None, str | None, dict[str, object]]:
        told: tuple[str | None, str | None, dict[str, object]] = getattr(self.request.state, "told", (None, None, {}))
        return told

    def _ids(self) -> tuple[str | None, dict[str, str]]:
        """The first id in the path, which is what the request is about, and the others."""
        ids = {name: path_text(self.request, name) for name in self.request.path_params}
        first = next(iter(ids), None)
        return (None, {}) if first is None else (ids.pop(first), ids)
