"""The HTTP server around the application: uvicorn, told how to listen and how to end."""

import asyncio
import errno
import logging
import os
import signal
import socket
from collections.abc import Callable
from types import FrameType

import structlog
import uvicorn
from starlette.types import ASGIApp

from api.app import app_of
from api.http.connection import Connection
from api.service import Service
from api.serving.interpreter import rare_collections, short_turns
from api.serving.open_files import OpenFiles
from api.serving.workers import Workers
from ledger.errors import SettingRefused, StoreUnavailable

BACKLOG = 2_048
DRAIN_S = 8
"""How long open requests may take after SIGTERM: Docker kills ten seconds after it."""
UNREAD_MS_MAX = 30_000
"""How long a client may take nothing of what is written to it, before the kernel ends its connection: else a reader that stands still
would keep its answer, and its place among the streams, for ever."""
WORKERS_END_WITHIN_S = 9.0
"""How long the processes that commit and project may take after SIGTERM, before they are killed."""

logger = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """uvicorn, with five differences.

    The service learns of the end before requests are waited for, because feed streams end only when they are told; a signal
    that was obeyed is not raised again, so that SIGTERM ends with status 0; somebody is told when it listens; it ends where one
    of its workers has ended; and it waits for their end only so long.
    """

    def __init__(self, config: uvicorn.Config, service: Service, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._on_listening = on_listening
        self.lost: str | None = None
        """What the worker did that has ended by itself."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, and tells."""
        await super().startup(sockets)
        if self.started:
            if self._service.workers is not None:
                for each in self._service.workers.each:
                    asyncio.get_running_loop().add_reader(each.ended, self._lose, each.what)
            self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tells the service, then waits for what is under way."""
        self._service.closing.set()
        self._service.appended.tell()
        if self._service.workers is not None:
            for each in self._service.workers.each:
                asyncio.get_running_loop().remove_reader(each.ended)
            asyncio.get_running_loop().call_later(WORKERS_END_WITHIN_S, self._kill, self._service.workers)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal ends it in order; a second Ctrl-C waits for nothing (what was answered is on disk all the same)."""
        del frame
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        if self.force_exit:
            # What is cut off now ends with a traceback each, to the last task of the event loop; nobody wants to read them.
            logging.getLogger("uvicorn.error").disabled = True
            if self._service.workers is not None:
                self._service.workers.kill()

    def _lose(self, what: str) -> None:
        if not self.force_exit:
            self.lost = self.lost or what
        self.should_exit = True

    def _kill(self, workers: Workers) -> None:
        logger.warning("who commits or projects has not ended in time and is killed; what was acknowledged is on disk")
        workers.kill()


def listening(host: str, port: int) -> socket.socket:
    """A listening socket, or SettingRefused naming what is wrong: so that it is known before anything else starts."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise SettingRefused(f"LEDGER_HOST: {host!r} is not an address of this machine ({error})") from None
    try:
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        is_taken = error.errno == errno.EADDRINUSE
        what_to_do = "; stop what listens there, or choose another port" if is_taken else ""
        reason = os.strerror(error.errno or 0)  # its own text repeats where
        raise SettingRefused(
            f"LEDGER_HOST, LEDGER_PORT: cannot listen on {host} port {port}: {reason}{what_to_do}"
        ) from None
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections have it of the socket that they came through
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS_MAX)
    return listener


def url_of(listener: socket.socket) -> str:
    """Where a socket listens, as a URL that works on this machine."""
    host, port = listener.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def server_of(service: Service, on_listening: Callable[[], None]) -> Server:
    """A server for a service; run it with `run_server`, or `await serve(sockets=[…])` on a loop of one's own."""
    app: ASGIApp = app_of(service)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whoever forges X-Forwarded-For would otherwise be taken for loopback
        backlog=BACKLOG,
        timeout_graceful_shutdown=DRAIN_S,
        callback_notify=OpenFiles().look,
        timeout_notify=0,  # with the date of the answers, every second
    )
    return Server(config, service, on_listening)


def run_server(server: Server, listener: socket.socket) -> None:
    """Serves until a signal, and returns when everything is drained and closed; StoreUnavailable where it cannot start."""
    with rare_collections(), short_turns(), asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        try:
            runner.run(server.serve(sockets=[listener]))
        except SystemExit:  # uvicorn's way to say that the application could not be started
            raise StoreUnavailable("the server could not be started; the lines above say why") from None
    if server.lost is not None:
        raise StoreUnavailable(
            f"the process that {server.lost} has ended, so the server did; what was acknowledged is on disk. Start it again"
        )
