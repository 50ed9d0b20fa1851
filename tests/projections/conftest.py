from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projections.scene import Scene


@pytest.fixture
def scene(store_url: str) -> Iterator[Scene]:
    with Scene(store_url) as opened:
        yield opened


@pytest.fixture(params=[1, 3], ids=["1-partition", "3-partitions"])
def any_scene(request: pytest.FixtureRequest, store_url: str) -> Iterator[Scene]:
    with Scene(store_url, partitions=request.param) as opened:
        yield opened


@pytest.fixture
def sqlite_scene(tmp_path: Path) -> Iterator[Scene]:
    """For rules in which no engine can make a difference."""
    with Scene(f"sqlite:///{tmp_path}/ledger.db") as opened:
        yield opened
