"""`python -m tests.faults NAME [--trials N] [--seed S]`: runs a campaign; 1 where something was violated or nothing hit.

`python -m tests.faults all` runs every campaign with the numbers of `tests/faults/campaigns.py`, which takes hours; with `--percent 5`
each has fewer trials.
"""

import argparse
import logging
import sys
import time

import structlog

from tests.faults.campaigns import CAMPAIGNS

ALL = "all"


def main() -> int:
    """Runs campaigns, and prints the line of each once it has ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("name", choices=[*CAMPAIGNS, ALL])
    parser.add_argument("--trials", type=int, help="how often (by default as often as tests/faults/campaigns.py says)")
    parser.add_argument("--percent", type=float, default=100.0, help="a share of those")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    # What fails on purpose need not be told.
    logging.disable()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    names = list(CAMPAIGNS) if arguments.name == ALL else [arguments.name]
    fine = [_run(name, arguments.trials, arguments.percent, arguments.seed) for name in names]
    return 0 if all(fine) else 1


def _run(name: str, trials: int | None, percent: float, seed: int) -> bool:
    campaign = CAMPAIGNS[name]
    began_s = time.monotonic()
    figures = campaign.run(trials or max(1, round(campaign.trials * percent / 100)), seed)
    told = f"{figures.told()} [seed {seed}, {time.monotonic() - began_s:.0f} s]"
    print(told, flush=True)  # noqa: T201 - its purpose
    return figures.fine


if __name__ == "__main__":
    sys.exit(main())
