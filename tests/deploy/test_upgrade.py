"""docs/deploy/upgrade.md: its commands, word for word."""

from pathlib import Path

from ledger.store.migrations import NEWEST
from tests.builders import body
from tests.deploy.host import host
from tests.pages import block, replaced

PAGE = "docs/deploy/upgrade.md"
SENT, UNREADABLE = body("message.sent", sequence=2), b'{"eventType": 7}'


def test_after_the_page_s_commands_everything_is_there_and_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    # The program that is installed is this checkout; what pip would do is not this page's promise.
    commands = replaced(block(PAGE, "upgrade"), {"/backups/": f"{tmp_path}/backups/", "/opt/ledger/bin/pip": "true"})
    with host(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.run("systemctl start ledger")
        ledger.deliver(SENT)
        said = ledger.run(commands)
        again = ledger.deliver(SENT, UNREADABLE)

    assert f"is at version {NEWEST} already: nothing to do" in said
    assert [answer.json()["outcome"] for answer in again] == ["duplicate", "quarantined"]
    assert sorted(file.suffix for file in (tmp_path / "backups").iterdir()) == [".audit", ".db"]
