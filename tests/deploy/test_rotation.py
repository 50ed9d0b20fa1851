"""docs/deploy/rotation.md, word for word, while Red Cloud delivers and a program reads without a break: nobody is refused."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import httpx2
import pytest

from api.access import sha256_of
from tests.api.running import SECRETS, WEBHOOKS, client, key_of, signed, until
from tests.builders import body
from tests.deploy.host import Host, host
from tests.pages import block, replaced

PAGE = "docs/deploy/rotation.md"
SECRETS_OF_THE_PAGE = {"the-old-secret": SECRETS["old"].decode(), "the-new-secret": SECRETS["main"].decode()}
KEYS_OF_THE_PAGE = {"OF-OPS": key_of("admin"), "OF-SHOP": key_of("reader")}
OLD_SECRET = "LEDGER_WEBHOOK_SECRETS=2025:the-old-secret"
OLD_KEY = "LEDGER_API_KEYS=ops:admin:sha256:OF-OPS,shop:read:sha256:OF-SHOP"
AT_LEAST = 20
"""Answers between two steps."""
BREATH_S = 0.01
"""Between two questions, so that all deliveries fit into the thousand that the page looks at."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Host]:
    """A server that has its secrets and keys from the file of settings alone: the old secret and the old key."""
    with host(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as machine:
        del machine.settings["LEDGER_WEBHOOK_SECRETS"], machine.settings["LEDGER_API_KEYS"]
        machine.settings["LEDGER_ENV_FILE"] = str(tmp_path / "ledger.env")
        write(machine, OLD_SECRET, OLD_KEY)
        machine.run("systemctl start ledger")
        yield machine


def write(machine: Host, secrets: str, keys: str, **new_keys: str) -> None:
    """The file of settings, with the secrets and keys that the page's words stand for."""
    for word, secret in SECRETS_OF_THE_PAGE.items():
        secrets = secrets.replace(word, secret)
    for word, key in (*new_keys.items(), *KEYS_OF_THE_PAGE.items()):
        keys = re.sub(rf"{word}\b(?!-)", sha256_of(key).hex(), keys)
    (machine.folder / "ledger.env").write_text(f"{secrets}\n{keys}\n")


def reload(machine: Host, said: str = "secrets and keys were read again") -> None:
    """Has the server read the file again, and waits for the line of its log."""
    assert machine.server is not None
    log = machine.server.log
    before = log.read_text().count(said)
    machine.run(block(PAGE, "reload"))
    until(lambda: log.read_text().count(said) == before + 1)


class Party:
    """Who asks the server without a break, and what it was answered under which secret or key."""

    def __init__(self, uses: str) -> None:
        self.uses = uses
        self.answered: list[tuple[str, int]] = []

    def is_answered(self) -> None:
        """Waits until it was, some more times."""
        enough = len(self.answered) + AT_LEAST
        until(lambda: len(self.answered) >= enough)

    def turns_to(self, other: str) -> None:
        """It uses another secret or key from now on; returns when it has."""
        self.uses = other
        until(lambda: self.answered[-1][0] == other)
        self.is_answered()


Ask = Callable[[httpx2.Client, str, int], httpx2.Response]


@contextmanager
def without_a_break(machine: Host, uses: str, ask: Ask) -> Iterator[Party]:
    """A party that asks once more as soon as it was answered."""
    party, over = Party(uses), Event()

    def go_on() -> None:
        with client(machine.url) as http:
            while not over.wait(BREATH_S):
                uses = party.uses
                party.answered.append((uses, ask(http, uses, len(party.answered)).status_code))

    thread = Thread(target=go_on)
    thread.start()
    try:
        party.is_answered()
        yield party
    finally:
        over.set()
        thread.join()


def deliver(http: httpx2.Client, secret: str, number: int) -> httpx2.Response:
    """What Red Cloud is answered."""
    fact = body("message.sent", f"msg_{number}", sequence=1)
    return http.post(WEBHOOKS, content=fact, headers=signed(fact, secret=secret))


def read(http: httpx2.Client, key: str, _number: int = 0) -> httpx2.Response:
    """What the holder of a key is answered."""
    return http.get("/feed?limit=1", headers={"Authorization": f"Bearer {key}"})


def test_a_signing_secret_is_changed_and_no_delivery_is_refused(ledger: Host) -> None:
    with without_a_break(ledger, "old", deliver) as red_cloud:
        write(ledger, block(PAGE, "both-secrets"), OLD_KEY)
        reload(ledger)
        red_cloud.turns_to("main")
        counted = ledger.run(block(PAGE, "which-secret"))
        write(ledger, block(PAGE, "new-secret"), OLD_KEY)
        reload(ledger)
        red_cloud.is_answered()

    by_secret = Counter(red_cloud.answered)
    assert by_secret.keys() == {("old", 202), ("main", 202)}
    assert re.search(rf'{by_secret["old", 202]} "secretId":"2025"\n +\d+ "secretId":"2026"', counted)
    with ledger.http as http:
        assert len(http.get("/feed?limit=1000").json()["events"]) == len(red_cloud.answered)
        assert deliver(http, "old", -1).status_code == 401


def test_an_api_key_is_changed_and_no_request_is_refused(ledger: Host) -> None:
    old = key_of("reader")
    ledger.deliver(body("message.sent", sequence=1), secret="old")
    with without_a_break(ledger, old, read) as shop, ledger.http as ops, ops.stream("GET", "/feed/stream") as feed:
        said = dict(line.split("\t") for line in ledger.run(block(PAGE, "another-key")).splitlines())
        both = block(PAGE, "both-keys")
        assert said["entry"] in both.replace("OF-SHOP-2", sha256_of(said["key"]).hex())
        write(ledger, OLD_SECRET, both, **{"OF-SHOP-2": said["key"]})
        reload(ledger)
        unused = ledger.run(block(PAGE, "in-use"))
        shop.turns_to(said["key"])
        used = ledger.run(block(PAGE, "in-use"))
        write(ledger, OLD_SECRET, block(PAGE, "new-key"), **{"OF-SHOP-2": said["key"]})
        reload(ledger)
        shop.is_answered()

        assert read(ops, old).status_code == 401
        ledger.deliver(body("message.sent", "msg_last", sequence=1), secret="old")
        assert any("msg_last" in part for part in feed.iter_text())
    assert {status for _, status in shop.answered} == {200}
    assert ("shop-2" in unused, "shop-2" in used) == (False, True)


def test_a_file_that_makes_no_sense_changes_nothing(ledger: Host) -> None:
    with without_a_break(ledger, "old", deliver) as red_cloud:
        write(ledger, replaced(block(PAGE, "new-secret"), {"the-new-secret": ""}), OLD_KEY)
        reload(ledger, "secrets and keys stay as they were")
        red_cloud.is_answered()

    assert set(red_cloud.answered) == {("old", 202)}
