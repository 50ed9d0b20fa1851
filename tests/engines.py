"""Empty databases for tests: a private PostgreSQL server of our own, or places on a server that somebody names.

Nothing here knows pytest, so campaigns, benchmarks and scripts use it as well:

    with PrivatePostgres() as server:
        url = server.new_database()
        server.stop(immediate=True)  # as a power cut would
        server.start()
"""

import hashlib
import hmac
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psycopg
from sqlalchemy import URL, make_url

from tests.ports import free_port

CONNECTIONS_MAX = 100
COMMAND_TIMEOUT_S = 60
START_ATTEMPTS_MAX = 3

SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": str(CONNECTIONS_MAX),
    # The promise under test is durability, so nothing is traded for speed.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
}

# Waits for our end of the pipe to close, which happens however we end, kill -9 included; then leaves nothing behind.
# The server removes its own pid file last; it is read again each time because a server may be starting meanwhile.
CLEAN_UP = """
read -r _
tries=100
while [ "$tries" -gt 0 ] && kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")"; do sleep 0.1; tries=$((tries - 1)); done
rm -rf "$1"
"""


# Whoever is still connected to the database, and everything that our programs make in it.
EMPTY = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
"""


class NotInstalled(Exception):
    """No PostgreSQL server is installed: neither /usr/lib/postgresql/*/bin nor the PATH has initdb and pg_ctl."""


class ServerDidNotStart(Exception):
    """PostgreSQL did not start; the message holds the end of its log."""


def postgres_binaries() -> Path:
    """The folder of initdb and pg_ctl, of the newest PostgreSQL installed. Raises NotInstalled."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_major_version, reverse=True)
    on_path = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    for folder in [*debian, *on_path]:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    raise NotInstalled(NotInstalled.__doc__)


def _scram_verifier(password: str) -> str:
    """What PostgreSQL keeps of a password (RFC 5803), hashed once: ours is random, and 4,096 times is most of connecting."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return "SCRAM-SHA-256$1:{}${}:{}".format(*(b64encode(each).decode() for each in (salt, stored_key, server_key)))


def _major_version(binaries: Path) -> int:
    digits = re.match(r"\d+", binaries.parent.name)
    return int(digits[0]) if digits else 0


class PostgresServer:
    """A running server on which fresh databases are made, with the rights of whoever `maintenance_url` names."""

    def __init__(self, maintenance_url: str) -> None:
        self._maintenance_url = make_url(maintenance_url).set(drivername="postgresql+psycopg")

    def new_database(self) -> str:
        """Create an empty database and return its SQLAlchemy URL."""
        name = f"ledger_test_{secrets.token_hex(6)}"
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def url_of(self, database: str) -> str:
        """The SQLAlchemy URL of a database."""
        return _full(self._maintenance_url.set(database=database))

    def drop_database(self, url: str) -> None:
        """Drop a database that new_database() made, and whatever is still connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)')

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """Lend the URL of an empty database, and drop it afterwards."""
        url = self.new_database()
        try:
            yield url
        finally:
            self.drop_database(url)

    def execute(self, statement: str, *, database: str | None = None) -> None:
        """Run one statement on a database, or else on the maintenance database, outside any transaction."""
        # Without SQLAlchemy's name of the driver, which psycopg itself does not know.
        place = self._maintenance_url.set(drivername="postgresql", database=database or self._maintenance_url.database)
        with psycopg.connect(_full(place), autocommit=True) as connection:
            connection.execute(statement.encode())


class PrivatePostgres(PostgresServer):
    """A PostgreSQL server for the length of a `with`: own data, own random password, 127.0.0.1 only, then gone.

    Entering raises NotInstalled or ServerDidNotStart. As PostgreSQL refuses to run as root, root hands it to an
    ordinary user. Until the block ends it can be stopped, crashed and started again with its data and its port kept.
    """

    def __init__(
        self,
        *,
        initdb_options: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        parent: Path | None = None,
    ) -> None:
        """`settings` are written into postgresql.conf, above those of every server for tests; in `parent` its folder is made."""
        self._binaries = postgres_binaries()
        self._initdb_options = initdb_options
        self._settings = settings or {}
        self._parent = parent
        self._user = _ordinary_user()
        self._password = secrets.token_hex(16)
        self._port = 0
        self._emptied: list[str] = []

    def __enter__(self) -> Self:
        # The system's folder for temporary files, not pytest's: the path of a Unix socket may have 107 bytes at most.
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-pg-", dir=self._parent))
        self._cleaner = subprocess.Popen(
            ["/bin/sh", "-c", CLEAN_UP, "sh", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us; it cleans up after us.
        )
        try:
            self._create_cluster()
            self._start_on_a_free_port()
        except BaseException:
            self._leave_nothing()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave_nothing()

    @property
    def data(self) -> Path:
        """The folder of the data."""
        return self.folder / "data"

    @property
    def start_command(self) -> list[str]:
        """The path of `postgres`, the folder of the data, the port, and who it runs as (empty: whoever starts it)."""
        return [str(self._binaries / "postgres"), str(self.data), str(self._port), self._user or ""]

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """Lend the URL of an empty database, and empty it afterwards for who comes next: half the work of a new one."""
        url = self._emptied.pop() if self._emptied else self.new_database()
        try:
            yield url
        finally:
            self._empty(url)

    def _empty(self, url: str) -> None:
        with psycopg.connect(_full(make_url(url).set(drivername="postgresql")), autocommit=True) as connection:
            connection.execute(EMPTY)
        self._emptied.append(url)

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])

    def start(self) -> None:
        """Start again after stop(), on the same data and port, and wait until it answers. Raises ServerDidNotStart."""
        log = self.folder / "log"
        try:
            self._run(
                "pg_ctl", "start", "-w", "-D", str(self.folder / "data"), "-l", str(log), "-o", f"-p {self._port}"
            )
        except subprocess.CalledProcessError as error:
            log_end = log.read_text(errors="replace")[-2000:] if log.exists() else error.stderr
            raise ServerDidNotStart(log_end) from error

    def stop(self, *, immediate: bool = False) -> None:
        """Stop, and wait for the end; `immediate` drops every backend without a checkpoint, as a crash would."""
        mode = "immediate" if immediate else "fast"
        self._run("pg_ctl", "stop", "-w", "-D", str(self.folder / "data"), "-m", mode)

    def kill_backend(self, pid: int) -> None:
        """Kill -9 one backend (of pg_backend_pid()); the postmaster then resets all of them and recovers."""
        os.kill(pid, signal.SIGKILL)

    def _create_cluster(self) -> None:
        password_file = self.folder / "verifier"
        password_file.write_text(_scram_verifier(self._password))
        password_file.chmod(0o600)
        if self._user:
            for path in (self.folder, password_file):
                shutil.chown(path, self._user)
        # --no-sync skips only the fsync of the empty cluster; the server itself syncs as usual.
        options = ["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--username=ledger"]
        options += self._initdb_options
        self._run("initdb", *options, f"--pwfile={password_file}", f"--pgdata={self.folder / 'data'}")
        settings = {**SERVER_SETTINGS, **self._settings, "unix_socket_directories": str(self.folder)}
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def _start_on_a_free_port(self) -> None:
        for attempt in range(1, START_ATTEMPTS_MAX + 1):
            self._port = free_port()
            try:
                self.start()
                break
            except ServerDidNotStart:
                # Another process may have taken the port since we looked.
                if attempt == START_ATTEMPTS_MAX:
                    raise
        super().__init__(f"postgresql://ledger:{self._password}@127.0.0.1:{self._port}/postgres")

    def _leave_nothing(self) -> None:
        self._cleaner.communicate()

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._binaries / program), *arguments],
            user=self._user,
            extra_groups=[] if self._user else None,
            group=pwd.getpwnam(self._user).pw_gid if self._user else None,
            cwd=self.folder,
            # Not ours: PG* variables there would redirect the server and its tools.
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=COMMAND_TIMEOUT_S,
        )


def _full(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _ordinary_user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
