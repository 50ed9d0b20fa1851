"""`ledger backup`: a copy of an embedded ledger and of its audit trail, beside a running server."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from api.audit.acts import Act
from api.command_line.opening import opened
from api.command_line.terminal import AsJson, print_json, said, to_stdout
from api.command_line.witnessing import administering
from ledger.audit.trail import AuditTrail
from ledger.store.backup import back_up, expect_free
from ledger.store.place import TRAIL


def backup(
    file: Annotated[
        Path, typer.Argument(help="The file to make; there must be none of that name.", show_default=False)
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Copy an embedded ledger to a file, while the server goes on.

    The copy is complete up to one commit, and on disk when this ends. Beside
    it, under its name with .audit, is that of the audit trail. It has no read
    models: `ledger serve` makes them again from the log. Note the heads that
    it prints: `ledger verify --head` proves the copy with them.

    For example:

    $ ledger backup /backups/ledger-2026-11-23.db

    Exit status: 0 made; 2 it cannot be made (there is such a file already, no
    ledger, or the ledger is in PostgreSQL: use pg_dump).
    """
    trail_file = file.with_name(file.name + TRAIL)
    with opened() as ledger, closing(AuditTrail.open(ledger)) as trail, administering(Act.BACKUP) as result:
        expect_free(ledger.database, file)
        # First, so that where a file of the name that was asked for is, the backup is whole.
        audit_head = str(trail.back_up(trail_file))
        try:
            heads = back_up(ledger.database, file)
        except BaseException:
            trail_file.unlink()
            raise
        result |= {"heads": heads, "auditHead": audit_head}
    if as_json:
        print_json({"file": str(file), "heads": heads, "auditFile": str(trail_file), "auditHead": audit_head})
        return
    console = to_stdout()
    console.print(
        said(f"{file} and {trail_file.name} hold everything up to these heads; note them elsewhere:"), soft_wrap=True
    )
    for head in (*heads, audit_head):
        console.print(said(f"  --head {head}", "bold"), soft_wrap=True)
