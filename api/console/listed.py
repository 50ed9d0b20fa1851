"""A message as a line of a list, and the filters that a list is asked for with: in words, as an address, as a query."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from api.console.visit import Visit
from api.phones import phone_in
from ledger.durations import SECOND_US
from ledger.errors import MalformedQuestion
from ledger.message import Message, external_reference, missing_sequences
from ledger.provider import Direction, Status
from projections.failures import code_of
from projections.message_ranges import MessageFilters
from projections.queries_messages import MessageStatus


class Age(NamedTuple):
    """How long ago the last update was: within so many seconds, or before."""

    words: str
    within_s: int | None = None
    before_s: int | None = None


AGES: Mapping[str, Age] = {
    "1h": Age("in the last hour", within_s=3_600),
    "24h": Age("in the last 24 hours", within_s=86_400),
    "7d": Age("in the last 7 days", within_s=7 * 86_400),
    "over-15m": Age("more than 15 minutes ago", before_s=900),
    "over-90m": Age("more than 90 minutes ago", before_s=5_400),
    "over-24h": Age("more than 24 hours ago", before_s=86_400),
}


class Line(NamedTuple):
    """A message in a list, as this visitor may see it. `party` is the customer's number."""

    message_id: str
    status: Status
    direction: Direction | None
    party: str | None
    reference: str | None
    failure_code: str | None
    updated_at_us: int
    missing: int
    conflicting: int


def line_of(visit: Visit, status: MessageStatus) -> Line:
    """The line of a message."""
    message = status.message
    code = code_of(message)
    return Line(
        message.message_id,
        message.status,
        message.direction,
        visit.phone(party_of(message)),
        external_reference(message),
        None if code is None else visit.said(code),
        message.updated_at_us,
        len(missing_sequences(message)),
        len(message.conflicting),
    )


def party_of(message: Message) -> str | None:
    """The customer's number: who wrote, or who was written to."""
    if message.inbound is not None:
        return message.inbound.sender
    return message.acceptance.recipient if message.acceptance else None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a list of messages was asked for; None is "any"."""

    status: str | None = None
    code: str | None = None
    reference: str | None = None
    number: str | None = None
    age: str | None = None

    @classmethod
    def of(cls, visit: Visit) -> "Asked":
        """What the address of this request asks for."""
        return cls(*(visit.asked(name) for name in ("status", "code", "reference", "number", "age")))

    @property
    def query(self) -> dict[str, str | None]:
        """The same as the query of an address."""
        return {
            "status": self.status,
            "code": self.code,
            "reference": self.reference,
            "number": self.number,
            "age": self.age,
        }

    @property
    def is_anything(self) -> bool:
        """Whether there is no filter at all."""
        return not any(self.query.values())

    def filters(self, now_us: int) -> MessageFilters:
        """The same for the read model. MalformedQuestion for a status or an age that does not exist."""
        age = Age("ever") if self.age is None else AGES.get(self.age)
        if age is None:
            raise MalformedQuestion(f"age: expected one of {', '.join(AGES)}, got {str(self.age)[:40]!r}")
        if self.status is not None and self.status not in set(Status):
            raise MalformedQuestion(f"status: expected one of {', '.join(Status)}, got {self.status[:40]!r}")
        phone = phone_in(self.number or "")
        return MessageFilters(
            status=None if self.status is None else Status(self.status),
            external_reference=self.reference,
            number_id=self.number if phone is None else None,
            phone=phone,
            failure_code=self.code,
            updated_after_us=None if age.within_s is None else now_us - age.within_s * SECOND_US,
            updated_before_us=None if age.before_s is None else now_us - age.before_s * SECOND_US,
        )
