"""What operators watch, counted where it happens. Each app has a registry of its own; nothing here is global.

Labels are bounded: kinds that we know or `other`, our own words for refusals, route templates. No label is personal.
What is looked up instead of counted (lag, stuck messages, disk) is in `api/gauges.py`.
"""

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, PlatformCollector, ProcessCollector

from ledger.events import OUTBOUND_CLASSES, InboundMessageReceived
from ledger.facts import Fact, Item, Outcome, Placed, UnreadableDelivery
from ledger.provider import Kind

OTHER_KIND = "other"
KIND_OF_TOPIC: Mapping[str, str] = {
    **{event.TOPIC: kind for kind, event in OUTBOUND_CLASSES.items()},
    InboundMessageReceived.TOPIC: Kind.INBOUND.value,
}
KINDS = (*KIND_OF_TOPIC.values(), OTHER_KIND)
OUTCOMES = ("recorded", "duplicate", "quarantined")

DURABLE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The counters of one server. Cheap: under 2 µs a webhook, because labels are bound beforehand."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._count_webhooks()
        self._count_commits()
        self._count_audits()
        self._requests = Histogram(
            "ledger_http_request_seconds",
            "Time to the head of an answer, by route template; webhooks are in ledger_time_to_durable_seconds instead.",
            ["method", "route", "status"],
            buckets=REQUEST_BUCKETS_S,
            registry=self.registry,
        )

    def _count_webhooks(self) -> None:
        webhooks = Counter(
            "ledger_webhooks_total",
            "Webhooks that were answered 2xx, by what became of them and by kind.",
            ["outcome", "kind"],
            registry=self.registry,
        )
        self._webhooks = {(outcome, kind): webhooks.labels(outcome, kind) for outcome in OUTCOMES[:2] for kind in KINDS}
        self._quarantined = webhooks.labels("quarantined", OTHER_KIND)
        self._placed = {
            (topic, is_new): self._webhooks["recorded" if is_new else "duplicate", kind]
            for topic, kind in KIND_OF_TOPIC.items()
            for is_new in (True, False)
        }
        self._refused = Counter(
            "ledger_webhooks_refused_total",
            "Webhooks that were not stored, by the problem that the provider was told.",
            ["problem"],
            registry=self.registry,
        )
        self._late = Counter(
            "ledger_webhooks_late_total",
            "Authentic webhooks signed outside the replay window: retries, or a clock that is off.",
            registry=self.registry,
        )
        self._durable = Histogram(
            "ledger_time_to_durable_seconds",
            "From the head of a webhook's request until it is on disk.",
            buckets=DURABLE_BUCKETS_S,
            registry=self.registry,
        )

    def _count_commits(self) -> None:
        self._batches = Histogram(
            "ledger_commit_batch_items",
            "Deliveries and sends that shared a transaction.",
            buckets=BATCH_BUCKETS,
            registry=self.registry,
        )
        self._commits = Histogram(
            "ledger_commit_seconds",
            "Time of a transaction of the log, whether or not it succeeded.",
            buckets=DURABLE_BUCKETS_S,
            registry=self.registry,
        )
        self._failed_commits = Counter(
            "ledger_commit_failures_total",
            "Transactions of the log that failed; nobody in them was answered 2xx.",
            registry=self.registry,
        )

    def _count_audits(self) -> None:
        self._audits = Histogram(
            "ledger_audit_commit_seconds",
            "Time of a transaction of the audit trail, for which every answer in it waits.",
            buckets=DURABLE_BUCKETS_S,
            registry=self.registry,
        )
        self._failed_audits = Counter(
            "ledger_audit_failures_total",
            "Transactions of the audit trail that failed; whoever asked was refused.",
            registry=self.registry,
        )

    def webhook_answered(self, item: Fact | UnreadableDelivery, outcome: Outcome, seconds: float) -> None:
        """A webhook is on disk."""
        if isinstance(item, Fact) and isinstance(outcome, Placed):
            counter = self._placed.get((item.topic, outcome.is_new))
            if counter is None:
                counter = self._webhooks["recorded" if outcome.is_new else "duplicate", OTHER_KIND]
            counter.inc()
        else:
            self._quarantined.inc()
        if item.late:
            self._late.inc()
        self._durable.observe(seconds)

    def webhook_refused(self, problem: str) -> None:
        """A webhook was refused, with the last part of the problem's `type`."""
        self._refused.labels(problem).inc()

    def committed(self, items: Sequence[Item], seconds: float, *, failed: bool) -> None:
        """A transaction of the log ended."""
        self._batches.observe(len(items))
        self._commits.observe(seconds)
        if failed:
            self._failed_commits.inc()

    def audited(self, seconds: float, *, failed: bool) -> None:
        """A transaction of the audit trail ended."""
        self._audits.observe(seconds)
        if failed:
            self._failed_audits.inc()

    def request_answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request other than a webhook was answered."""
        self._requests.labels(method, route, f"{status // 100}xx").observe(seconds)
