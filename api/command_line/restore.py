"""`ledger restore`: puts a backup in the place of an embedded ledger that nobody serves."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from api.audit.acts import Act
from api.command_line.endings import line_of
from api.command_line.opening import file_of
from api.command_line.terminal import AsJson, counted, print_json, said, to_stderr, to_stdout
from api.command_line.witnessing import note
from api.serving.one_server import claimed_whatever_it_is
from api.settings import read_database_url
from ledger.backups.restore import Restored
from ledger.backups.restore import restore as restore_file
from ledger.errors import LedgerError, SettingRefused
from ledger.verification import NotedHead
from ledger.verification.findings import count_of


def restore(
    file: Annotated[Path, typer.Argument(help="What `ledger backup` made.", show_default=False)],
    *,
    accept_findings: Annotated[
        bool,
        typer.Option("--accept-findings", help="Take a backup although `ledger verify` would find something in it."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of the ledger, once the server is stopped.

    It is verified first: one that is damaged changes nothing, nor does one
    that is not what was recorded, without --accept-findings.
    What was there before, with its read models, is put aside under another
    name and never deleted. The audit trail that is there stays if it is whole; else that of
    the backup, which lies beside it with .audit after its name, takes its
    place. The read models are made again from the log by `ledger serve`.
    The backup is compared with the heads that both trails note; one that its
    own trail contradicts is not what was recorded.

    For example:

    $ ledger restore /backups/ledger-2026-11-23.db

    Exit status: 0 restored; 2 it cannot be (a server runs, it is no whole
    backup, or the ledger is in PostgreSQL: use pg_restore).
    """
    target = file_of(read_database_url())
    if target is None:
        raise SettingRefused(
            "this ledger is in PostgreSQL: restore it with pg_restore (docs/deploy/backup.md says how)"
        )
    target = target.resolve()
    with claimed_whatever_it_is(target):
        restored = restore_file(
            file, target, datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"), accepts_findings=accept_findings
        )
        found = count_of(restored.findings)
        try:
            note(Act.RESTORE, heads=restored.heads, trailStayed=restored.trail_stayed, findings=found)
        except (LedgerError, SQLAlchemyError) as error:  # it is done all the same
            to_stderr().print(
                said(f"the audit trail does not know of this: {line_of(error)}", "yellow"), soft_wrap=True
            )
    if as_json:
        print_json(_as_json(target, restored))
    else:
        _print(target, restored)


def _as_json(target: Path, restored: Restored) -> dict[str, object]:
    return {
        "file": str(target),
        "heads": restored.heads,
        "replaced": None if restored.aside is None else str(restored.aside),
        "auditTrailStayed": restored.trail_stayed,
        "headsBeyond": [_noted(head) for head in restored.beyond],
        "headsOtherwise": [_noted(head) for head in restored.otherwise],
        "findings": count_of(restored.findings),
        "replacedAnotherLedger": restored.replaced_another,
    }


def _noted(head: NotedHead) -> dict[str, object]:
    return {"head": str(head), "notedIn": head.noted_in}


def _print(target: Path, restored: Restored) -> None:
    console = to_stdout()
    console.print(said(f"{target} is the backup now. It ends at {_ends(restored.heads)}."), soft_wrap=True)
    if restored.findings:
        told = f"{counted(count_of(restored.findings), 'finding')} accepted: not everything is as it was recorded."
        console.print(said(told, "bold red"), soft_wrap=True)
    for head in restored.otherwise:
        told = f"The audit trail notes another event at {head.position} ({head.noted_in}): one of the two was written anew."
        console.print(said(told, "bold red"), soft_wrap=True)
    if restored.beyond:
        last = restored.beyond[-1]
        told = f"The audit trail notes {last.position} ({last.noted_in}): what came after the backup is not in it."
        console.print(said(told, "yellow"), soft_wrap=True)
    # Its own heads would prove nothing: whoever wrote the backup anew wrote them.
    console.print(
        said("Prove it with a head that was noted elsewhere when the backup was made, or before:"), soft_wrap=True
    )
    console.print(said("  ledger verify --head POSITION:HASH", "bold"))
    if restored.aside is not None and not restored.trail_stayed:
        told = "The audit trail that was there is missing, damaged or another ledger's, and did not stay."
        console.print(said(told, "yellow"), soft_wrap=True)
    if restored.replaced_another:
        told = "This is a backup of another ledger than the one that was there."
        console.print(said(told, "bold red"), soft_wrap=True)
    if restored.aside is not None:
        console.print(said(f"What was there is {restored.aside} and what stands beside it."), soft_wrap=True)


def _ends(heads: Sequence[str]) -> str:
    return ", ".join(head.partition(":")[0] for head in heads)
