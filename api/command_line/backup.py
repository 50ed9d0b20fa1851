"""`ledger backup`: a copy of an embedded ledger and of its audit trail, beside a running server."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from api.audit.acts import Act
from api.command_line.opening import opened
from api.command_line.terminal import AsJson, counted, print_json, progress_bar, said, to_stdout
from api.command_line.witnessing import administering
from api.interpreter import rare_collections
from ledger.audit.trail import AuditTrail
from ledger.store.backup import copied, expect_free
from ledger.store.place import TRAIL
from ledger.store.proof import Named, expect_as_recorded

NO_BACKUP = (
    "no backup was made; keep the older ones and what is there, and see `ledger verify` and docs/deploy/backup.md"
)


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
    verified: of a log that is damaged, or not what was recorded, no backup is
    made, so that it never takes the place of a good one. It has no read
    models: `ledger serve` makes them again from the log. Note the heads that
    it prints: `ledger verify --head` proves the copy with them.

    For example:

    $ ledger backup /backups/ledger-2026-11-23.db

    Exit status: 0 made; 2 it cannot be made (there is such a file already, no
    ledger, what is there is damaged, or it is in PostgreSQL: use pg_dump).
    """
    trail_file = file.with_name(file.name + TRAIL)
    with (
        rare_collections(),
        opened() as ledger,
        closing(AuditTrail.open(ledger)) as trail,
        administering(Act.BACKUP) as result,
    ):
        log_file = expect_free(ledger.database, file)
        named = Named(log_file, log_file.with_name(log_file.name + TRAIL), NO_BACKUP)
        # First, so that where a file of the name that was asked for is, the backup is whole.
        audit_head = str(trail.back_up(trail_file))
        try:
            with progress_bar("verifying the copy") as bar:
                on_progress = None if bar is None else bar.show
                proof = copied(
                    ledger.database, file, lambda copy: expect_as_recorded(copy, trail_file, named, on_progress)
                )
        except BaseException:
            trail_file.unlink()
            raise
        result |= {"heads": proof.heads, "auditHead": audit_head}
    if as_json:
        made = {"file": str(file), "heads": proof.heads, "events": proof.events}
        print_json({**made, "auditFile": str(trail_file), "auditHead": audit_head, "auditEntries": proof.audit_entries})
        return
    read = f"{counted(proof.events, 'event')}, {counted(proof.audit_entries, 'entry', 'entries')} of the audit trail"
    console = to_stdout()
    console.print(
        said(f"{file} and {trail_file.name} hold everything up to these heads; note them elsewhere:"), soft_wrap=True
    )
    for head in (*proof.heads, audit_head):
        console.print(said(f"  --head {head}", "bold"), soft_wrap=True)
    console.print(
        said(f"Both were verified: everything in them is as it was recorded ({read}).", "green"), soft_wrap=True
    )
