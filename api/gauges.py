"""What operators watch that is looked up, not counted: lag, parked, quarantine, stuck messages, queues, files, the clock.

`/metrics` is open to anybody, so what needs the database is asked at most every few seconds, however often it is scraped.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import structlog
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from api.program_version import program_version
from api.service import Service
from api.verifying import LastVerification, known_verification
from ledger import clock
from ledger.durations import DAY_US, SECOND_US
from ledger.errors import LedgerError
from ledger.provider import Status
from ledger.store import registers
from ledger.store.place import READ_MODELS, TRAIL
from ledger.store.schema import newest_version
from projections.health import LIVE, REBUILDING, STOPPED, ProjectionStatus
from projections.message_ranges import MessageFilters
from projections.read_models import ReadModels
from projections.stuck import STUCK_AFTER_S

VALID_S = 5.0
LOOK_AWAITED_S = 2.0
AGES_S = (900, 5_400, 86_400)
COUNTED_MAX = 10_000
STATES = (LIVE, REBUILDING, STOPPED)

logger = structlog.get_logger(__name__)


class Found(NamedTuple):
    """What the database said; `stuck` counts by status and age in seconds."""

    projections: Sequence[ProjectionStatus]
    quarantined: int
    verified: LastVerification | None
    stuck: dict[tuple[Status, int], int]


class Gauges(Collector):
    """The looked-up metrics of a service, for its registry."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._looking = Lock()
        self._found: Found | None = None
        self._looked_at_s = 0.0
        self._info = {
            "version": program_version(),
            "schema": newest_version(),
            "engine": service.ledger.database.url.get_backend_name(),
            "partitions": str(service.ledger.partitions),
        }

    def describe(self) -> list[Metric]:
        """Nothing beforehand: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All of them. Where the database cannot be asked, `ledger_store_readable` is 0 and what it would say is missing."""
        yield InfoMetricFamily("ledger_app", "The version of the program and of the schema.", value=self._info)
        yield from self._of_this_process()
        yield from self._of_files()
        found = self._look()
        yield _gauge("ledger_store_readable", "Whether the database answered.", found is not None)
        if found is not None:
            yield from _of_projections(found.projections)
            yield _gauge(
                "ledger_quarantine_deliveries", "Authentic deliveries that nobody could read yet.", found.quarantined
            )
            yield from _of_verification(found.verified)
            yield _of_stuck(found)

    def _of_this_process(self) -> Iterator[Metric]:
        service = self._service
        waiting = sum(queue.depth for queue in service.queues)
        yield _gauge("ledger_queue_items", "Deliveries and sends that wait for the disk.", waiting)
        yield _gauge("ledger_feed_streams", "Clients that follow the feed here.", service.open_streams)
        yield _gauge(
            "ledger_clock_alarm",
            "Whether every delivery of late seems to be from another day.",
            bool(service.clock.warnings()),
        )
        yield self._of_keys()
        yield _gauge(
            "ledger_ready", "Whether /readyz says that the server can do its work.", not service.readiness.reasons()
        )

    def _of_keys(self) -> Metric:
        left = GaugeMetricFamily(
            "ledger_api_key_left_days", "How long an API key that expires is still valid, by its name.", labels=["key"]
        )
        access = self._service.access
        for key in access.keys:
            if key.expires_at_us is not None:
                left.add_metric([key.name], (key.expires_at_us - access.now_us()) / DAY_US)
        return left

    def _of_files(self) -> Iterator[Metric]:
        file = self._service.ledger.database.file
        if file is None:
            return
        sizes = GaugeMetricFamily(
            "ledger_file_bytes", "The size of the embedded databases and of their write-ahead logs.", labels=["file"]
        )
        for name, path in _files_of(file):
            sizes.add_metric([name], path.stat().st_size if path.exists() else 0)
        yield sizes
        yield _gauge(
            "ledger_disk_free_bytes", "Room where the ledger is.", shutil.disk_usage(file.absolute().parent).free
        )

    def _look(self) -> Found | None:
        """What the database says, or said a few seconds ago; None where it does not answer, or has not answered who asked before."""
        if not self._looking.acquire(timeout=LOOK_AWAITED_S):
            return None
        try:
            if time.monotonic() - self._looked_at_s > VALID_S or self._looked_at_s == 0:
                self._found = self._ask()
                self._looked_at_s = time.monotonic()
            return self._found
        finally:
            self._looking.release()

    def _ask(self) -> Found | None:
        ledger, read_models = self._service.ledger, self._service.read_models
        now_us = clock.now_us()
        try:
            with ledger.database.reading() as connection:
                quarantined = registers.waiting_in_quarantine(connection)
            verified = known_verification(self._service.trail)
            return Found(read_models.projections(), quarantined, verified, _stuck(read_models, now_us))
        except (LedgerError, SQLAlchemyError) as error:
            logger.warning("the database could not be asked for metrics", error=type(error).__name__)
            return None


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _files_of(file: Path) -> Iterator[tuple[str, Path]]:
    for name, suffix in (("log", ""), ("read-models", READ_MODELS), ("audit", TRAIL)):
        yield name, file.with_name(file.name + suffix)
        yield f"{name}-wal", file.with_name(f"{file.name}{suffix}-wal")


def _of_verification(found: LastVerification | None) -> Iterator[Metric]:
    yield _gauge(
        "ledger_last_verification_timestamp_seconds",
        "When `ledger verify` last came to its end, in Unix time; 0 for never.",
        0 if found is None else found.at_us / SECOND_US,
    )
    clean = GaugeMetricFamily("ledger_last_verification_clean", "Whether it found everything as it was recorded.")
    if found is not None:
        clean.add_metric([], found.is_clean)
    yield clean


def _of_projections(statuses: Sequence[ProjectionStatus]) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "ledger_projection_state", "1 for the state that a projection is in.", labels=["projection", "state"]
    )
    lag_events = GaugeMetricFamily(
        "ledger_projection_lag_events", "Events of the log that are not projected yet.", labels=["projection"]
    )
    lag_seconds = GaugeMetricFamily(
        "ledger_projection_lag_seconds", "Age of the first event that is not projected yet.", labels=["projection"]
    )
    parked = GaugeMetricFamily(
        "ledger_projection_parked_events", "Events that could not be projected.", labels=["projection"]
    )
    rebuilt = GaugeMetricFamily(
        "ledger_rebuild_done_ratio", "How much of a rebuild is done, while one runs.", labels=["projection"]
    )
    left = GaugeMetricFamily(
        "ledger_rebuild_left_seconds", "How long a rebuild will still take.", labels=["projection"]
    )
    for status in statuses:
        name = [status.name]
        for state in STATES:
            states.add_metric([status.name, state], status.state == state)
        lag_events.add_metric(name, status.lag_events)
        lag_seconds.add_metric(name, status.lag_seconds)
        parked.add_metric(name, status.parked)
        if status.rebuild is not None and not status.is_cut_off:
            rebuilt.add_metric(name, status.rebuild.done / max(status.rebuild.total, 1))
            if status.rebuild.seconds_left is not None:
                left.add_metric(name, status.rebuild.seconds_left)
    yield from (states, lag_events, lag_seconds, parked, rebuilt, left)


def _stuck(read_models: ReadModels, now_us: int) -> dict[tuple[Status, int], int]:
    return {
        (status, age_s): read_models.count_messages(
            MessageFilters(status=status, updated_before_us=now_us - age_s * SECOND_US), at_most=COUNTED_MAX
        )
        for status in STUCK_AFTER_S
        for age_s in AGES_S
    }


def _of_stuck(found: Found) -> Metric:
    stuck = GaugeMetricFamily(
        "ledger_stuck_messages",
        "Messages without news for longer than this, in a status after which news is expected; 10000 means that or more.",
        labels=["status", "older_than_seconds"],
    )
    for (status, age_s), count in found.stuck.items():
        stuck.add_metric([status.value, str(age_s)], count)
    return stuck
