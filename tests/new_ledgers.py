"""New ledgers for tests, copied from one that was made once: making one is more work than most tests do with it.

How a ledger is made, and what an empty database becomes, is for the tests that open one themselves (tests/store/test_opening.py).
"""

import functools
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from uuid import uuid4

import psycopg
from sqlalchemy import make_url

from ledger.chain import genesis_hash
from ledger.ledger import Ledger
from ledger.store.place import READ_MODELS
from ledger.store.private_file import OWNER_ONLY
from projections.read_models import ReadModels
from tests.engines import postgres_binaries

ALL_OF_A_FILE = ("", READ_MODELS)
"""An embedded ledger with its read models, by what is after the file's name."""


class Made(NamedTuple):
    """A ledger to copy: its id, and the bytes that are all of it. Those of its id and of its first hashes are changed in a copy."""

    ledger_id: str
    partitions: int
    content: tuple[bytes, ...]

    def copy(self) -> list[bytes]:
        """The same with an id of its own, as every ledger has."""
        ledger_id = uuid4().hex
        changes = [(self.ledger_id.encode(), ledger_id.encode())]
        for partition in range(self.partitions):
            before, after = (genesis_hash(each, partition) for each in (self.ledger_id, ledger_id))
            changes += [(before, after), (before.hex().encode(), after.hex().encode())]
        return [
            functools.reduce(lambda content, change: content.replace(*change), changes, each) for each in self.content
        ]


def new_ledger(url: str, partitions: int | None = None) -> None:
    """Makes an empty ledger with empty read models in an empty place; leaves what is there already."""
    if make_url(url).get_backend_name() == "sqlite":
        _new_files(Path(str(make_url(url).database)), partitions or 1)
    else:
        _new_tables(url, partitions or 1)


def _new_files(file: Path, partitions: int) -> None:
    if any(file.with_name(file.name + end).exists() for end in ALL_OF_A_FILE):
        return
    for end, content in zip(ALL_OF_A_FILE, _files(partitions).copy(), strict=True):
        with open(file.with_name(file.name + end), "wb", opener=_privately) as copied:
            copied.write(content)


def _new_tables(url: str, partitions: int) -> None:
    with psycopg.connect(_for_psycopg(url), autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace LIMIT 1").fetchone():
            return
        if partitions in _scripts:
            (script,) = _scripts[partitions].copy()
            connection.execute(script)
            return
    _scripts[partitions] = _make_for_copies(url, partitions)


@functools.cache
def _files(partitions: int) -> Made:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        ledger_id = _make(f"sqlite:///{file}", partitions)
        return Made(ledger_id, partitions, tuple(Path(f"{file}{end}").read_bytes() for end in ALL_OF_A_FILE))


_scripts: dict[int, Made] = {}
"""The statements that make a new ledger in a database of PostgreSQL, by its number of partitions."""


def _make_for_copies(url: str, partitions: int) -> Made:
    ledger_id = _make(url, partitions)
    dumped = subprocess.run(
        [
            postgres_binaries() / "pg_dump",
            "--inserts",
            "--no-owner",
            "--no-privileges",
            "--no-comments",
            _for_psycopg(url),
        ],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    # Lines with a backslash are for psql.
    statements = b"\n".join(line for line in dumped.splitlines() if not line.startswith((b"--", b"\\")))
    return Made(ledger_id, partitions, (statements,))


def _make(url: str, partitions: int) -> str:
    with Ledger.open(url, partitions=partitions) as ledger, ReadModels.open(ledger):
        return ledger.identity.ledger_id


def _for_psycopg(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, OWNER_ONLY)
