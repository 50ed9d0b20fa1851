"""Everything that happens at the simulated provider, from a seed: the same arguments always give the same bytes.

Pure: no clock, no network. Times begin at `start_us` and are told in microseconds since 1970.
"""

from dataclasses import dataclass
from operator import attrgetter

from api.simulator.courses import courses
from api.simulator.facts import Fact, Send, dice_of
from api.simulator.inbound import inbound_facts
from api.simulator.outbound import failure_shapes, outbound_facts
from api.simulator.parties import Parties, parties
from api.simulator.sends import outbound_messages
from api.simulator.tempo import NATURAL, Tempo


@dataclass(frozen=True, slots=True)
class Traffic:
    """What happened: all facts in the order in which they happened, and the sends that caused the outbound messages."""

    facts: tuple[Fact, ...]
    sends: tuple[Send, ...]


def traffic(messages: int, *, seed: int, inbound: float, start_us: int, tempo: Tempo = NATURAL) -> Traffic:
    """What so many messages bring, of which the share `inbound` (0 to 1) comes from customers."""
    span_us = messages * tempo.message_gap_us
    taking_part = parties(messages, dice_of(seed, "parties"))
    inbound_messages = round(messages * inbound)
    sends, facts = _outbound(
        messages - inbound_messages, taking_part, seed, start_us=start_us, tempo=tempo, span_us=span_us
    )
    dice = dice_of(seed, "inbound")
    facts += inbound_facts(
        inbound_messages, taking_part, dice, start_us=start_us, span_us=span_us, answer_us_max=tempo.answer_us_max
    )
    facts.sort(key=attrgetter("at_us"))
    return Traffic(tuple(facts), tuple(sends))


def _outbound(
    messages: int, taking_part: Parties, seed: int, *, start_us: int, tempo: Tempo, span_us: int
) -> tuple[list[Send], list[Fact]]:
    dice, shapes = dice_of(seed, "outbound"), failure_shapes()
    taken = courses(messages, dice)
    groups = outbound_messages(taken, taking_part, dice, start_us=start_us, gap_us=span_us / max(1, messages))
    sends: list[Send] = []
    facts: list[Fact] = []
    for send, outbound in groups:
        sends.append(send)
        for message in outbound:
            facts += outbound_facts(message, dice, shapes, step_us_max=tempo.step_us_max)
    return sends, facts
