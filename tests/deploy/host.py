"""The commands of the pages, with stand-ins for what a test cannot touch.

`ledger` and `python` are those of this checkout; `systemctl` starts, stops and reloads a server of ours.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.api.program import environment
from tests.api.running import MAIN, WEBHOOKS, key_of, signed

LEDGER = """#!/bin/sh
exec {ledger} "$@"
"""
PYTHON = """#!/bin/sh
exec {python} "$@"
"""
SYSTEMCTL = """#!/bin/sh
set -e
case "$1" in
  start) ledger serve 2>"$HOST/log" & echo $! >"$HOST/pid"; until grep -q '"listening"' "$HOST/log"; do sleep 0.05; kill -0 $!; done ;;
  stop) kill -TERM "$(cat "$HOST/pid")"; while kill -0 "$(cat "$HOST/pid")"; do sleep 0.05; done 2>/dev/null ;;
  reload) kill -HUP "$(cat "$HOST/pid")" ;;
  restart) "$0" stop; "$0" start ;;
esac
"""


@dataclass
class Host:
    """A machine with a ledger as far as the commands of a page can tell."""

    folder: Path
    settings: dict[str, str]
    path: list[str] = field(default_factory=list)

    def run(self, script: str, **variables: str) -> str:
        """What a script prints, with a server that goes on afterwards; CalledProcessError where it fails."""
        return self.tried(script, variables, check=True).stdout

    def tried(
        self, script: str, variables: Mapping[str, str] | None = None, *, check: bool = False
    ) -> "subprocess.CompletedProcess[str]":
        """The same, however it ends."""
        programs = os.pathsep.join([str(self.folder / "bin"), *self.path, os.environ["PATH"]])
        with (self.folder / "stdout").open("w+") as out, (self.folder / "stderr").open("w+") as err:
            # Files and no pipes: the server that a script started still holds them when the script has ended.
            ended = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                env={**self.settings, **(variables or {}), "PATH": programs, "HOST": str(self.folder)},
                cwd=self.folder,
                stdout=out,
                stderr=err,
                check=False,
            )
            out.seek(0)
            err.seek(0)
            told = subprocess.CompletedProcess(ended.args, ended.returncode, out.read(), err.read())
        assert not check or ended.returncode == 0, f"{script}\n{told.stdout}\n{told.stderr}"
        return told

    @property
    def url(self) -> str:
        """Where the server listens that runs now."""
        log = (self.folder / "log").read_text()
        return log.partition('"url": "')[2].partition('"')[0]

    @property
    def http(self) -> httpx2.Client:
        """A client with the keys of an operator."""
        headers = {"Authorization": f"Bearer {key_of('admin')}"}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def deliver(self, *bodies: bytes, secret: str = MAIN) -> list[httpx2.Response]:
        """What Red Cloud is answered."""
        with self.http as client:
            return [client.post(WEBHOOKS, content=body, headers=signed(body, secret=secret)) for body in bodies]


@contextmanager
def host(folder: Path, database_url: str, *path: str) -> Iterator[Host]:
    """A machine without a running server; whatever was started on it ends with the block."""
    (folder / "bin").mkdir()
    ledger = f"{sys.executable} -m api.command_line"
    for name, content in (("ledger", LEDGER), ("python", PYTHON), ("systemctl", SYSTEMCTL)):
        script = folder / "bin" / name
        script.write_text(content.replace("{ledger}", ledger).replace("{python}", sys.executable))
        script.chmod(0o755)
    try:
        yield Host(folder, environment(database_url), list(path))
    finally:
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
