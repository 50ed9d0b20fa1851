"""What the simulated provider knows: facts about messages, and the requests that caused the outbound ones.

Pure values. How they come about is `lifecycles.py`; how they travel is `deliveries.py` and `provider.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

import msgspec

_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that happened to one message, with the body that says so.

    `at_us` is when it happened, in microseconds since 1970; the body may or may not mention it.
    """

    at_us: int
    kind: str
    message_id: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Send:
    """A request of the user's own application with the provider's answer: the body of `POST /sends`.

    `acceptances` is what the ledger then holds of it, one fact for each accepted recipient.
    """

    at_us: int
    idempotency_key: str
    body: bytes = field(repr=False)
    acceptances: tuple[Fact, ...]


def dice_of(seed: int, purpose: str) -> Random:
    """The only source of chance: the same seed and purpose always roll the same numbers."""
    return Random(f"{seed}/{purpose}")  # noqa: S311 - reproducible on purpose; nothing here is a secret


def written(members: Mapping[str, object]) -> bytes:
    """Compact JSON, members in the order given, as the provider's first delivery spells it."""
    return _ENCODER.encode(members)
