"""What Red Cloud told of a message and what does not hold: an end that a higher sequence superseded, claims that conflict.

Pure. The rule lets one claim hold; whoever has to answer a customer must hear of the others too, with the reason that they gave.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ledger.events import MessageDelivered, MessageEvent, MessageFailed, OutboundReported, event_type_of
from ledger.message import Message
from ledger.provider import STATUS_OF, Direction, Effect, Kind, Status
from projections.failures import failure_code, failure_details, is_code

DISPUTED_KEPT_MAX = 12
NUMBERS_NAMED_MAX = 12


@dataclass(slots=True)
class Contradictions:
    """Collected event by event. `ends`: the highest report of each end that conflicts with nothing at its sequence.

    `disputed`: failures, by sequence, where something else was told first. `strays`: the versions of events that contradict
    what the message was when it was first heard of, by their kind.
    """

    ends: dict[Kind, OutboundReported] = field(default_factory=dict)
    disputed: dict[int, MessageFailed] = field(default_factory=dict)
    strays: dict[str, list[int]] = field(default_factory=dict)

    def add(self, event: MessageEvent, effect: Effect, version: int, direction: Direction | None) -> None:
        """Takes the next event, what it did, and the message's direction."""
        if effect is Effect.CONFLICTING and not (
            isinstance(event, OutboundReported) and direction is Direction.OUTBOUND
        ):
            self.strays.setdefault(event_type_of(event), []).append(version)
        elif effect is Effect.CONFLICTING:
            if isinstance(event, MessageFailed) and len(self.disputed) < DISPUTED_KEPT_MAX:
                self.disputed.setdefault(event.sequence, event)
        elif isinstance(event, MessageDelivered | MessageFailed):
            held = self.ends.get(event.KIND)
            if held is None or held.sequence < event.sequence:
                self.ends[event.KIND] = event


def superseded_ends(message: Message, ends: Mapping[Kind, OutboundReported]) -> dict[Kind, OutboundReported]:
    """The ends that were told and that a higher sequence of another kind superseded."""
    return {kind: event for kind, event in ends.items() if STATUS_OF[kind] is not message.status}


def contradiction_remarks(message: Message, found: Contradictions) -> Iterator[str]:
    """What does not hold, and what holds in its place."""
    for kind, event in superseded_ends(message, found.ends).items():
        yield (
            f"Superseded: Red Cloud reported {kind.value} at sequence {event.sequence}{_reason(event)}, and"
            f" {_present(message)}, which holds as it is higher."
        )
    for sequence in message.conflicting:
        kinds = [claim.kind.value for claim in message.claims if claim.sequence == sequence]
        if kinds:  # none where the message is a customer's: those are strays
            reason = _reason(found.disputed.get(sequence))
            yield f"Conflict: Red Cloud claimed sequence {sequence} as {' and as '.join(kinds)}{reason}. The first one recorded holds."
    for kind_of_stray, versions in found.strays.items():
        if message.direction is Direction.INBOUND and kind_of_stray == Kind.INBOUND:
            yield (
                f"Conflict: event {listed(versions)} ({kind_of_stray}) says something else under the same messageId. The"
                " first one recorded holds, and no conversation shows another."
            )
            continue
        first = "a message from a customer" if message.direction is Direction.INBOUND else "an outbound message"
        yield (
            f"Conflict: this was first heard of as {first}; event {listed(versions)} ({kind_of_stray}) says otherwise,"
            " under the same messageId, and changed nothing."
        )


def contradiction_steps(message: Message, found: Contradictions) -> Iterator[str]:
    """What to ask because of an end that does not hold, superseded or disputed; empty for what was delivered in the end."""
    superseded = superseded_ends(message, found.ends)
    if message.status is Status.FAILED and any(claim.kind is Kind.DELIVERY for claim in message.claims):
        yield "Before you send again, ask Red Cloud which is true: it confirmed the delivery, too."
    elif message.status is not Status.DELIVERED and superseded:
        told = "that it failed" if Kind.FAILED in superseded else "that it was delivered"
        yield f"Ask Red Cloud which is true: it reported {told}, which should be the end, and {_present(message)} after it."


def is_disputed(message: Message, found: Contradictions) -> bool:
    """Whether there are conflicting reports to ask about."""
    return bool(message.conflicting or found.strays)


def _present(message: Message) -> str:
    kind = next(kind for kind, status in STATUS_OF.items() if status is message.status)
    return f"{kind.value} at sequence {message.sequence}"


def _reason(event: OutboundReported | None) -> str:
    if not isinstance(event, MessageFailed):
        return ""
    code = failure_code(failure_details(event.receipt.body))
    if code is None:
        return " (no code told)"
    return f" (code {code})" if is_code(code) else f" (“{code}”)"


def listed(numbers: Sequence[int]) -> str:
    """Sequences or versions for people: the first of them, where they are many."""
    shown = ", ".join(map(str, numbers[:NUMBERS_NAMED_MAX]))
    return shown if len(numbers) <= NUMBERS_NAMED_MAX else f"{shown} …"
