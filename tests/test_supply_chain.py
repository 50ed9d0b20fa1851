"""What we are made of, and whom we talk to: dependencies are used and listed, and a server calls nobody but its database."""

import ast
import asyncio
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from tests.builders import body
from tests.engines import PrivatePostgres
from tests.faults.load import Journal, deliver_all
from tests.faults.serving import Serving, environment, serve

ROOT = Path(__file__).parent.parent
PACKAGES = ("ledger", "projections", "api")
IMPORTED_AS = {
    "prometheus-client": "prometheus_client",
    "opentelemetry-api": "opentelemetry",
    "opentelemetry-sdk": "opentelemetry",
    "opentelemetry-exporter-otlp-proto-http": "opentelemetry",
}
USED_BY_NAME = {"uvloop", "httptools", "psycopg"}
"""uvicorn is told by name to use the first two, and SQLAlchemy the third."""

BROUGHT_ALONG = {"markupsafe"}
"""The type of Jinja2's own text: whatever version Jinja2 brings is the right one."""

ENDS_WITHIN_S = 90
_CALL = re.compile(r"(connect|sendto|sendmsg)\(\d+, .*?(\{.*?\})")
_INET = re.compile(r'sin6?_port=htons\((\d+)\).*?"([0-9a-f.:]+)"')


def test_every_dependency_is_used_and_whatever_is_used_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = {name_of(each) for each in [*project["dependencies"], *extras["postgres"], *extras["otel"]]}
    imported = {name for name in imports() if name not in sys.stdlib_module_names and name not in PACKAGES}

    assert {IMPORTED_AS.get(name, name) for name in declared} - USED_BY_NAME == imported - USED_BY_NAME - BROUGHT_ALONG


def test_the_bill_of_materials_lists_what_the_lock_pins() -> None:
    made = subprocess.run([sys.executable, ROOT / ".ci" / "sbom"], stdout=subprocess.PIPE, check=True).stdout
    listed = json.loads(made)["components"]
    pinned = re.findall(r"^([^\s=\[]+)(?:\[.*\])?==([^\s;]+)", (ROOT / ".requirements.lock").read_text(), re.MULTILINE)

    assert [(each["name"], each["version"]) for each in listed] == pinned
    assert all(each["hashes"] for each in listed)


def test_a_demonstration_talks_to_nobody_but_itself(strace: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = [sys.executable, "-c", "from tests.programs import short_demo; short_demo()", "demo", "--exit"]
    done = subprocess.run(
        [strace, "-f", "--seccomp-bpf", "-o", trace, "-e", "trace=%network", *command],
        cwd=tmp_path,
        env=environment("") | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        check=True,
        timeout=ENDS_WITHIN_S,
    )

    port = int(re.findall(rb"http://127\.0\.0\.1:(\d+)", done.stdout)[0])
    assert set(called(trace)) == {("127.0.0.1", port)}


def test_a_server_talks_to_its_database_and_to_nobody_else(
    strace: str, postgres: PrivatePostgres, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    with postgres.fresh_database() as url:
        server = serve(url, tmp_path / "log")
        with traced(strace, server, trace):
            asyncio.run(
                deliver_all(server.port, [body("message.queued", f"msg_{n}", sequence=1) for n in range(50)], Journal())
            )
            assert server.stop() == 0

        assert set(called(trace)) <= {("127.0.0.1", make_url(url).port)}


@contextmanager
def traced(strace: str, server: Serving, trace: Path) -> Iterator[None]:
    """Writes down every call to the network that a server makes from now on."""
    tracer = subprocess.Popen(
        [
            strace,
            "-f",
            *(f"--attach={pid}" for pid in (server.pid, server.writer_pid)),
            "-o",
            trace,
            "-e",
            "trace=%network",
        ],
        stderr=subprocess.PIPE,
    )
    assert tracer.stderr is not None
    assert all(b"attached" in tracer.stderr.readline() for _process in range(2))
    yield
    tracer.communicate(timeout=ENDS_WITHIN_S)


def called(trace: Path) -> Iterator[tuple[str, int]]:
    """The addresses that a program connected to or sent to, save those on the same machine without a network (AF_UNIX)."""
    for line in trace.read_text().splitlines():
        if (call := _CALL.search(line)) and (address := _INET.search(call[2])):
            yield address[2], int(address[1])


def imports() -> set[str]:
    """The top-level names of whatever our packages import."""
    names: set[str] = set()
    for file in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names.add(node.module.split(".")[0])
    return names


def name_of(requirement: str) -> str:
    """The name of a dependency, without its extras and versions."""
    found = re.match(r"[A-Za-z0-9_-]+", requirement)
    assert found is not None
    return found[0].lower()
