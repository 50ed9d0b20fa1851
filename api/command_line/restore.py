"""`ledger restore`: puts a backup in the place of an embedded ledger that nobody serves."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from api.audit.acts import Act
from api.command_line.opening import file_of
from api.command_line.terminal import AsJson, print_json, said, to_stdout
from api.command_line.witnessing import note
from api.one_server import claimed_whatever_it_is
from api.settings import read_database_url
from ledger.errors import SettingRefused
from ledger.store.restore import restore as restore_file


def restore(
    file: Annotated[Path, typer.Argument(help="What `ledger backup` made.", show_default=False)],
    *,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of the ledger, once the server is stopped.

    It is verified first: one that is damaged, or not what was recorded,
    changes nothing. What was there before, with its read models, is put aside under another name and never
    deleted. The audit trail that is there stays if it is whole; else that of
    the backup, which lies beside it with .audit after its name, takes its
    place. The read models are made again from the log by `ledger serve`.

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
        heads, aside, trail_stayed = restore_file(file, target, datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"))
        note(Act.RESTORE, heads=heads, trailStayed=trail_stayed)
    if as_json:
        replaced = None if aside is None else str(aside)
        print_json({"file": str(target), "heads": heads, "replaced": replaced, "auditTrailStayed": trail_stayed})
        return
    console = to_stdout()
    console.print(said(f"{target} is the backup now. Prove it with the heads that you noted:"), soft_wrap=True)
    console.print(said("  ledger verify " + " ".join(f"--head {head}" for head in heads), "bold"), soft_wrap=True)
    if aside is not None:
        console.print(said(f"What was there is {aside} and what stands beside it."), soft_wrap=True)
