"""`ledger upgrade`: brings the database's schema to this program's version."""

from contextlib import closing

from api.audit.acts import Act
from api.command_line.opening import existing_url, file_of
from api.command_line.terminal import AsJson, print_json, to_stdout
from api.command_line.witnessing import administering
from api.serving.one_server import claimed_whatever_it_is
from ledger.store.database import Database
from ledger.store.schema import upgrade as upgrade_schema


def upgrade(*, as_json: AsJson = False) -> None:
    """Bring the ledger's schema to the version of this program.

    Make a backup and stop the servers first (an embedded ledger that is served
    is refused). Stored events are never changed by an upgrade, and one that is
    interrupted changes nothing.

    Exit status: 0 upgraded, or nothing to do; 2 there is no ledger, it is
    served, or it was made by a newer program.
    """
    url = existing_url()
    with (
        claimed_whatever_it_is(file_of(url)),
        closing(Database(url)) as database,
        administering(Act.UPGRADE) as result,
    ):
        before, after = upgrade_schema(database)
        result |= {"before": before, "after": after}
    if as_json:
        print_json({"before": before, "after": after})
    else:
        done = (
            f"upgraded from {before} to {after}" if before != after else f"is at version {after} already: nothing to do"
        )
        to_stdout().print(f"The ledger's schema {done}.", soft_wrap=True)
