"""nginx with `docs/deploy/nginx.conf` in front of a server under test.

Ports, places and addresses are the test's, the rest is the file's.
"""

import os
import shlex
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.api.running import until
from tests.api.wire import Wire
from tests.pages import ROOT, replaced
from tests.ports import free_port
from tests.requirements import program

CONF = ROOT / "docs" / "deploy" / "nginx.conf"
NAME = "ledger.example.com"
INSIDE, OUTSIDE = "127.0.0.2", "127.0.0.3"
"""Two addresses of this machine; the test lets the first one in where the file lets in 10.0.0.0/8."""
TIMEOUT_S = 20.0

AROUND = """
daemon off;
worker_processes 1;
{user}
pid {folder}/pid;
error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/ledger.conf;
}}
"""


class TlsWire(Wire):
    """A raw connection through TLS."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._socket = connection
        self._read = b""


@dataclass(frozen=True)
class Proxy:
    """A running nginx."""

    port: int
    folder: Path

    def http(self, come_from: str = INSIDE, key: str | None = None) -> httpx2.Client:
        """A client that trusts the certificate, asks for the ledger by its name, and comes from an address."""
        headers = {"Host": NAME} | ({} if key is None else {"Authorization": f"Bearer {key}"})
        transport = httpx2.HTTPTransport(verify=self._trust(), local_address=come_from)
        return httpx2.Client(
            base_url=f"https://127.0.0.1:{self.port}", headers=headers, transport=transport, timeout=TIMEOUT_S
        )

    def wire(self) -> Wire:
        """A raw connection, from outside."""
        raw = socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S, source_address=(OUTSIDE, 0))
        return TlsWire(self._trust().wrap_socket(raw, server_hostname=NAME))

    def log(self) -> str:
        """What it wrote of the requests."""
        return (self.folder / "access.log").read_text()

    def errors(self) -> str:
        """What it wrote of what went wrong."""
        return (self.folder / "error.log").read_text()

    def run(self, script: str) -> None:
        """Runs commands for which `nginx` is this one, and `systemctl` what has it read its files again."""
        ours = f"""
            nginx() {{ command {shlex.join(command_in(self.folder))} "$@"; }}
            systemctl() {{ [ "$*" = "reload nginx" ] && kill -HUP "$(cat {self.folder}/pid)"; }}
        """
        subprocess.run(["bash", "-euc", ours + script], cwd=self.folder, check=True, capture_output=True)

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "fullchain.pem"))


@contextmanager
def proxied(folder: Path, ledger: str | None = None, **changes: str) -> Iterator[Proxy]:
    """Nginx in front of the server at `host:port`, for the length of a `with`.

    `changes` are further pieces of the file, and what is there instead to begin with.
    """
    port = free_port()
    _make_certificate(folder)
    conf = replaced(
        CONF.read_text(),
        {
            **changes,
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            **({} if ledger is None else {"server 127.0.0.1:8080;": f"server {ledger};"}),
            "/etc/ssl/ledger/fullchain.pem": f"{folder}/fullchain.pem",
            "/etc/ssl/ledger/privkey.pem": f"{folder}/privkey.pem",
            "/var/log/nginx/ledger.log": f"{folder}/access.log",
            "allow 10.0.0.0/8;": f"allow {INSIDE};",
        },
    )
    (folder / "ledger.conf").write_text(conf)
    user = "user root;" if os.geteuid() == 0 else ""  # what nginx itself gives up rights for has no way into our folder
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, user=user))
    with subprocess.Popen(command_in(folder), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: _listens(port) or process.poll() is not None)
            assert process.poll() is None, process.communicate()[1]
            yield Proxy(port, folder)
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)


def command_in(folder: Path) -> list[str]:
    """How nginx is called that has its files in a folder."""
    return [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


def _make_certificate(folder: Path) -> None:
    names = f"subjectAltName=DNS:{NAME},IP:127.0.0.1"
    made = ["-keyout", f"{folder}/privkey.pem", "-out", f"{folder}/fullchain.pem", "-days", "2"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command = [program("openssl"), "req", *kind, "-subj", f"/CN={NAME}", "-addext", names, *made]
    subprocess.run(command, check=True, capture_output=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
