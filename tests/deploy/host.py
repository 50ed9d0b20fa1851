"""A machine with a ledger, as far as the commands of a page can tell: `ledger` is this checkout's, `systemctl` runs a server of ours.

A script's `ledger …` and `systemctl …` are small programs that hand their arguments and descriptors over to the test, which
forks the program with them (`tests/forks.py`): so a page costs no start of Python a line.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import httpx2

from tests import forks
from tests.api import program
from tests.api.running import MAIN, WEBHOOKS, client, key_of, signed
from tests.serving import DidNotStart, Serving, serve

RUNS_AT_MOST_S = 120.0

HANDED_OVER = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as test:
    test.connect({place!r})
    order = json.dumps([[os.path.basename(sys.argv[0]), *sys.argv[1:]], dict(os.environ)]).encode()
    socket.send_fds(test, [len(order).to_bytes(8, "big")], [0, 1, 2])
    test.sendall(order)
    sys.exit(int(test.makefile().readline()))
"""


class Host:
    """Settings of a ledger, a folder in which scripts run, and a server that they may have started."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.settings = program.environment(database_url)
        self.server: Serving | None = None
        self.running: list[forks.Fork] = []

    def run(self, script: str, **variables: str) -> str:
        """What a script prints."""
        programs = os.pathsep.join([str(self.folder / "bin"), self.settings["PATH"]])
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env={**self.settings, **variables, "PATH": programs},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, f"{script}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    @property
    def url(self) -> str:
        """Where the server listens."""
        assert self.server is not None
        return self.server.url

    @property
    def http(self) -> httpx2.Client:
        """A client with the keys of an operator."""
        headers = {"Authorization": f"Bearer {key_of('admin')}"}
        return client(self.url, **headers)

    def deliver(self, *bodies: bytes, secret: str = MAIN) -> list[httpx2.Response]:
        """What Red Cloud is answered."""
        with self.http as client:
            return [client.post(WEBHOOKS, content=body, headers=signed(body, secret=secret)) for body in bodies]

    def obey(self, called: list[str], environment: Mapping[str, str], descriptors: list[int]) -> int:
        """Does what a script's `ledger` or `systemctl` is called for; the exit status."""
        match called:
            case ["ledger", *arguments]:
                stdin, stdout, stderr = descriptors
                with forks.start(
                    *arguments,
                    folder=self.folder,
                    environment=environment,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                ) as process:
                    self.running.append(process)
                    return process.wait(RUNS_AT_MOST_S)
            case ["systemctl", verb, "ledger"]:
                return self._control(verb)
            case _:
                raise AssertionError(called)

    def _control(self, verb: str) -> int:
        match verb:
            case "start":
                self.server = serve(self.folder / "log", self.settings, folder=self.folder)
            case "stop" if self.server is not None:
                return self.server.stop()
            case "restart":
                return self._control("stop") or self._control("start")
            case "reload" if self.server is not None:
                self.server.process.send_signal(signal.SIGHUP)
            case _:
                raise AssertionError(verb)
        return 0


def _take(made: Host, listener: socket.socket) -> None:
    """Obeys, each order in a thread of its own, until the listener is shut down."""
    obeying: list[Thread] = []
    while True:
        try:
            asking, _ = listener.accept()
        except OSError:
            break
        obeying.append(Thread(target=_obey, args=(made, asking)))
        obeying[-1].start()
    for each in made.running:
        each.kill()
    for thread in obeying:
        thread.join()


def _obey(made: Host, asking: socket.socket) -> None:
    with asking:
        head, descriptors, _, _ = socket.recv_fds(asking, 8, 3)
        order = json.loads(asking.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
        status = 1
        try:
            called, environment = order
            status = made.obey(called, environment, descriptors)
        except DidNotStart as error:
            os.write(descriptors[2], str(error).encode())
        finally:
            for each in descriptors:
                os.close(each)
            with suppress(BrokenPipeError):  # who called may be gone
                asking.sendall(b"%d\n" % status)


@contextmanager
def host(folder: Path, database_url: str) -> Iterator[Host]:
    """A machine without a running server; whatever was started on it ends with the block."""
    # In the system's folder for temporary files: the path of a Unix socket may have 107 bytes at most.
    with TemporaryDirectory(prefix="ledger-host-") as short, socket.socket(socket.AF_UNIX) as listener:
        place = f"{short}/orders"
        listener.bind(place)
        listener.listen()
        made = Host(folder, database_url)
        (folder / "bin").mkdir()
        for name in ("ledger", "systemctl"):
            (folder / "bin" / name).write_text(HANDED_OVER.format(python=sys.executable, place=place))
            (folder / "bin" / name).chmod(0o755)
        taking = Thread(target=_take, args=(made, listener))
        taking.start()
        try:
            yield made
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            taking.join()
            if made.server is not None:
                made.server.kill()
