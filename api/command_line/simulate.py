"""`ledger simulate`: plays Red Cloud against a running server, then audits what its ledger holds."""

import asyncio
import json
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from api.command_line.endings import SOMETHING_WRONG
from api.command_line.terminal import to_stderr, to_stdout
from api.simulator import plan as plans
from api.simulator import simulation
from api.simulator.plan import Plan
from api.simulator.summary import Summary, rendered
from api.simulator.tempo import NATURAL
from ledger.clock import now_us
from ledger.times import write_time

SEED_BITS = 32


def simulate(  # noqa: PLR0913 - each parameter is an option of the command
    *,
    url: Annotated[str, typer.Option(help="The server's base URL, such as http://127.0.0.1:8080.")],
    secret: Annotated[
        str,
        typer.Option(help="What to sign with: `id:secret` as in LEDGER_WEBHOOK_SECRETS, or the secret alone."),
    ],
    messages: Annotated[
        int, typer.Option(help=f"How many messages, outbound and inbound together (1 to {plans.MESSAGES_MAX}).")
    ],
    seed: Annotated[
        int | None,
        typer.Option(help="The same seed makes the same facts, byte for byte. Default: a new one.", show_default=False),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help=f"When the first message happened (RFC 3339). Default: {plans.START_DEFAULT} with --seed, else so that the last"
            " one happens about now.",
            show_default=False,
        ),
    ] = None,
    inbound: Annotated[float, typer.Option(help="Share of messages that come from customers, 0 to 1.")] = 0.2,
    shuffle: Annotated[
        bool, typer.Option("--shuffle", help="Deliver out of order: most a few places away, one in ten anywhere.")
    ] = False,
    duplicates: Annotated[
        float, typer.Option(help="Share of facts delivered again, sometimes spelled or signed otherwise, 0 to 1.")
    ] = 0.0,
    drop: Annotated[float, typer.Option(help="Share of facts that are never delivered, 0 to 1.")] = 0.0,
    rate: Annotated[
        float | None,
        typer.Option(help="Deliveries begun each second. Default: as fast as they are answered.", show_default=False),
    ] = None,
    connections: Annotated[int, typer.Option(help=f"Attempts under way at once (1 to {plans.CONNECTIONS_MAX}).")] = 16,
    speed_up: Annotated[
        float,
        typer.Option(help="Divides the waits of 1, 5, 15 and 60 minutes between attempts; 486: 10 s in all."),
    ] = plans.SPEED_UP_DEFAULT,
    sends: Annotated[
        bool,
        typer.Option(
            "--sends", help="Hand over the outbound requests with POST /sends, too (needs a key with scope write)."
        ),
    ] = False,
    audit: Annotated[
        bool, typer.Option(help="Read every history afterwards and compare (needs a key with scope read).")
    ] = True,
    api_key: Annotated[
        str | None,
        typer.Option(help="For --sends and --audit, if the server asks for one.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Play Red Cloud against a running server, then audit what its ledger holds.

    Most messages are ordinary; a few have holes, conflicts, repetitions,
    unknown kinds, odd texts and undocumented failure details. Whatever is
    not answered 2xx is tried again on the provider's schedule, so the server
    may be killed and restarted in the middle. Ctrl-C ends early, with the
    summary of what happened so far.

    With the same --seed, --messages, --inbound, --start and --drop as before,
    everything is a duplicate.

    Afterwards it tells whether everything that was acknowledged is there,
    exactly once, and what became of facts that were refused, or got no
    answer, five times: Red Cloud would never deliver those again.

    Exit status: 0 everything acknowledged is there exactly once, or nobody
    could look; 1 it is not, something else is there, or a delivery was
    refused to the end or quarantined; 2 wrong usage.
    """
    plan = Plan(
        url=url,
        secret=secret,
        messages=messages,
        seed=secrets.randbits(SEED_BITS) if seed is None else seed,
        start=_start_default(messages, seed) if start is None else start,
        inbound=inbound,
        shuffle=shuffle,
        duplicates=duplicates,
        drop=drop,
        rate=rate,
        connections=connections,
        speed_up=speed_up,
        sends=sends,
        audit=audit,
        api_key=api_key,
    )
    with _progress_shown() as on_progress, asyncio.Runner(loop_factory=_new_event_loop) as runner:
        summary = runner.run(_stoppable(plan, on_progress))
    _print(summary, as_json=as_json)
    if not summary.fine:
        raise typer.Exit(SOMETHING_WRONG)


def _start_default(messages: int, seed: int | None) -> str:
    """A seed alone decides every byte; whoever gives none looks at times around now."""
    return plans.START_DEFAULT if seed is not None else write_time(now_us() - messages * NATURAL.message_gap_us)


async def _stoppable(plan: Plan, on_progress: simulation.OnProgress | None) -> Summary:
    """Ctrl-C and SIGTERM end the run early; the second of them ends it at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stopped(signal_number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(signal_number)

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, stopped, signal_number)
    try:
        return await simulation.simulate(plan, on_progress=on_progress, stop=stop)
    finally:
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(signal_number)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """The fast event loop, where there is one."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


@contextmanager
def _progress_shown() -> Iterator[simulation.OnProgress | None]:
    """A bar on stderr for each phase, if somebody is looking."""
    if not to_stderr().is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=to_stderr()) as bars:
        tasks = {phase: bars.add_task(phase, total=None, visible=False) for phase in simulation.PHASES}
        yield lambda progress: bars.update(
            tasks[progress.phase], completed=progress.done, total=progress.total, visible=True
        )


def _print(summary: Summary, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(summary.as_json(), indent=2, ensure_ascii=False))
    else:
        to_stdout().print(rendered(summary), soft_wrap=True)
