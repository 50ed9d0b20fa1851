"""The engines that are measured, and a PostgreSQL whose data stays."""

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

from tests.engines import PrivatePostgres

Engine = Literal["sqlite", "postgresql"]

ENGINES: tuple[Engine, ...] = ("sqlite", "postgresql")
TITLE: dict[Engine, str] = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


class KeptPostgres(PrivatePostgres):
    """A private server whose data stays in a folder: made by the first run, started again by the next."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder.absolute()

    def __enter__(self) -> Self:
        password_file = self.folder / "password"
        if self.data.exists():
            self._password = password_file.read_text()
            self._stop_what_still_runs()
        else:
            self.folder.mkdir(parents=True)
            self._create_cluster()
            password_file.touch(mode=0o600)
            password_file.write_text(self._password)
        self._start_on_a_free_port()
        return self

    def __exit__(self, *_: object) -> None:
        for url in self._emptied:
            self.drop_database(url)
        self.stop()

    def _stop_what_still_runs(self) -> None:
        """A run that was killed left its server running; or that is dead too, and only its pid file is there."""
        if (self.data / "postmaster.pid").exists():
            with suppress(subprocess.CalledProcessError):
                self.stop()
