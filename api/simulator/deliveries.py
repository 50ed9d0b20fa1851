"""From facts to deliveries: which are dropped, which come twice and how, and in which order they start on their way.

Pure, and seeded like the facts. The network adds disorder of its own; that is `provider.py`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

from api.simulator.facts import Fact, dice_of

SHARE_RESPELLED = 0.5
SHARE_SIGNED_ANEW = 0.5
SHARE_COPIED_AGAIN = 0.1
SHARE_MOVED_FAR = 0.1
MOVED_PLACES_MAX = 40
COPY_PLACES_MEAN = 20.0
COPIES_MAX = 3

SPELLINGS: tuple[tuple[int | None, tuple[str, str], bool], ...] = (
    (None, (", ", ": "), True),
    (None, (",", ":"), False),
    (2, (",", ": "), False),
    (None, (" ,\t", " :\r\n"), True),
)
"""Ways to spell the same JSON value: indentation, separators, and whether everything beyond ASCII is escaped."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a fact. `copy` is 0 for the first; a copy may spell the body otherwise: still the same fact.

    `signs_anew`: every attempt carries a fresh timestamp; otherwise that of the fact's first attempt. Which of the two
    the provider does is not documented. `due_us`: not before that moment (microseconds since 1970); None: in its turn.
    """

    fact: Fact
    body: bytes = field(repr=False)
    copy: int
    signs_anew: bool
    due_us: int | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """The deliveries in the order in which they begin, and the facts that are never delivered at all."""

    deliveries: tuple[Delivery, ...]
    dropped: frozenset[Fact]


def schedule(
    facts: Sequence[Fact],
    *,
    seed: int,
    shuffle: bool = False,
    duplicates: float = 0.0,
    drop: float = 0.0,
    live: bool = False,
) -> Schedule:
    """Every fact once in its order, save for the share `drop`, which is never delivered.

    The share `duplicates` of the rest is delivered one to three times more. With `shuffle`, nine in ten
    deliveries move a few places, and one in ten goes anywhere. `live`: each waits until its fact has happened.
    """
    dice = dice_of(seed, "deliveries")
    dropped = frozenset(dice.sample(facts, round(drop * len(facts))))
    kept = [fact for fact in facts if fact not in dropped]
    placed = _first_deliveries(kept, dice, shuffle=shuffle)
    placed += _copies(placed, dice, round(duplicates * len(kept)))
    placed.sort(key=lambda placed_one: placed_one[0])
    deliveries = [delivery for _, delivery in placed]
    if live:
        deliveries = [_due(place, delivery, kept) for place, delivery in placed]
        deliveries.sort(key=lambda delivery: delivery.due_us or 0)
    return Schedule(tuple(deliveries), dropped)


def respelled(body: bytes, dice: Random) -> bytes:
    """The same JSON value in other bytes: another order of the members, other white space, other escapes."""
    members = list(json.loads(body).items())
    dice.shuffle(members)
    indent, separators, ascii_only = dice.choice(SPELLINGS)
    return json.dumps(dict(members), indent=indent, separators=separators, ensure_ascii=ascii_only).encode()


def _first_deliveries(facts: Sequence[Fact], dice: Random, *, shuffle: bool) -> list[tuple[float, Delivery]]:
    return [
        (
            _moved(place, len(facts), dice) if shuffle else float(place),
            Delivery(fact, fact.body, 0, signs_anew=dice.random() < SHARE_SIGNED_ANEW),
        )
        for place, fact in enumerate(facts)
    ]


def _due(place: float, delivery: Delivery, facts: Sequence[Fact]) -> Delivery:
    """When what stands at its place happens, and never before what it tells of has happened."""
    there = facts[min(max(0, int(place)), len(facts) - 1)]
    return replace(delivery, due_us=max(delivery.fact.at_us, there.at_us))


def _moved(place: int, places: int, dice: Random) -> float:
    if dice.random() < SHARE_MOVED_FAR:
        return dice.random() * places
    return place + (dice.random() * 2 - 1) * MOVED_PLACES_MAX


def _copies(first: Sequence[tuple[float, Delivery]], dice: Random, copied: int) -> list[tuple[float, Delivery]]:
    return [
        (place + dice.expovariate(1 / COPY_PLACES_MEAN), _copy(delivery.fact, copy, dice))
        for place, delivery in dice.sample(first, copied)
        for copy in range(1, 1 + (dice.randint(2, COPIES_MAX) if dice.random() < SHARE_COPIED_AGAIN else 1))
    ]


def _copy(fact: Fact, copy: int, dice: Random) -> Delivery:
    body = respelled(fact.body, dice) if dice.random() < SHARE_RESPELLED else fact.body
    return Delivery(fact, body, copy, signs_anew=dice.random() < SHARE_SIGNED_ANEW)
