"""`ledger backup`: a copy of an embedded ledger and of its audit trail, beside a running server."""

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from api.audit.acts import Act
from api.command_line.endings import SOMETHING_WRONG
from api.command_line.opening import opened
from api.command_line.terminal import AsJson, counted, print_json, progress_bar, said, to_stderr, to_stdout
from api.command_line.witnessing import administering
from api.serving.interpreter import rare_collections
from ledger.audit.trail import AuditTrail
from ledger.backups.backup import back_up, expect_free
from ledger.backups.proof import Named, Proof, proved
from ledger.errors import LedgerError, StoreUnavailable
from ledger.store.place import TRAIL
from ledger.verification.findings import count_of

NO_BACKUP = (
    "no backup was made; keep the older ones and what is there, and see `ledger verify` and docs/deploy/backup.md"
)
TERMINATED = 128 + signal.SIGTERM
"""As shells say it of a program that SIGTERM ended."""


def backup(
    file: Annotated[
        Path, typer.Argument(help="The file to make; there must be none of that name.", show_default=False)
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Copy an embedded ledger to a file, while the server goes on.

    The copy is complete up to one commit, and on disk when this ends. Beside
    it, under its name with .audit, is that of the audit trail. Both are
    verified: of a log that is damaged no backup is made, so that it never
    takes the place of a good one. Of one that is whole, but not what was
    recorded, one is made, and what was found is told. It has no read models:
    `ledger serve` makes them again from the log. Note the heads that this
    prints: `ledger verify --head` proves the copy with them.

    For example:

    $ ledger backup /backups/ledger-2026-11-23.db

    Exit status: 0 made; 1 made, and not everything in it is as it was
    recorded; 2 it cannot be made (there is such a file already, no
    ledger, what is there is damaged, or it is in PostgreSQL: use pg_dump).
    """
    with (
        _ended_by_sigterm(),
        rare_collections(),
        opened() as ledger,
        closing(AuditTrail.open(ledger)),
        _kept_if_noted() as made,
        administering(Act.BACKUP) as result,
    ):
        log = expect_free(ledger.database, file)
        trail = log.with_name(log.name + TRAIL)
        with progress_bar("verifying the copy") as bar:
            named, on_progress = Named(log, trail, NO_BACKUP), None if bar is None else bar.show
            proof = back_up(
                log, trail, file, lambda log_copy, trail_copy: proved(log_copy, trail_copy, named, on_progress)
            )
        made += [file, file.with_name(file.name + TRAIL)]
        result |= {
            "to": str(file.absolute()),
            "heads": proof.heads,
            "auditHead": proof.audit_head,
            "findings": count_of(proof.findings),
        }
    if as_json:
        print_json(_as_json(file, proof))
    else:
        _print(file, proof)
    if proof.findings:
        told = f"{proof.told}. The backup was made all the same: `ledger verify` names all of it, and docs/RUNBOOK.md what to do"
        to_stderr().print(said(told, "bold red"), soft_wrap=True)
        raise typer.Exit(SOMETHING_WRONG)


def _as_json(file: Path, proof: Proof) -> dict[str, object]:
    return {
        "file": str(file),
        "heads": proof.heads,
        "events": proof.events,
        "auditFile": str(file.with_name(file.name + TRAIL)),
        "auditHead": proof.audit_head,
        "auditEntries": proof.audit_entries,
        "findings": count_of(proof.findings),
    }


def _print(file: Path, proof: Proof) -> None:
    console = to_stdout()
    console.print(
        said(f"{file} and {file.name}{TRAIL} hold everything up to these heads; note them elsewhere:"), soft_wrap=True
    )
    for head in (*proof.heads, proof.audit_head):
        console.print(said(f"  --head {head}", "bold"), soft_wrap=True)
    read = f"{counted(proof.events, 'event')}, {counted(proof.audit_entries, 'entry', 'entries')} of the audit trail"
    if proof.findings:
        found = counted(count_of(proof.findings), "finding")
        verdict = said(
            f"Both were verified: {found}, so not everything in them is as it was recorded ({read}).", "bold red"
        )
    else:
        verdict = said(f"Both were verified: everything in them is as it was recorded ({read}).", "green")
    console.print(verdict, soft_wrap=True)


@contextmanager
def _kept_if_noted() -> Iterator[list[Path]]:
    """What was made is removed where the audit trail cannot have its entry: a copy shows everything to whoever has it."""
    made: list[Path] = []
    try:
        yield made
    except BaseException as error:
        for each in made:
            each.unlink(missing_ok=True)
        if made and isinstance(error, LedgerError):
            raise StoreUnavailable(f"no backup was made, because a backup is noted: {error}") from error
        raise


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM, as of a unit that is stopped, is an exception like Ctrl-C, so that nothing unfinished stays."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
