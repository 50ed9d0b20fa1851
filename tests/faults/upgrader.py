"""A program that upgrades: `python -m tests.faults.upgrader URL`."""

import sys

from tests.faults.deeds import upgrade

if __name__ == "__main__":
    upgrade(sys.argv[1])
