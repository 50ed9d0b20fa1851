"""`ledger demo`: a server on a fresh embedded ledger, fed over HTTP by the simulated provider, and where to look then."""

import asyncio
import contextlib
import secrets
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import httpx2
import typer
from rich.console import Console

from api.audit.acts import Act
from api.command_line.endings import FINE, SOMETHING_WRONG
from api.command_line.sights import Sights, sights
from api.command_line.terminal import called_as, counted, progress_bar, said, to_stdout
from api.command_line.witnessing import entry_of
from api.logs import configure_logs
from api.service import Service
from api.serving.interpreter import short_turns
from api.serving.one_server import claimed
from api.serving.server import Server, listening, server_of, url_of
from api.settings import Settings
from api.simulator import Plan, Progress, Summary, simulate
from api.simulator.audit import Verdict
from api.simulator.summary import rendered
from api.verifying import outcome_of, verify_everything
from ledger.clock import now_us
from ledger.errors import SettingRefused
from ledger.signatures import Secret
from ledger.times import write_time

HOST, PORT = "127.0.0.1", 8080
MESSAGES, SEED, DUPLICATES = 300, 1, 0.2
BEGINS_AFTER_US = 2_000_000
"""Requests are handed over from the beginning on: what was promised is there before it becomes true."""
SECRET_BYTES = 16
LABEL_WIDTH = 19


def demo(
    *,
    ends: Annotated[bool, typer.Option("--exit", help="End after the summary, for scripts and CI.")] = False,
) -> None:
    """Try the ledger: nothing to set up, nothing to install.

    Starts a server on a fresh ledger in a new temporary folder, and a
    simulated Red Cloud that delivers 300 signed messages to it over HTTP:
    out of order, and every fifth webhook twice. Then tells what the ledger
    made of them and where to look, and stays up until Ctrl-C, in a terminal
    or not. Settings in the environment do not count here.

    For example:

    $ ledger demo

    $ ledger demo --exit

    Exit status: 0 the ledger holds every fact exactly once, and verifies;
    1 it does not.
    """
    configure_logs("warning", as_json=False)
    console = to_stdout()
    folder = Path(tempfile.mkdtemp(prefix="ledger-demo-"))
    file = folder / "ledger.db"
    secret = secrets.token_hex(SECRET_BYTES)
    settings = Settings(database_url=f"sqlite:///{file}", secrets=(Secret("demo", secret.encode()),))
    with free_listener() as listener, claimed(file), short_turns():
        stage = _Stage(console, url_of(listener), secret, settings.database_url, ends=ends)
        stage.tell("Fresh ledger", str(file))
        service = Service.open(settings)
        server = server_of(service, stage.opened.set)
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            fine = runner.run(stage.play(service, server, listener))
    stage.farewell(folder)
    raise typer.Exit(FINE if fine else SOMETHING_WRONG)


def free_listener() -> socket.socket:
    """Port 8080, or any other where that is taken."""
    try:
        return listening(HOST, PORT)
    except SettingRefused:
        return listening(HOST, 0)


class _Stage:
    """Where the play takes place and who tells it. `opened` is set once the server listens."""

    def __init__(self, console: Console, url: str, secret: str, database_url: str, *, ends: bool) -> None:
        self.opened = asyncio.Event()
        self._console = console
        self._url = url
        self._secret = secret
        self._database_url = database_url
        self._ends = ends

    def tell(self, what: str, detail: str) -> None:
        """One step of the story."""
        self._console.print(said(f"{what:<{LABEL_WIDTH}}", "bold"), said(detail), soft_wrap=True)

    async def play(self, service: Service, server: Server, listener: socket.socket) -> bool:
        """Server and story side by side; whether all was well. Ctrl-C ends both, whatever they are doing."""
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        telling = asyncio.create_task(self._story(service))
        await asyncio.wait({serving, telling}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling
            await serving
            return False
        server.should_exit = self._ends or telling.exception() is not None
        await serving
        return await telling

    async def _story(self, service: Service) -> bool:
        await self.opened.wait()
        other = "" if self._url.endswith(f":{PORT}") else f"port {PORT} is taken, so another one; "
        self.tell("Server", f"{self._url} ({other}this machine only; reading needs no API key)")
        self.tell(
            "Simulated Red Cloud",
            f"{MESSAGES} messages over HTTP: signed, out of order, every fifth webhook twice, as they happen",
        )
        summary = await self._deliver()
        self._console.print()
        self._console.print(rendered(summary), soft_wrap=True)
        self._console.print()
        verified = await asyncio.to_thread(verify_everything, service.ledger, service.trail)
        chain = "holds" if not verified.findings else f"is broken: {verified.findings[0]}"
        self.tell("Hash chain", f"{chain}, over {counted(verified.log.events, 'event')}")
        outcome, result = outcome_of(verified)
        await service.record(entry_of(Act.VERIFY, outcome=outcome, result=result))
        seen = await asyncio.to_thread(sights, service.ledger)
        self._tell_what_became(seen)
        if not self._ends:
            await self._tell_where_to_look(seen)
        return summary.fine and summary.audit.verdict is Verdict.YES and not verified.findings

    async def _deliver(self) -> Summary:
        plan = Plan(
            url=self._url,
            secret=self._secret,
            messages=MESSAGES,
            seed=SEED,
            start=write_time(now_us() + BEGINS_AFTER_US),
            live=True,
            shuffle=True,
            duplicates=DUPLICATES,
            sends=True,
        )
        with progress_bar("") as bar:
            if bar is None:
                return await simulate(plan)

            def show(progress: Progress) -> None:
                bar.show(progress.done, progress.total, progress.phase)

            return await simulate(plan, on_progress=show)

    def _tell_what_became(self, seen: Sights) -> None:
        outbound = ", ".join(f"{count} {status.value}" for status, count in seen.outbound.most_common())
        self.tell("Outbound messages", outbound)
        self.tell("Customers wrote", _inbound(seen))

    async def _tell_where_to_look(self, seen: Sights) -> None:
        self._console.print()
        self._console.print(said("Look around", "bold"), said("(the server stays up until Ctrl-C)", "dim"))
        for what, command, address in self._addresses(seen):
            if await _answers(address):
                self._point(what, command + address)
        self._point("every event, live", f"curl -sN {self._url}/feed/stream")
        self._console.print(said("In another terminal", "bold"), said("(commands work beside the server)", "dim"))
        self._point("", f"export LEDGER_DATABASE_URL={self._database_url}")
        for what, command in _commands(seen):
            self._point(what, f"{called_as()} {command}")

    def _addresses(self, seen: Sights) -> Iterator[tuple[str, str, str]]:
        yield "in a browser", "", f"{self._url}/console"
        if seen.failed is not None:
            yield "a failed message", "curl -s ", f"{self._url}/messages/{seen.failed}"
            yield "its full history", "curl -s ", f"{self._url}/messages/{seen.failed}/history"
        if seen.conversation is not None:
            yield "a conversation", "curl -s ", f"{self._url}/conversations/{seen.conversation}/messages"

    def farewell(self, folder: Path) -> None:
        """The folder is left, for who wants to look at it."""
        self._console.print()
        self._console.print(
            said(f"The server has ended. Its ledger is kept in {folder}; delete it when you like."), soft_wrap=True
        )

    def _point(self, what: str, how: str) -> None:
        self._console.print(said(f"  {what:<{LABEL_WIDTH - 2}}", "cyan"), said(how), soft_wrap=True)


def _commands(seen: Sights) -> Iterator[tuple[str, str]]:
    if seen.failed is not None:
        yield "why did it fail?", f"explain {seen.failed}"
    if seen.conversation is not None:
        yield "who wrote what?", f"conversation {seen.conversation}"
    yield "is any stuck?", "stuck"
    yield "is it untouched?", "verify"


def _inbound(seen: Sights) -> str:
    messages = counted(seen.conversations.total(), "message")
    return f"{messages} in {counted(len(seen.conversations), 'conversation')}"


async def _answers(url: str) -> bool:
    async with httpx2.AsyncClient(
        verify=False, trust_env=False
    ) as client:  # as in the simulator: no TLS on this machine
        with contextlib.suppress(httpx2.HTTPError):
            return (await client.get(url)).status_code < httpx2.codes.BAD_REQUEST
    return False
