"""The servers under test. One serves a whole module, so each test takes a message of its own."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.api.running import Running, running, settings_at

_numbers = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server on an embedded ledger that all tests of a module share."""
    with running(settings_at(tmp_path_factory.mktemp("server"))) as started:
        yield started


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Running]:
    """A server on an empty embedded ledger."""
    with running(settings_at(tmp_path)) as started:
        yield started


@pytest.fixture
def message_id() -> str:
    """A message that no other test knows."""
    return f"msg_{next(_numbers)}"
