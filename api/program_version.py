"""The version of this program, where it is installed."""

from importlib.metadata import PackageNotFoundError, version

NOT_INSTALLED = "0+not-installed"


def program_version() -> str:
    """Such as `0.1.0`."""
    try:
        return version("lifecycle-ledger")
    except PackageNotFoundError:  # run from a checkout that nobody installed
        return NOT_INSTALLED
