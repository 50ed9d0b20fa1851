"""docs/deploy/container.md, word for word, with podman: built, run, stopped, killed, backed up, restored and upgraded."""

import json
from collections.abc import Iterator
from datetime import date

import httpx2
import pytest

from tests.api.running import SECRETS, WEBHOOKS, key_of, signed, until
from tests.builders import body
from tests.deploy.containers import Podman, podman
from tests.pages import block, replaced
from tests.ports import free_port

PAGE = "docs/deploy/container.md"

pytestmark = pytest.mark.campaign


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def served(port: int) -> Iterator[Podman]:
    """A machine on which the page was followed until the container runs."""
    with podman() as machine:
        machine.run(block(PAGE, "container-build"))
        filled = {
            "the-secret-that-red-cloud-shows": SECRETS["main"].decode(),
            "sha256:the-digest-of-a-key": key_of("admin"),
        }
        machine.run(replaced(block(PAGE, "container-settings"), filled))
        run(machine, port)
        yield machine


def run(machine: Podman, port: int) -> None:
    machine.run(replaced(block(PAGE, "container-run"), {"127.0.0.1:8080:": f"127.0.0.1:{port}:"}))
    until(lambda: lives(port), at_most_s=60)


def lives(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/livez").status_code == 200
    except httpx2.TransportError:
        return False


def deliver(port: int, kind: str, sequence: int, message_id: str = "msg_abc123") -> str:
    fact = body(f"message.{kind}", message_id, sequence=sequence)
    answer = httpx2.post(f"http://127.0.0.1:{port}{WEBHOOKS}", content=fact, headers=signed(fact))
    outcome: str = answer.json()["outcome"]
    return outcome


def test_a_webhook_is_recorded_and_survives_a_stop_and_a_start(served: Podman, port: int) -> None:
    first = deliver(port, "queued", 1)
    served.run("podman stop ledger")
    exit_status = served.run("podman inspect --format '{{.State.ExitCode}}' ledger").strip()
    served.run("podman start ledger")
    until(lambda: lives(port), at_most_s=60)

    assert (first, exit_status, deliver(port, "queued", 1)) == ("recorded", "0", "duplicate")
    assert "everything that was acknowledged is on disk" in served.tried("podman logs ledger").stderr


def test_it_runs_with_no_rights_and_writes_only_where_it_must(served: Podman, port: int) -> None:
    (shown,) = json.loads(served.run("podman inspect ledger"))

    assert shown["EffectiveCaps"] in ([], None)
    assert served.run("podman exec ledger id --user").strip() == "10001"
    assert "Read-only file system" in served.tried("podman exec ledger touch /ledger/mine").stderr
    assert served.run("podman exec ledger stat --format '%u %a' /data /data/ledger.db").split() == [
        *("10001", "700"),
        *("10001", "644"),
    ]


def test_the_health_check_is_that_of_the_image(served: Podman, port: int) -> None:
    assert served.tried("podman healthcheck run ledger").returncode == 0


def test_killed_it_is_started_again_with_everything(served: Podman, port: int) -> None:
    deliver(port, "sent", 2)
    served.run("podman kill --signal KILL ledger")
    served.tried("podman start ledger")
    until(lambda: lives(port), at_most_s=60)

    assert deliver(port, "sent", 2) == "duplicate"


def test_it_is_backed_up_restored_and_upgraded(served: Podman, port: int) -> None:
    deliver(port, "sent", 2)
    today = date.today().isoformat()  # noqa: DTZ011 - as `date +%F` says
    commands = block(PAGE, "container-commands")
    said = served.run(commands + commands)  # nothing of the first backup is in the way of the next one
    deliver(port, "delivery", 3)

    served.run(f"mkdir backups && mv ledger-{today}.db ledger-{today}.db.audit backups/")
    served.run(block(PAGE, "container-restore").replace("2026-11-23", today))
    until(lambda: lives(port), at_most_s=60)

    assert "msg_abc123" in said
    assert deliver(port, "sent", 2) == "duplicate"
    assert deliver(port, "delivery", 3) == "recorded"

    assert "nothing to do" in served.run(block(PAGE, "container-upgrade"))
    run(served, port)
    assert deliver(port, "delivery", 3) == "duplicate"
