"""What every test may ask for: an empty store on each engine, a PostgreSQL server, a browser, strace.

`--store-url URL` (repeatable) runs the tests of the store on another engine or disk instead of the usual two. The URL
says where empty places are made, and is itself left alone: for PostgreSQL, fresh databases on that server with the same
credentials; for SQLite, fresh folders beside that file.
"""

import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings
from sqlalchemy import make_url

from api.logs import OURS
from tests.engines import NotInstalled, PostgresServer, PrivatePostgres
from tests.requirements import missing, program, required

# A slow machine is not a failing test, so neither deadlines nor the check for slow generation.
settings.register_profile(
    "default", max_examples=50, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
# The same cases each time: a red CI speaks of the change that it ran on. Campaigns look for what is new.
settings.register_profile("ci", settings.get_profile("default"), max_examples=200, derandomize=True)
settings.register_profile("campaign", settings.get_profile("default"), max_examples=10_000, stateful_step_count=100)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store-url",
        action="append",
        metavar="URL",
        help="make the empty stores of tests there (postgresql://… or sqlite:///…), not on SQLite and PostgreSQL",
    )


MEMORY = Path("/dev/shm")  # noqa: S108 - folders of random names are made in it
MEMORY_FREE_MIN = 2 * 1024**3


def pytest_configure() -> None:
    required()  # Complain about a name that is spelled wrongly before the first test, not after the last.
    work_in_memory()


def work_in_memory() -> None:
    """Make the temporary files of this run and of its programs in memory, where there is room and nobody chose a TMPDIR.

    Everything is synced as always, which costs nothing there. No test needs a real disk: those about durability kill
    processes, make calls fail, or look at which calls were made.
    """
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_FREE_MIN:
        tempfile.tempdir = os.environ["TMPDIR"] = str(MEMORY)


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Half as many again as there are cores: tests wait for processes, sockets and timers as well."""
    cores = yield
    return cores + cores // 2


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture in ("store_url", "shared_store_url"):
        if fixture in metafunc.fixturenames:
            places = metafunc.config.getoption("store_url") or ["sqlite", "postgresql"]
            names = [make_url(place).render_as_string() if "://" in place else place for place in places]
            metafunc.parametrize(fixture, places, ids=names, indirect=True)


@contextmanager
def log_output_left_as_it_was() -> Iterator[None]:
    """Takes back how a command sets up the log output of its process, which here is that of all tests."""
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in OURS]
    handlers, levels = root.handlers[:], [(each, each.level) for each in (root, *ours)]
    try:
        yield
    finally:
        root.handlers[:] = handlers
        for each, level in levels:
            each.setLevel(level)
        structlog.reset_defaults()


@pytest.fixture(autouse=True)
def log_output() -> Iterator[None]:
    """What a test captured is closed after it: a handler that still wrote there would fail in another test."""
    with log_output_left_as_it_was():
        yield


freeze, unfreeze = gc.freeze, gc.unfreeze


@pytest.fixture(scope="session", autouse=True)
def garbage_is_not_looked_for_among_the_tests() -> Iterator[None]:
    """Servers and commands here look for garbage before they start, and freeze the rest: not what this process has of its own.

    That is a look at all tests otherwise, and took a fifth of their time. What they freeze themselves stays collectable.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "freeze", int)
        patch.setattr(gc, "unfreeze", int)
        yield
    unfreeze()


@pytest.fixture(scope="module", autouse=True)
def nor_among_what_earlier_tests_left(garbage_is_not_looked_for_among_the_tests: None) -> None:
    """Freeze what was collected and imported so far, without its garbage."""
    gc.collect()
    freeze()


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database, once for each engine."""
    with empty_place(request, tmp_path) as url:
        yield url


@pytest.fixture(scope="module")
def shared_store_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same, empty only before the first test of a module: for tests that only read, or that meet no other's message."""
    with empty_place(request, tmp_path_factory.mktemp("shared")) as url:
        yield url


@contextmanager
def empty_place(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Lend an empty database of the engine that a fixture is asked for, or at the place that it is given."""
    place: str = request.param
    if place == "sqlite":
        yield f"sqlite:///{folder}/ledger.db"
    elif place == "postgresql":
        server: PrivatePostgres = request.getfixturevalue("postgres")
        with server.fresh_database() as url:
            yield url
    else:
        with empty_place_at(place) as url:
            yield url


@contextmanager
def empty_place_at(given_url: str) -> Iterator[str]:
    """Lend an empty database on the server, or in the folder, that a URL from the command line names."""
    url = make_url(given_url)
    if url.get_backend_name() == "sqlite":
        parent = Path(url.database or "ledger.db").resolve().parent
        with tempfile.TemporaryDirectory(prefix="ledger-test-", dir=parent) as folder:
            yield f"sqlite:///{folder}/ledger.db"
    else:
        with PostgresServer(given_url).fresh_database() as fresh_url:
            yield fresh_url


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """Start a PostgreSQL server that all tests share: make a database, and leave the server running."""
    try:
        server = PrivatePostgres()
    except NotInstalled as error:
        missing("postgresql", str(error))
    with server:
        yield server


@pytest.fixture(scope="session")
def chromium() -> str:
    """Find the path of a Chromium or Chrome."""
    return program("chromium")


@pytest.fixture(scope="session")
def strace() -> str:
    """Find the path of strace, with which faults are put into system calls."""
    return program("strace")
