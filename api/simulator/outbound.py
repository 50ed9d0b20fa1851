"""The outbound facts: each message takes its course, and tells of it in bodies like the provider's. Pure."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from api.simulator.courses import Course
from api.simulator.facts import Fact, written
from api.simulator.failures import failure_details
from ledger.provider import Kind
from ledger.times import write_time

STEP_US_MIN = 200_000
SHARE_WITHOUT_PROVIDER_REF = 0.2


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """What all facts of one message have in common. `at_us`: when the provider took it on."""

    message_id: str
    to: str
    external_reference: str | None
    course: Course
    at_us: int


def _untimed(_: int) -> dict[str, object]:
    return {}


# The contract leaves open whether a webhook says when it happened; each message keeps to one way.
TIME_MEMBERS: tuple[Callable[[int], dict[str, object]], ...] = (
    _untimed,
    lambda at_us: {"occurredAt": write_time(at_us)},
    lambda at_us: {"timestamp": at_us // 1_000_000},
    lambda at_us: {"createdAt": at_us // 1_000},
)


def outbound_facts(
    message: OutboundMessage, dice: Random, failure_shapes: Iterator[int], *, step_us_max: int
) -> Iterator[Fact]:
    """The facts of one message in the order in which they happen."""
    time_members = TIME_MEMBERS[int(dice.random() * len(TIME_MEMBERS))]
    provider_refs = _provider_refs(dice)
    at_us = message.at_us
    told: set[tuple[str, int | None]] = set()
    for step in message.course.steps:
        at_us += STEP_US_MIN + int(dice.random() * (step_us_max - STEP_US_MIN))
        # The same claim once more comes with another reference; otherwise it would be the same fact.
        provider_ref = f"SM{dice.getrandbits(64):016x}" if step in told else provider_refs.get(step[0])
        told.add(step)
        details = failure_details(next(failure_shapes), dice) if step[0] == Kind.FAILED else {}
        yield _fact(message, step, at_us, {"providerMessageRef": provider_ref} | details | time_members(at_us))


def failure_shapes() -> Iterator[int]:
    """One shape after the other, so that a run with a few failures has seen them all."""
    return itertools.count()


def _provider_refs(dice: Random) -> dict[str, str]:
    """The carrier's reference exists once a message was sent; some carriers never give one."""
    if dice.random() < SHARE_WITHOUT_PROVIDER_REF:
        return {}
    return dict.fromkeys((Kind.SENT, Kind.DELIVERY), f"SM{dice.getrandbits(64):016x}")


def _fact(message: OutboundMessage, step: tuple[str, int | None], at_us: int, more: dict[str, object]) -> Fact:
    kind, sequence = step
    members = {
        "eventType": kind,
        "messageId": message.message_id,
        "externalReference": message.external_reference,
        "sequence": sequence,
        **more,
    }
    present = {name: value for name, value in members.items() if value is not None}
    return Fact(at_us, str(kind), message.message_id, written(present))
