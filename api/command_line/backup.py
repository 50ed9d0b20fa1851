"""`ledger backup`: a copy of an embedded ledger, beside a running server."""

from pathlib import Path
from typing import Annotated

import typer

from api.command_line.opening import opened
from api.command_line.terminal import AsJson, print_json, said, to_stdout
from ledger.store.backup import back_up


def backup(
    file: Annotated[
        Path, typer.Argument(help="The file to make; there must be none of that name.", show_default=False)
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Copy an embedded ledger to a file, while the server goes on.

    The copy is complete up to one commit, and on disk when this ends. It has
    no read models: `ledger serve` makes them again from the log. Note the
    heads that it prints: `ledger verify --head` proves the copy with them.

    For example:

    $ ledger backup /backups/ledger-2026-11-23.db

    Exit status: 0 made; 2 it cannot be made (there is such a file already, no
    ledger, or the ledger is in PostgreSQL: use pg_dump).
    """
    with opened() as ledger:
        heads = back_up(ledger.database, file)
    if as_json:
        print_json({"file": str(file), "heads": heads})
        return
    console = to_stdout()
    console.print(said(f"{file} holds everything up to these heads; note them elsewhere:"), soft_wrap=True)
    for head in heads:
        console.print(said(f"  --head {head}", "bold"), soft_wrap=True)
