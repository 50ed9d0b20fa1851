"""`python -m tests.faults NAME [--trials N] [--seed S]`: runs a campaign; 1 where something was violated or nothing hit."""

import argparse
import logging
import sys
import time

import structlog

from tests.faults.campaigns import CAMPAIGNS


def main() -> int:
    """Runs one campaign and prints its line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("name", choices=CAMPAIGNS)
    parser.add_argument("--trials", type=int, help="how often (by default as often as docs/GUARANTEES.md says)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    # What fails on purpose need not be told.
    logging.disable()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    campaign = CAMPAIGNS[arguments.name]
    began_s = time.monotonic()
    figures = campaign.run(arguments.trials or campaign.trials, arguments.seed)
    print(f"{figures.told()} [seed {arguments.seed}, {time.monotonic() - began_s:.0f} s]")  # noqa: T201 - its purpose
    return 0 if figures.fine else 1


if __name__ == "__main__":
    sys.exit(main())
