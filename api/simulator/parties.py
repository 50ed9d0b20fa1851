"""Who takes part: our numbers, the customers, and the ids that the provider gives out.

Every telephone number lies in the range that is reserved for fiction, so that no run can concern a real person.
"""

from dataclasses import dataclass
from random import Random

OWN_NUMBERS = 3
MESSAGES_PER_CUSTOMER = 8


@dataclass(frozen=True, slots=True)
class OwnNumber:
    """A number of ours at the provider: its id and its telephone number (E.164)."""

    number_id: str
    phone: str


@dataclass(frozen=True, slots=True)
class Parties:
    """The same customers get messages and write back, so that both directions meet on a telephone number."""

    own_numbers: tuple[OwnNumber, ...]
    customers: tuple[str, ...]


def parties(messages: int, dice: Random) -> Parties:
    """A few numbers of ours, and about one customer for every eight messages."""
    own_numbers = tuple(OwnNumber(identifier("num", dice), phone(dice)) for _ in range(OWN_NUMBERS))
    customers = tuple(phone(dice) for _ in range(1 + messages // MESSAGES_PER_CUSTOMER))
    return Parties(own_numbers, customers)


def identifier(prefix: str, dice: Random) -> str:
    """An id like `msg_2f0c…`: 80 random bits, so that two runs with different seeds never meet."""
    return f"{prefix}_{dice.getrandbits(80):020x}"


def awkward_identifier(prefix: str, dice: Random) -> str:
    """An id with the characters that a careless URL would lose."""
    return f"{identifier(prefix, dice)}/%2F ü🙂?#&+"


def phone(dice: Random) -> str:
    """A fictional E.164 number: area code 555, last four digits 0100 to 0199."""
    return f"+1555{200 + int(dice.random() * 800)}01{int(dice.random() * 100):02d}"
