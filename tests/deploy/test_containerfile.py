"""What docs/deploy/Containerfile copies is all that the program is made of; whether it builds is in test_container.py."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.deploy.containers import CONTAINERFILE
from tests.pages import ROOT


def wheel_of(source: Path, folder: Path) -> set[str]:
    """The files of the wheel that is made in a folder of sources."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_what_is_copied_makes_the_whole_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    build = CONTAINERFILE.read_text().partition("\n\nFROM")[0]
    for names, target in re.findall(r"^COPY (.+) /source/(\S*)$", build, re.MULTILINE):
        for name in names.split():
            copied = source / target / (Path(name).name if (ROOT / name).is_file() else "")
            copied.parent.mkdir(parents=True, exist_ok=True)
            without = shutil.ignore_patterns("__pycache__")
            if (ROOT / name).is_file():
                shutil.copyfile(ROOT / name, copied)
            else:
                shutil.copytree(ROOT / name, copied, ignore=without)

    assert wheel_of(source, tmp_path / "from-copies") == wheel_of(ROOT, tmp_path / "from-all")
