"""What a list of messages is read from: ranges of an index, each in the order of the list (newest update first), and merged.

All messages are those of every status, a direction is a set of statuses, a phone number is either end; of a reference or a number
there may be very many, so these are read status by status as well. So no statement reads more of a table than it shows, nor
sorts it, save where several filters beside a status are given: there one of them drives, and the others are looked for in its range;
and what has one reference of the provider's, which is one message, is sorted.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ledger.provider import Direction, Status
from projections.projection import indexed

Condition = tuple[str, tuple[object, ...]]

STATUSES_OF = {
    None: tuple(Status),
    Direction.INBOUND: (Status.RECEIVED,),
    Direction.OUTBOUND: (Status.SUBMITTED, Status.ACCEPTED, Status.SENT, Status.DELIVERED, Status.FAILED),
}
"""The statuses that messages of a direction have; `unknown` is of none."""

BESIDE = {
    "external_reference": "(external_reference || '') = {}",
    "provider_message_ref": "(provider_message_ref || '') = {}",
    "phone": "((sender || '') = {} OR (recipient || '') = {})",
    "failure_code": "(failure_code || '') = {}",
    "number_id": "(number_id || '') = {}",
}
"""The filters beside the one that drives, written as expressions, so that no planner without statistics takes another index."""

DRIVING = (*BESIDE, "status")
"""The filters that an index is by, those first that usually name the fewest messages."""

ONE_BY_ONE = ("provider_message_ref", "failure_code")
"""Those whose index does not go on with the status: the first names one message, and whatever has the second has failed."""

UNSORTED = "provider_message_ref"
"""The one whose index is not in the order of the list. Should it be that of very many, `narrowest` takes the statuses instead."""


@dataclass(frozen=True, slots=True)
class MessageFilters:
    """What `GET /messages` may ask for; None is "any". Times are microseconds since 1970: after is inclusive, before exclusive."""

    status: Status | None = None
    direction: Direction | None = None
    external_reference: str | None = None
    provider_message_ref: str | None = None
    number_id: str | None = None
    phone: str | None = None
    failure_code: str | None = None
    updated_after_us: int | None = None
    updated_before_us: int | None = None

    @property
    def statuses(self) -> tuple[Status, ...]:
        """The statuses that the filters leave."""
        allowed = STATUSES_OF[self.direction]
        if self.failure_code is not None:  # while a message has failed, and only then, there is one
            allowed = tuple(each for each in allowed if each is Status.FAILED)
        return allowed if self.status is None else tuple(each for each in allowed if each is self.status)

    @property
    def each_alone(self) -> "dict[str, MessageFilters]":
        """The filters that may drive, each as if it were the only one (within the same time, and status where its index has that)."""
        times = MessageFilters(updated_after_us=self.updated_after_us, updated_before_us=self.updated_before_us)
        status = self.status if self.failure_code is None else Status.FAILED
        within = replace(times, status=status, direction=self.direction)
        given = {name: getattr(self, name) for name in DRIVING}
        if self.failure_code is not None:
            given["status"] = None
        return {
            name: replace(times if name in ONE_BY_ONE else within, **{name: value})
            for name, value in given.items()
            if value is not None
        }


def ranges_of(filters: MessageFilters, driving: str | None = None) -> list[list[Condition]]:
    """The conditions of each range that the list is merged from; the first ones of a range are what its index is by.

    `driving` is the filter whose ranges they are, one of `filters.each_alone`; None: the first of DRIVING that is given.
    """
    if not filters.statuses:
        return []
    named = {name: getattr(filters, name) for name in BESIDE}
    given = {name: (indexed(value),) for name, value in named.items() if value is not None}
    rest: dict[str, Condition] = {
        name: (BESIDE[name], value * BESIDE[name].count("{}")) for name, value in given.items()
    }
    says_nothing = filters.status is None and filters.direction is None
    if not rest or not (says_nothing or "failure_code" in given):
        rest["status"] = _status_condition(filters.statuses)
    driving = driving or next(iter(rest))
    if driving in ONE_BY_ONE:
        others = [condition for name, condition in rest.items() if name != driving]
        return [[(f"{driving} = {{}}", given[driving]), *others]]
    others = [condition for name, condition in rest.items() if name not in (driving, "status")]
    match driving:
        case "phone":
            firsts: list[list[Condition]] = [
                [("sender = {}", given["phone"])],
                [("recipient = {}", given["phone"]), ("(sender IS NULL OR (sender || '') <> {})", given["phone"])],
            ]
        case "status":
            firsts = [[]]
        case _:
            firsts = [[(f"{driving} = {{}}", given[driving])]]
    return [[*first, ("status = {}", (each.value,)), *others] for first in firsts for each in filters.statuses]


def statement_of(
    table: str,
    conditions: Iterable[Condition],
    filters: MessageFilters,
    place: tuple[int, ...] | None,
    placeholder: str,
) -> Condition:
    """The statement that reads one range, without its LIMIT's value, and the values of its places."""
    after: list[Condition] = [] if place is None else [("(updated_at_us, partition, position) < ({}, {}, {})", place)]
    where, values = _where([*conditions, *_times(filters), *after], placeholder)
    statement = (
        f"SELECT updated_at_us, partition, position, state FROM {table} {where} "  # noqa: S608 - no value in it
        f"ORDER BY updated_at_us DESC, partition DESC, position DESC LIMIT {placeholder}"
    )
    return statement, values


def count_statement_of(
    table: str, conditions: Iterable[Condition], filters: MessageFilters, placeholder: str
) -> Condition:
    """The statement that counts one range up to a LIMIT, without the LIMIT's value, and the values of its places."""
    where, values = _where([*conditions, *_times(filters)], placeholder)
    return f"SELECT count(*) FROM (SELECT 1 FROM {table} {where} LIMIT {placeholder}) AS counted", values  # noqa: S608 - no value in it


def _times(filters: MessageFilters) -> Iterator[Condition]:
    if filters.updated_after_us is not None:
        yield "updated_at_us >= {}", (filters.updated_after_us,)
    if filters.updated_before_us is not None:
        yield "updated_at_us < {}", (filters.updated_before_us,)


def _where(conditions: Sequence[Condition], placeholder: str) -> Condition:
    """All of the conditions, or nothing where there are none."""
    texts = " AND ".join(text.replace("{}", placeholder) for text, _ in conditions)
    return "WHERE " + texts if texts else "", tuple(value for _, values in conditions for value in values)


def merged(statements: Sequence[Condition]) -> Condition:
    """Several ranges as one statement: a round trip to PostgreSQL costs more than a range does."""
    if len(statements) == 1:
        return statements[0]
    text = " UNION ALL ".join(f"SELECT * FROM ({text}) AS r{number}" for number, (text, _) in enumerate(statements))  # noqa: S608 - no value in it
    return text, tuple(value for _, values in statements for value in values)


def _status_condition(statuses: Sequence[Status]) -> Condition:
    places = ", ".join(["{}"] * len(statuses))
    return f"(status || '') IN ({places})", tuple(each.value for each in statuses)
