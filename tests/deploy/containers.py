"""podman with a storage of its own, in a copy of this checkout: for campaigns, as root.

The base image is pulled. Where its registry cannot be reached, debootstrap makes one that has what the Containerfile needs of it:
Debian, and Python under the name `python`.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.pages import ROOT
from tests.requirements import program

CONTAINERFILE = ROOT / "docs" / "deploy" / "Containerfile"
PULLED_WITHIN_S = 300

STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""
CONTAINERS = """
[containers]
# Below whatever this machine allows: podman's own would be raised, which needs a right that root may lack.
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
{runtime}
"""


@dataclass(frozen=True)
class Podman:
    """Where scripts find a podman with nothing in it, and a checkout."""

    folder: Path

    @property
    def source(self) -> Path:
        """The checkout, in which scripts run."""
        return self.folder / "source"

    def run(self, script: str) -> str:
        """What a script prints."""
        ended = self.tried(script)
        assert ended.returncode == 0, f"{script}\n{ended.stdout[-2_000:]}\n{ended.stderr[-2_000:]}"
        return ended.stdout

    def tried(self, script: str) -> "subprocess.CompletedProcess[str]":
        """The same, however it ends."""
        places = {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
        }
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env={**os.environ, **places},
            cwd=self.source,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@contextmanager
def podman() -> Iterator[Podman]:
    """A podman of one's own, with the base image, for the length of a `with`."""
    program("podman")
    # Not in memory, where other tests are: images are large.
    with TemporaryDirectory(prefix="ledger-podman-", dir="/var/tmp") as name:
        made = Podman(Path(name))
        subprocess.run(["git", "clone", "--quiet", ROOT, made.source], check=True)
        # runc knows hybrid cgroups as well, which crun does not.
        runtime = 'runtime = "runc"' if shutil.which("runc") else ""
        (made.folder / "storage.conf").write_text(STORAGE.format(folder=name))
        (made.folder / "containers.conf").write_text(CONTAINERS.format(runtime=runtime))
        try:
            for image in set(re.findall(r"^FROM (\S+)", CONTAINERFILE.read_text(), re.MULTILINE)):
                _get(made, image)
            yield made
        finally:
            made.tried("podman rm --all --force --time 0; podman volume rm --all --force; podman rmi --all --force")


def _get(made: Podman, image: str) -> None:
    if made.tried(f"timeout {PULLED_WITHIN_S} podman pull --quiet {image}").returncode == 0:
        return
    program("debootstrap")
    made.run(
        f"""
        base={made.folder}/base
        debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm $base
        ln -s python3 $base/usr/bin/python
        # How this machine reaches PyPI.
        cp -L /etc/ssl/certs/ca-certificates.crt $base/etc/ssl/certs/
        if [ -e /etc/pip.conf ]; then cp /etc/pip.conf $base/etc/; fi
        tar --directory $base --create . | podman import --quiet - {image}
        rm -r $base
        """
    )
