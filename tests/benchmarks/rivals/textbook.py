"""The textbook use of eventsourcing: an Application; for each webhook an aggregate is loaded, told, and saved.

Its native recorders, chosen by the library's own environment (PERSISTENCE_MODULE and so on). Its SQLite recorder uses WAL
and SQLite's default of synchronous=FULL. A conflict of versions is tried again, as its documentation advises.
"""

from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import IntegrityError
from starlette.types import ASGIApp

from ledger.webhooks import Webhook
from tests.benchmarks.rivals.threads import in_thread
from tests.benchmarks.rivals.webhook_route import application

TRIES_MAX = 20


class Message(Aggregate):
    """A message; it knows the facts that it has been told, so that none counts twice."""

    @event("Begun")
    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        self.status = "unknown"
        self.sequence = -1
        self.facts: set[str] = set()

    @staticmethod
    def create_id(message_id: str) -> UUID:
        return uuid5(NAMESPACE_URL, message_id)

    @event("Reported")
    def report(self, kind: str, sequence: int, fact: str, body: str) -> None:  # noqa: ARG002 - kept in the event
        self.facts.add(fact)
        if sequence > self.sequence:
            self.status, self.sequence = kind, sequence


class Messages(Application[UUID]):
    """All messages."""

    def record(self, webhook: Webhook, body: bytes) -> bool:
        """Records a webhook; whether it is new."""
        for _ in range(TRIES_MAX):
            try:
                return self._tell(webhook, body)
            except IntegrityError:
                continue
        raise IntegrityError("other deliveries of the same message were always first")

    def _tell(self, webhook: Webhook, body: bytes) -> bool:
        try:
            message: Message = self.repository.get(Message.create_id(webhook.message_id))
        except AggregateNotFoundError:
            message = Message(webhook.message_id)
        fact = webhook.fact_key.hex()
        if fact in message.facts:
            return False
        message.report(webhook.event_type, webhook.sequence or 0, fact, body.decode())
        self.save(message)
        return True


def create_app() -> ASGIApp:
    """The application."""
    messages = Messages()

    async def record(webhook: Webhook, body: bytes) -> bool:
        return await in_thread(messages.record, webhook, body)

    return application(record)
