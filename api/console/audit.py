"""Who did or saw what: the audit trail, newest first. Looking at it is an entry as well."""

import re
from typing import NamedTuple

from starlette.responses import Response

from api.audit.acts import Act
from api.audit.asked import subject_in_short
from api.console.rendering import query_url
from api.console.visit import Visit
from ledger.audit.entries import StoredEntry
from ledger.audit.trail import AuditQuestion
from ledger.errors import MalformedQuestion

PAGE_ENTRIES = 50
FILTERS = ("holder", "act", "subject")

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


class Line(NamedTuple):
    """An entry in the list; `told` is what was asked for and what came of it, in words."""

    number: int
    at_us: int
    holder: str
    way: str
    act: str
    subject: str | None
    told: str
    outcome: str


def audit_page(visit: Visit) -> Response:
    """A page of entries."""
    asked = {name: visit.asked(name) for name in FILTERS}
    before = _before(visit.asked("cursor"))
    found = visit.service.trail.entries(_question(asked), before=before, limit=PAGE_ENTRIES + 1)
    entries = found[:PAGE_ENTRIES]
    older = {**asked, "cursor": str(entries[-1].number)} if len(found) > len(entries) else None
    visit.tell(items=len(entries))
    return visit.page(
        "audit.html",
        asked=asked,
        acts=list(Act),
        lines=[_line(each) for each in entries],
        older=query_url("audit", older) if older else None,
        newest=query_url("audit", asked) if visit.asked("cursor") else None,
    )


def _question(asked: dict[str, str | None]) -> AuditQuestion:
    act, subject = asked["act"], asked["subject"]
    if act is not None and act not in set(Act):
        raise MalformedQuestion(f"act: expected one of {', '.join(Act)}, got {act[:40]!r}")
    return AuditQuestion(asked["holder"], act, None if subject is None else subject_in_short(subject))


def _before(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if _NUMBER.fullmatch(cursor) is None:
        raise MalformedQuestion("the cursor is not one that this page gave out; start without one")
    return int(cursor)


def _line(stored: StoredEntry) -> Line:
    entry, words = stored.entry, stored.entry.in_words()
    return Line(stored.number, entry.at_us, entry.holder, entry.way, entry.act, entry.subject, words, entry.outcome)
