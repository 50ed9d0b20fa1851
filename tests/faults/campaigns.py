"""The table of campaigns, each with how often `python -m tests.faults all` injects its fault."""

from collections.abc import Callable
from typing import NamedTuple

from tests.faults.clock import clock_steps
from tests.faults.crash_points import crash_points
from tests.faults.disk import disk_errors, disk_full
from tests.faults.disk_of_read_models import read_models_disk
from tests.faults.figures import Figures
from tests.faults.fuzz import fuzz_postgresql, fuzz_sqlite
from tests.faults.kill import kill_postgresql, kill_sqlite
from tests.faults.postgres import postgres_faults
from tests.faults.power_loss import power_loss, read_models_power_loss, upgrading_power_loss
from tests.faults.power_loss_postgres import postgres_power_loss
from tests.faults.projecting import (
    projecting_postgresql,
    projecting_sqlite,
    rebuilding_postgresql,
    rebuilding_sqlite,
)
from tests.faults.replaying import replaying_postgresql, replaying_sqlite
from tests.faults.stopping import stopped_postgresql, stopped_sqlite
from tests.faults.upgrading import upgrading_postgresql, upgrading_sqlite
from tests.simulation.months import months


class Campaign(NamedTuple):
    """A fault to inject so many times."""

    run: Callable[[int, int], Figures]
    trials: int


EVERY_STEP = 10_000
"""More than a deed has steps: at each of them once."""

CAMPAIGNS = {
    "kill-sqlite": Campaign(kill_sqlite, 1_000),
    "kill-postgresql": Campaign(kill_postgresql, 200),
    "crash-points": Campaign(crash_points, 1_000),
    "power-loss": Campaign(power_loss, 2_000),
    "power-loss-postgresql": Campaign(postgres_power_loss, 200),
    "read-models-power-loss": Campaign(read_models_power_loss, 500),
    "disk-errors": Campaign(disk_errors, 25),
    "disk-full": Campaign(disk_full, 10),
    "read-models-disk": Campaign(read_models_disk, 24),
    "postgresql-faults": Campaign(postgres_faults, 24),
    "stopped-sqlite": Campaign(stopped_sqlite, 12),
    "stopped-postgresql": Campaign(stopped_postgresql, 12),
    "projecting-sqlite": Campaign(projecting_sqlite, EVERY_STEP),
    "projecting-postgresql": Campaign(projecting_postgresql, EVERY_STEP),
    "rebuilding-sqlite": Campaign(rebuilding_sqlite, 100),
    "rebuilding-postgresql": Campaign(rebuilding_postgresql, 30),
    "replaying-sqlite": Campaign(replaying_sqlite, EVERY_STEP),
    "replaying-postgresql": Campaign(replaying_postgresql, EVERY_STEP),
    "upgrading-sqlite": Campaign(upgrading_sqlite, EVERY_STEP),
    "upgrading-postgresql": Campaign(upgrading_postgresql, EVERY_STEP),
    "upgrading-power-loss": Campaign(upgrading_power_loss, 500),
    "clock-steps": Campaign(clock_steps, 300),
    "fuzz-sqlite": Campaign(fuzz_sqlite, 100_000),
    "fuzz-postgresql": Campaign(fuzz_postgresql, 20_000),
    "months": Campaign(months, 10_000),
}
