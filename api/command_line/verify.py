"""`ledger verify`: whether what is stored is still what was recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import Progress, TaskID

from api.command_line.endings import SOMETHING_WRONG
from api.command_line.opening import opened
from api.command_line.terminal import AsJson, counted, print_json, progress_bar, said, to_stderr, to_stdout
from api.interpreter import rare_collections
from api.settings import read_settings
from ledger.errors import SettingRefused
from ledger.signatures import Secret
from ledger.verification import OnProgress, Verification
from ledger.verification import verify as verify_ledger


def verify(
    *,
    head: Annotated[
        list[str] | None,
        typer.Option(
            "--head",
            metavar="POSITION:HASH",
            help="A head that an earlier verification printed (repeatable): finds a tail that was cut off since.",
            show_default=False,
        ),
    ] = None,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Also read each body again, and check its signature by LEDGER_WEBHOOK_SECRETS."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Prove that nothing stored was changed, deleted, moved or cut off.

    Makes the hash of every event again, from the first to the last, and
    compares. Works beside a running server. Note the heads that it prints
    somewhere else, and hand them over the next time.

    For example:

    $ ledger verify

    $ ledger verify --deep --head 0-17:5d41…

    Exit status: 0 everything is as it was recorded; 1 something is not;
    2 wrong usage or settings.
    """
    with rare_collections(), opened() as ledger, _progress_shown() as on_progress:
        secrets = _secrets() if deep else ()
        found = verify_ledger(ledger, noted_heads=head or (), deep=deep, secrets=secrets, on_progress=on_progress)
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found, deep=deep)
    if found.findings:
        raise typer.Exit(SOMETHING_WRONG)


def _secrets() -> tuple[Secret, ...]:
    try:
        return read_settings().secrets or ()
    except SettingRefused as error:
        to_stderr().print(said(f"signatures are not checked: {error}", "yellow"))
        return ()


def _print(found: Verification, *, deep: bool) -> None:
    console = to_stdout()
    read = f"{counted(found.events, 'event')} in {counted(found.partitions, 'partition')}"
    signatures = f", {counted(found.signatures, 'signature')} checked again" if deep else ""
    if not found.findings:
        console.print(
            said("Everything is as it was recorded", "bold green"), said(f"({read}{signatures})"), soft_wrap=True
        )
    else:
        told = f"{counted(len(found.findings), 'finding')}: not everything is as it was recorded"
        console.print(said(told, "bold red"), said(f"({read}{signatures})"), soft_wrap=True)
    for finding in found.findings:
        console.print(said(f"  {finding}"), soft_wrap=True)
    if not found.findings:
        console.print(said("Note elsewhere, for the next time:"))
        for each in found.heads:
            console.print(said(f"  --head {each}", "bold"), soft_wrap=True)


def _as_json(found: Verification) -> dict[str, object]:
    return {
        "partitions": found.partitions,
        "events": found.events,
        "signatures": found.signatures,
        "heads": found.heads,
        "findings": [
            {"position": finding.position and str(finding.position), "message": finding.message}
            for finding in found.findings
        ],
    }


@contextmanager
def _progress_shown() -> Iterator[OnProgress | None]:
    with progress_bar("verifying") as progress:
        if progress is None:
            yield None
            return
        task = progress.add_task("", total=None, rate="")
        yield lambda done, total: _show(progress, task, done, total)


def _show(progress: Progress, task: TaskID, done: int, total: int) -> None:
    speed = progress.tasks[0].speed
    progress.update(task, completed=done, total=total, rate=f"{speed:,.0f} events/s" if speed else "")
