"""What the machine must have for a test: without it the test is skipped, or fails where LEDGER_TESTS_REQUIRE names it.

CI sets LEDGER_TESTS_REQUIRE, so that a missing installation cannot look like a pass.
"""

import os
import shutil
from typing import NoReturn

import pytest

PROGRAMS = {
    "chromium": ["chromium", "chromium-browser", "google-chrome"],
    "curl": ["curl"],
    "debootstrap": ["debootstrap", "/usr/sbin/debootstrap"],
    "nginx": ["nginx", "/usr/sbin/nginx"],
    "openssl": ["openssl"],
    "podman": ["podman"],
    "strace": ["strace"],
    "systemd": ["systemd-analyze"],
    "wrk": ["wrk"],
}
REQUIRABLE = {"postgresql", *PROGRAMS}


def required() -> set[str]:
    """What this run may not go without. Raises pytest.UsageError for a name that nothing here answers to."""
    named = {name for name in os.environ.get("LEDGER_TESTS_REQUIRE", "").split(",") if name}
    if unknown := named - REQUIRABLE:
        raise pytest.UsageError(f"LEDGER_TESTS_REQUIRE: expected some of {sorted(REQUIRABLE)}, not {sorted(unknown)}")
    return named


def missing(name: str, reason: str) -> NoReturn:
    """End the test: this machine does not have what it needs."""
    if name in required():
        pytest.fail(f"LEDGER_TESTS_REQUIRE names {name}: {reason}", pytrace=False)
    pytest.skip(reason)


def program(name: str) -> str:
    """The path of a program of PROGRAMS, or the end of the test."""
    found = next(filter(None, map(shutil.which, PROGRAMS[name])), None)
    return found or missing(name, f"no {name} is installed")
