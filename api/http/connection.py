"""One connection: uvicorn's HTTP/1.1 protocol, with the bounds that it does not have.

A head or a body that never ends, or comes a byte a minute, is refused; so is a connection that ends within a body. How large
a body may be is bounded in `api/http/bodies.py`, and what may come around it and behind it here. What uvicorn refuses by itself is
told in the same shape as every other refusal, and in a line of the log now and then rather than each time.
"""

import asyncio
import logging
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.http.bodies import BODY_BYTES_MAX, NOT_HTTP_BEHIND, TOO_SLOW
from api.http.paired_writes import PairedWrites
from api.http.problems import KINDS, PROBLEM_MEDIA_TYPE, problem_content
from ledger.outage import Outage

HEAD_BYTES_MAX = 64 * 1024
"""Of a head, and of what frames a body without being of it: the lines of chunks, and trailers."""
HEAD_DEADLINE_S = 10.0
BODY_DEADLINE_S = 10.0
BODY_PIECES_MAX = 8_192
"""Each costs about what a small request does: bodies in chunks of a byte would keep everybody else waiting."""
PIPELINED_MAX = 16
"""How many requests behind the one that is answered are taken. Each keeps a hundred times what it takes to send it."""
LINGERS_S_MAX, LINGERS_BYTES_MAX = 2.0, 1024 * 1024
"""How long, and for how much of it, the rest of a body is read that was refused."""
UNREAD_S_MAX = 5.0
"""How long an answer that nobody reads may keep a server that ends: uvicorn waits for it a few seconds longer, and then complains."""
TITLES = {kind.slug: kind.title for kind in KINDS.values()}
END_OF_HEAD = b"\r\n\r\n"
UPGRADE = re.compile(rb"(?<=\r\n)upgrade(?=[ \t]*:)", re.IGNORECASE)

logger = logging.getLogger(__name__)


class TakenEnough(Exception):
    """Stops the parser, within a piece of what came; never seen outside of this module."""


class Connection(HttpToolsProtocol):
    """A client's connection."""

    _malformed = Outage(logger, "")
    _running: RequestResponseCycle | None = None
    _head_is_open = True
    _head_is_with_the_parser = False
    _body_is_open = False
    _takes_no_more = False
    _is_lingering = _ends = False
    _framing_bytes = 0
    _body_pieces = 0
    _unwanted_bytes = 0
    _held_head = b""
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Gives a new connection some time to say what it wants."""
        super().connection_made(cast("asyncio.Transport", PairedWrites(transport, self.loop, self._begins_to_linger)))
        self._deadline = self.loop.call_later(HEAD_DEADLINE_S, self._head_too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the deadline, and tells who is being answered, which uvicorn tells the request that came last."""
        self._end_deadline()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads on; neither a head nor what frames a body may grow for ever, and neither may last for ever."""
        if self._takes_no_more:
            self._unwanted_bytes += len(data)
            if self._is_lingering and self._unwanted_bytes > LINGERS_BYTES_MAX:
                self.transport.close()
            return
        self._framing_bytes += len(data)
        if self._body_is_open or self._head_is_with_the_parser:
            self._parse(data)
        else:
            self._read_head(data)
        if self.transport.is_closing():
            return
        # Most deliveries come whole in one piece, and then cost no timer.
        if self._body_is_open and self._deadline is None:
            self._deadline = self.loop.call_later(BODY_DEADLINE_S, self._body_too_slow)
        elif self._head_is_open or self._framing_bytes > HEAD_BYTES_MAX:
            self._bound_the_framing()

    def _parse(self, data: bytes) -> None:
        """As uvicorn, which has a line of the log for everything that is not HTTP: a stranger could fill the disk with them."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not (self._takes_no_more or self.transport.is_closing()):
                self.send_400_response("")

    def _read_head(self, data: bytes) -> None:
        """Hands a head over whole, and with an offer of another protocol made unknown: a server may ignore it.

        The parser skips the body of a request that offers one, as Java's client does with every first request over HTTP, and
        without its body an authentic delivery would be refused. What cannot be a head is refused there at once.
        """
        data = (self._held_head + data).lstrip(b"\r\n")
        if not data:
            return  # as some send behind a body; it begins nothing
        self._head_is_open = True
        is_whole = END_OF_HEAD in data or not data[:1].isalpha()
        self._held_head = b"" if is_whole else data
        if is_whole:
            head, end, rest = data.partition(END_OF_HEAD)
            self._parse(UPGRADE.sub(b"upgrade-ignored", head) + end + rest if UPGRADE.search(head) else data)

    def _bound_the_framing(self) -> None:
        if self._framing_bytes > HEAD_BYTES_MAX:
            self._refuse_head()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_DEADLINE_S, self._head_too_slow)

    def _refuse_head(self) -> None:
        what = "The request line and the headers are" if self._head_is_open else "What frames the body is"
        self._refuse(431, "head-too-large", f"{what} larger than {HEAD_BYTES_MAX} bytes.")

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether there is still something to say to who sends nothing more.

        A body that ends before its announced length can never be completed, so the sender is told while it may still listen.
        """
        if self._body_is_open and not self.cycle.response_started and not self._takes_no_more:
            self._refuse(400, "body-cut-off", "The connection ended before the body did.")
        # What a POST did is told all the same. Who reads, a stream above all, ends that by going away, which begins in the same way.
        whole = self._unanswered()
        is_waiting = any(each.scope["method"] == "POST" for each in whole)
        if is_waiting:
            self._answer_no_more_than(whole)
        return is_waiting

    def _unanswered(self) -> list[RequestResponseCycle]:
        """The requests that came whole, in their order, without those that are answered."""
        waiting = [self._running, *(cycle for cycle, _ in reversed(self.pipeline))]
        return [
            each
            for each in waiting
            if each is not None and not each.response_complete and not (each is self.cycle and self._body_is_open)
        ]

    def _answer_no_more_than(self, whole: Sequence[RequestResponseCycle]) -> None:
        """The last of these is the last answer of this connection, and what came of another behind them is forgotten."""
        self._takes_no_more = True
        whole[-1].keep_alive = False
        for each in [each for each in self.pipeline if each[0] not in whole]:
            self.pipeline.remove(each)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 - uvicorn's own type
        """As uvicorn, and remembers which request is being answered: `cycle` is the one that came last."""
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_begin(self) -> None:
        """A head begins; what came in one piece with it may be the body before, and counts for neither."""
        if len(self.pipeline) >= PIPELINED_MAX:
            self._answer_no_more_than(self._unanswered())
            raise TakenEnough
        self._head_is_open = self._head_is_with_the_parser = True
        self._framing_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, without the white space behind it, which the parser leaves there. A trailer comes too late to be one."""
        if not self._body_is_open:
            super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        """A head ends: the next piece is of its body, which has a time of its own."""
        hosts, size_bytes, is_coded = 0, len(self.url), False
        for name, value in self.headers:
            size_bytes += len(name) + len(value) + len(b": \r\n")
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding":
                is_coded = is_coded or value.lower() != b"chunked"
        is_upgrade = self.parser.should_upgrade()  # in one piece with the request before it: the body would be skipped
        lacks_host = hosts != 1 and self.parser.get_http_version() == "1.1"
        if size_bytes > HEAD_BYTES_MAX:  # as it may have where it came in one piece with the body before it
            self._refuse_head()
            raise TakenEnough
        if is_upgrade or lacks_host or is_coded:  # a body in another coding would be taken for what it is not
            self.send_400_response("")
            raise TakenEnough  # its body is nobody's
        self._head_is_open = self._head_is_with_the_parser = False
        self._end_deadline()
        super().on_headers_complete()
        self._body_is_open = True
        self._body_pieces = self._unwanted_bytes = 0

    def on_body(self, body: bytes) -> None:
        """A piece of a body; what comes before the next one frames it."""
        self._framing_bytes = 0
        self._body_pieces += 1
        if self._body_pieces > BODY_PIECES_MAX:
            self._refuse(413, "body-too-large", f"The body comes in more than {BODY_PIECES_MAX} pieces.")
            raise TakenEnough
        if (
            self.cycle.response_complete
        ):  # it was refused, or nobody wants it: where it is small, the connection goes on
            self._unwanted_bytes += len(body)
            if self._unwanted_bytes > BODY_BYTES_MAX:
                self.transport.close()
                raise TakenEnough
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A body ends: the next piece begins a head."""
        self._body_is_open = False
        self._framing_bytes = 0
        self._end_deadline()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What is not HTTP."""
        del msg
        self._malformed.failed("malformed", "what came over a connection is not HTTP/1.1, and was refused")
        for last in self._unanswered()[-1:]:
            cast("dict[str, Any]", last.scope)[NOT_HTTP_BEHIND] = True
        self._refuse(400, "malformed-request", "This is not an HTTP/1.1 request.")

    def _head_too_slow(self) -> None:
        if self._unanswered():  # what came behind a request must not be answered before it
            self._deadline = self.loop.call_later(HEAD_DEADLINE_S, self._head_too_slow)
        elif not self.transport.is_closing():
            self._refuse(408, "head-too-slow", f"No whole request head arrived within {HEAD_DEADLINE_S:.0f} s.")

    def _body_too_slow(self) -> None:
        if self.cycle.response_started:  # refused already for another reason, or nobody wants the body
            self.transport.close()
        elif not self.transport.is_closing():
            detail = f"The body did not arrive within {BODY_DEADLINE_S:.0f} s."
            cast("dict[str, Any]", self.cycle.scope)[TOO_SLOW] = detail
            self._refuse(408, "body-too-slow", detail)

    def shutdown(self) -> None:
        """The server ends: what is written is still read, or the connection is cut. Nobody lingers any more."""
        self._ends = True
        if self._is_lingering:
            self.transport.close()
        super().shutdown()
        self.loop.call_later(UNREAD_S_MAX, self._cut_if_unread)

    def _cut_if_unread(self) -> None:
        if self.flow.write_paused:
            self.transport.abort()

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _begins_to_linger(self) -> bool:
        """Whether somebody still sends a body that was refused: closed at once, the connection is reset, and the answer lost."""
        if self._ends or self._takes_no_more or not self._body_is_open:
            return False
        self._takes_no_more = self._is_lingering = True
        self._end_deadline()
        self._deadline = self.loop.call_later(LINGERS_S_MAX, self.transport.close)
        return True

    def _refuse(self, status: int, slug: str, detail: str) -> None:
        """Refuses what comes at this moment, and closes. Whoever waits for another answer must not take this one for it."""
        if whole := self._unanswered():
            self._answer_no_more_than(whole)
        elif self._body_is_open and self.cycle.response_started:
            self.transport.close()
        elif not self.transport.is_closing():
            self._write_refusal(status, slug, detail)

    def _write_refusal(self, status: int, slug: str, detail: str) -> None:
        phrase = HTTPStatus(status).phrase
        content = problem_content(status, slug, TITLES.get(slug, phrase), detail)
        head = (
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: {PROBLEM_MEDIA_TYPE}\r\n"
            f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + content)
        self.transport.close()
