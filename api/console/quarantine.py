"""What could not be read, kept until a version of ours can: the list, the exact bytes, and trying again."""

import re
from typing import NamedTuple

from starlette.responses import Response

from api.console.rendering import PAGE_HEADERS, query_url, see_other
from api.console.visit import Visit
from api.errors import Forbidden
from api.http.questions import path_text
from api.http.responses import bytes_answer
from ledger.errors import MalformedQuestion
from ledger.store import registers
from ledger.store.registers import QuarantinedDelivery

PAGE_DELIVERIES = 50
BEGINNING_BYTES = 600

_CURSOR = re.compile(r"(-?[0-9]{1,18})-([0-9a-f]{32})", re.ASCII)


class Line(NamedTuple):
    """A delivery in quarantine; `beginning` is that of its body, None where it is withheld."""

    quarantine_id: str
    reason: str
    received_at_us: int
    attempts: int
    body_bytes: int
    beginning: str | None
    replayed_at_us: int | None

    @property
    def is_cut(self) -> bool:
        """Whether the beginning is not all of it."""
        return self.body_bytes > BEGINNING_BYTES


def quarantine_page(visit: Visit) -> Response:
    """What is in quarantine, oldest first."""
    found = visit.service.ledger.quarantined(after=_after(visit.asked("cursor")), limit=PAGE_DELIVERIES + 1)
    page = found[:PAGE_DELIVERIES]
    last = page[-1] if len(found) > len(page) else None
    cursor = last and f"{last.receipt.received_at_us}-{last.quarantine_id}"
    visit.tell(items=len(page))
    return visit.page(
        "quarantine.html",
        lines=[_line(visit, each) for each in page],
        waiting=waiting(visit),
        later=query_url("quarantine", {"cursor": cursor}) if cursor else None,
        replayed=visit.asked("replayed"),
    )


def quarantined_body(visit: Visit) -> Response:
    """The exact bytes of a delivery, as a download."""
    if visit.masked:
        raise Forbidden("A key with the scope 'masked' may not read exact bytes.")
    delivery = visit.service.ledger.quarantined_delivery(path_text(visit.request, "quarantineId"))
    response = bytes_answer(delivery.receipt.body)
    response.headers.update({name: text for name, text in PAGE_HEADERS.items() if name not in response.headers})
    return response


def replay(visit: Visit) -> Response:
    """Records what this version can read by now."""
    replayed, remaining = visit.service.ledger.replay_quarantine()
    visit.tell(replayed=replayed, remaining=remaining)
    visit.service.read_models.wake()
    return see_other(query_url("quarantine", {"replayed": str(replayed)}))


def waiting(visit: Visit) -> int:
    """How many deliveries have not become events yet."""
    with visit.service.ledger.database.reading() as connection:
        return registers.waiting_in_quarantine(connection)


def _after(cursor: str | None) -> tuple[int, str]:
    if cursor is None:
        return (-1, "")
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise MalformedQuestion("the cursor is not one that this page gave out; start without one")
    return int(match[1]), match[2]


def _line(visit: Visit, delivery: QuarantinedDelivery) -> Line:
    body = delivery.receipt.body
    return Line(
        delivery.quarantine_id,
        visit.said(delivery.reason),
        delivery.receipt.received_at_us,
        delivery.attempts,
        len(body),
        None if visit.masked else body[:BEGINNING_BYTES].decode("utf-8", "replace"),
        delivery.replayed_at_us,
    )
