"""One server for all tests that only look, fed with the messages that they speak of; and a browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.api.running import Running, running, settings_at
from tests.console.visitors import Visitor, feed, signed_in

CHROMIUM_ARGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--in-process-gpu",
    "--renderer-process-limit=1",
    "--disable-extensions",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def ledger_with_messages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose ledger holds messages of every sort."""
    with running(settings_at(tmp_path_factory.mktemp("console"))) as server:
        feed(server)
        yield server


@pytest.fixture(scope="session")
def reader(ledger_with_messages: Running) -> Visitor:
    return signed_in(ledger_with_messages, "reader")


@pytest.fixture(scope="session")
def masked(ledger_with_messages: Running) -> Visitor:
    return signed_in(ledger_with_messages, "masked")


@pytest.fixture(scope="session")
def admin(ledger_with_messages: Running) -> Visitor:
    return signed_in(ledger_with_messages, "admin")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser that is gone before another module's tests: while it runs, an event loop does, in their thread."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGS))
        yield browser
        browser.close()
