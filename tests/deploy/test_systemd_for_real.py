"""docs/deploy/systemd.md, word for word, with a real systemd in a throw-away copy of this machine."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.api.running import MAIN, WEBHOOKS, signed
from tests.builders import body
from tests.deploy.machine import Machine, booted
from tests.pages import block, replaced
from tests.ports import free_port

PAGE = "docs/deploy/systemd.md"
SECRET, KEY = "secret_of_the_tests", "support-key"

pytestmark = pytest.mark.campaign


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Machine]:
    """A machine on which the page was followed to the point where the file of settings is to be filled."""
    with booted(tmp_path_factory.mktemp("machine")) as machine:
        machine.run(block(PAGE, "systemd-install"))
        machine.run(f"sed -i s/^LEDGER_PORT=.*/LEDGER_PORT={port}/ /etc/ledger/ledger.env")
        yield machine


@pytest.fixture(scope="module")
def served(installed: Machine) -> Machine:
    """The same with the settings filled, and the service started as the page says."""
    unfilled = installed.tried(block(PAGE, "systemd-start"))
    assert unfilled.returncode != 0
    assert "LEDGER_WEBHOOK_SECRETS: entry 1 is not id:secret" in installed.run(block(PAGE, "systemd-journal"))
    filled = f"s/^LEDGER_WEBHOOK_SECRETS=main:$/&{SECRET}/; s/^LEDGER_API_KEYS=.*/LEDGER_API_KEYS=ops:admin:{KEY}/"
    installed.run(f"sed -i '{filled}' /etc/ledger/ledger.env")
    installed.run(block(PAGE, "systemd-start"))
    return installed


def deliver(port: int, message_id: str, secret: str = MAIN) -> httpx2.Response:
    fact = body("message.sent", message_id, sequence=1)
    return httpx2.post(f"http://127.0.0.1:{port}{WEBHOOKS}", content=fact, headers=signed(fact, secret=secret))


def test_it_listens_as_soon_as_the_start_returns(served: Machine, port: int) -> None:
    served.run("systemctl restart ledger")

    assert deliver(port, "msg_1").status_code in {200, 202}


def test_it_runs_as_its_own_user_with_nothing_but_its_folder(served: Machine, port: int) -> None:
    pid = served.run("systemctl show --property=MainPID --value ledger").strip()

    assert served.run(f"stat -c %U /proc/{pid}").strip() == "ledger"
    assert served.run("stat -c '%U %a' /var/lib/ledger /var/lib/ledger/ledger.db").split() == [
        *("ledger", "700"),
        *("ledger", "600"),
    ]
    into_it = f"nsenter --target={pid} --mount --user --setuid=$(id -u ledger) --setgid=$(id -g ledger) touch"
    assert served.tried(f"{into_it} /var/lib/ledger/mine").returncode == 0
    assert "Read-only file system" in served.tried(f"{into_it} /opt/ledger/mine").stderr


def test_commands_run_as_the_page_shows_and_leave_everything_writable_to_the_service(
    served: Machine, port: int
) -> None:
    deliver(port, "msg_2")
    asked = replaced(block(PAGE, "systemd-command"), {"ledger projections": "ledger verify; ledger explain msg_2"})

    assert "message-status" in served.run(block(PAGE, "systemd-command"))
    assert "msg_2" in served.run(asked)
    assert served.run("find /var/lib/ledger ! -user ledger") == ""
    assert deliver(port, "msg_3").status_code == 202


def test_killed_it_comes_back_by_itself_with_everything(served: Machine, port: int) -> None:
    pid = served.run("systemctl show --property=MainPID --value ledger").strip()
    served.run("systemctl kill --signal=KILL ledger")
    # Until systemd has noticed, the unit is still active.
    served.run(f"until ! systemctl show --property=MainPID ledger | grep -qx MainPID={pid}; do sleep 0.1; done")
    served.run("until systemctl is-active --quiet ledger; do sleep 0.1; done")

    assert deliver(port, "msg_1").json()["outcome"] == "duplicate"


def test_reloaded_it_takes_the_secrets_that_the_file_has_now(served: Machine, port: int) -> None:
    added = "s/^LEDGER_WEBHOOK_SECRETS=.*/&,old:the_old_secret/"
    before = deliver(port, "msg_1", "old").status_code
    served.run(f"sed -i '{added}' /etc/ledger/ledger.env; systemctl reload ledger")
    served.run("until journalctl -u ledger -o cat | grep -q 'were read again'; do sleep 0.1; done")

    assert (before, deliver(port, "msg_1", "old").status_code) == (401, 200)


def test_stopped_it_drains_and_says_so(served: Machine) -> None:
    served.run("systemctl stop ledger")

    assert served.run("systemctl show --property=Result,ExecMainStatus --value ledger").split() == ["success", "0"]
    assert "everything that was acknowledged is on disk" in served.run("journalctl -u ledger -o cat -n 5")
