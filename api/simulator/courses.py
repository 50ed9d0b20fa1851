"""The courses that an outbound message can take: ordinary ones, and the odd ones that a ledger must hold as well.

A table that can be read as one: how often, how many at least, and which kinds with which sequences. Pure.
"""

from dataclasses import dataclass
from random import Random

from ledger.provider import Kind

READ = "message.read"
CARRIER_ACCEPTED = "message.carrier_accepted"
OUTBOUND_MESSAGES_FOR_ALL_COURSES = 40
"""From so many outbound messages on, every course is taken at least as often as its `least` says."""

_QUEUED, _SENT, _DELIVERED = (Kind.QUEUED, 1), (Kind.SENT, 2), (Kind.DELIVERY, 3)
_ODD = 0.004


@dataclass(frozen=True, slots=True)
class Course:
    """The kinds and sequences of one message's facts, in the order in which they happen.

    A step that stands twice is the same claim in another body (another providerMessageRef).
    """

    steps: tuple[tuple[str, int | None], ...]
    share: float = _ODD
    least: int = 1
    awkward_id: bool = False


COURSES = {
    "failed before it was sent": Course((_QUEUED, (Kind.FAILED, 2)), share=0.05, least=4),
    "failed after it was sent": Course((_QUEUED, _SENT, (Kind.FAILED, 3)), share=0.05, least=4),
    "not heard of again": Course((_QUEUED, _SENT), share=0.03),
    "hole": Course((_QUEUED, (Kind.SENT, 3), (Kind.DELIVERY, 4))),
    "sparse": Course(((Kind.QUEUED, 10), (Kind.SENT, 20), (Kind.DELIVERY, 30))),
    "conflict at the end": Course((_QUEUED, _SENT, _DELIVERED, (Kind.FAILED, 3))),
    "conflict on the way": Course((_QUEUED, _SENT, (Kind.FAILED, 2))),
    "repeated": Course((_QUEUED, _SENT, _DELIVERED, _DELIVERED)),
    "delivered after all": Course((_QUEUED, _SENT, (Kind.FAILED, 3), (Kind.DELIVERY, 4))),
    "read, with sequence": Course((_QUEUED, _SENT, _DELIVERED, (READ, 4))),
    "read, without sequence": Course((_QUEUED, _SENT, _DELIVERED, (READ, None))),
    "unknown kind in the middle": Course((_QUEUED, _SENT, (CARRIER_ACCEPTED, 3), (Kind.DELIVERY, 4))),
    "nothing but an unknown kind": Course(((READ, None),)),
    "awkward id": Course((_QUEUED, _SENT, _DELIVERED), awkward_id=True),
}

DELIVERED = Course((_QUEUED, _SENT, _DELIVERED), share=1 - sum(course.share for course in COURSES.values()), least=0)
"""The ordinary course: whatever no other course claims."""


def courses(messages: int, dice: Random) -> list[Course]:
    """One course for each outbound message, in random order and in the table's proportions."""
    if messages < OUTBOUND_MESSAGES_FOR_ALL_COURSES:
        every = [DELIVERED, *COURSES.values()]
        return dice.choices(every, [course.share for course in every], k=messages)
    taken = [course for course in COURSES.values() for _ in range(max(course.least, round(course.share * messages)))]
    taken += [DELIVERED] * (messages - len(taken))
    dice.shuffle(taken)
    return taken
