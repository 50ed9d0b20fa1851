"""The list of messages, its filters, and the same as CSV."""

import csv
import io
from collections.abc import Iterator

from starlette.responses import Response

from api.console.listed import AGES, Asked, Line, line_of
from api.console.rendering import PAGE_HEADERS, query_url
from api.console.visit import Visit
from api.visible import visible
from ledger.provider import Status
from ledger.times import write_time

PAGE_MESSAGES = 50
MESSAGES_ASK = ("status", "code", "reference", "number", "age", "cursor")
CSV_PAGE_MESSAGES = 1_000
CSV_MESSAGES_MAX = 10_000
CSV_COLUMNS = ("messageId", "direction", "status", "number", "externalReference", "failureCode", "updatedAt", "missing")
FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Wide ones as well, which some spreadsheets take for the same."""


def messages_page(visit: Visit) -> Response:
    """A page of messages, newest update first."""
    asked = Asked.of(visit)
    page = visit.service.read_models.messages(
        asked.filters(visit.now_us), cursor=visit.asked("cursor"), limit=PAGE_MESSAGES
    )
    visit.tell(items=len(page.items))
    return visit.page(
        "messages.html",
        asked=asked,
        ages=AGES,
        statuses=list(Status),
        lines=[line_of(visit, status) for status in page.items],
        older=query_url("messages", asked.query | {"cursor": page.next}) if page.next else None,
        newest=query_url("messages", asked.query) if visit.asked("cursor") else None,
        csv_url=query_url("messages.csv", asked.query),
        csv_max=CSV_MESSAGES_MAX,
    )


def messages_csv(visit: Visit) -> Response:
    """The newest 10,000 messages of a list, as CSV for a spreadsheet."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(CSV_COLUMNS)
    lines = list(_lines(visit))
    writer.writerows([inert(cell) for cell in _cells(line)] for line in lines)
    visit.tell(items=len(lines))
    headers = PAGE_HEADERS | {"Content-Disposition": 'attachment; filename="messages.csv"'}
    return Response(written.getvalue(), 200, headers, "text/csv; charset=utf-8")


def inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula, and no terminal for an order."""
    shown = visible(cell)
    return f"'{shown}" if shown.lstrip().startswith(FORMULA_STARTS) else shown


def _lines(visit: Visit) -> Iterator[Line]:
    filters, cursor, room = Asked.of(visit).filters(visit.now_us), None, CSV_MESSAGES_MAX
    while room:
        page = visit.service.read_models.messages(filters, cursor=cursor, limit=min(room, CSV_PAGE_MESSAGES))
        yield from (line_of(visit, status) for status in page.items)
        cursor, room = page.next, room - len(page.items)
        if cursor is None:
            return


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.message_id,
        line.direction.value if line.direction else "",
        line.status.value,
        line.party or "",
        line.reference or "",
        line.failure_code or "",
        write_time(line.updated_at_us),
        str(line.missing),
    )
