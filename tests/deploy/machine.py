"""A throw-away copy of this machine, in which systemd is the first process: what is done in it is gone when it ends.

The copy is an overlay over the machine's own files, in namespaces of its own; only the network is shared. It takes root
and Linux, and is for campaigns.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.api.running import until
from tests.pages import ROOT
from tests.requirements import missing

SYSTEMD = Path("/lib/systemd/systemd")
CGROUPS = Path("/sys/fs/cgroup")
SOURCE = "/source"

BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs dev
for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
mkdir dev/shm dev/pts source
ln -s pts/ptmx dev/ptmx
mount --bind "$2" source
mkdir -p before && pivot_root . before && umount --lazy before  # services get mount namespaces of their own only under a real root
exec chroot . /usr/bin/env -i container=test SYSTEMD_LOG_TARGET=journal /lib/systemd/systemd --system --unit=sysinit.target
"""


@dataclass(frozen=True)
class Machine:
    """A machine that has booted."""

    pid: int

    def run(self, script: str) -> str:
        """What a script prints that root runs in it, in a copy of this checkout; CalledProcessError where it fails."""
        return self.tried(script, check=True).stdout

    def tried(self, script: str, *, check: bool = False) -> "subprocess.CompletedProcess[str]":
        """The same, however it ends."""
        inside = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--uts", "--ipc", "--root"]
        return subprocess.run(
            [*inside, "bash", "-euo", "pipefail", "-c", f"cd {SOURCE}\n{script}"],
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **_of_pip()},
            check=check,
            capture_output=True,
            text=True,
        )


@contextmanager
def booted(folder: Path) -> Iterator[Machine]:
    """A copy of this machine, for the length of a `with`."""
    if os.geteuid() != 0 or not SYSTEMD.exists() or shutil.which("nsenter") is None:
        missing("systemd", "booting a copy of this machine takes root, systemd and nsenter")
    source = folder / "source"
    subprocess.run(["git", "clone", "--quiet", ROOT, source], check=True)
    with _own_cgroups(f"ledger-test-{os.getpid()}") as cgroups:
        # In cgroups of its own before it makes the namespace, so that it sees those as the whole.
        entered = f'for each in {cgroups}; do echo $$ > $each/cgroup.procs || true; done 2>/dev/null; exec "$@"'
        spaces = ["unshare", "--cgroup", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child"]
        (folder / "disk").mkdir()
        command = ["sh", "-c", entered, "sh", *spaces, "sh", "-c", BOOT, "sh", str(folder / "disk"), str(source)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as unshare:
            try:
                until(lambda: _child_of(unshare.pid) is not None or unshare.poll() is not None)
                first = _child_of(unshare.pid)
                assert first is not None, "the machine did not start"
                machine = Machine(first)
                until(lambda: machine.tried("systemctl is-active sysinit.target").returncode == 0)
                yield machine
            finally:
                unshare.send_signal(signal.SIGKILL)
                unshare.wait()


@contextmanager
def _own_cgroups(name: str) -> Iterator[str]:
    """A cgroup in each hierarchy of this machine (there is one in all, or one a controller), as a shell lists them."""
    parents = {file.parent.resolve() for file in [*CGROUPS.glob("cgroup.procs"), *CGROUPS.glob("*/cgroup.procs")]}
    roots = [parent for parent in parents if parent == CGROUPS or not (CGROUPS / "cgroup.procs").exists()]
    cgroups = [parent / name for parent in roots]
    for cgroup in cgroups:
        cgroup.mkdir()
    try:
        yield " ".join(map(str, cgroups))
    finally:
        until(lambda: all(_is_removed(cgroup) for cgroup in cgroups))


def _is_removed(cgroup: Path) -> bool:
    """Whether it could be removed; its processes take a moment to end."""
    for folder in sorted([cgroup, *(each for each in cgroup.rglob("*") if each.is_dir())], reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()
    return not cgroup.exists()


def _child_of(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def _of_pip() -> dict[str, str]:
    """How pip reaches its packages on this machine."""
    return {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
