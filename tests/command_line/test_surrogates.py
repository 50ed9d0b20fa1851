"""Half of a surrogate pair, which no encoder takes, in what a command shows."""

import pytest

from ledger.ledger import Ledger
from projections.read_models import ReadModels
from tests import surrogates
from tests.command_line.conftest import Run, record

COMMANDS = (
    *(f"{command} {each}" for command in ("status", "history", "explain") for each in surrogates.IDS["messageId"]),
    "conversation conv_half",
    "messages",
    "quarantine list",
    "tail --no-follow",
)


@pytest.fixture(scope="module")
def url(shared_store_url: str) -> str:
    """A ledger that was told half of a surrogate pair everywhere."""
    record(shared_store_url, *surrogates.WEBHOOKS)
    with Ledger.open(shared_store_url) as ledger, ReadModels.open(ledger) as read_models:
        read_models.catch_up()
    return shared_store_url


@pytest.mark.parametrize("as_json", ["", " --json"], ids=["for people", "as JSON"])
@pytest.mark.parametrize("command", COMMANDS)
def test_half_of_a_surrogate_pair_is_shown_by_every_command(run: Run, url: str, command: str, as_json: str) -> None:
    ended = run(*f"{command}{as_json}".split(), LEDGER_DATABASE_URL=url)

    assert ended.status == 0, ended.stderr
    assert ended.stdout
