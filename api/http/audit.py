"""GET /audit: who did or saw what. Reading it is an act as well."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller
from api.answers import audit_answer
from api.audit.acts import Act
from api.audit.asked import subject_in_short
from api.audit.witness import tell
from api.http.questions import query_choice, query_limit, query_text, query_time
from api.http.responses import json_answer
from api.service import Service
from api.shapes import Page
from ledger.audit.trail import AuditQuestion
from projections.page_cursors import Number, read_cursor, write_cursor


class BeforeEntry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="audit-1"):
    """Before an entry of the trail, newest first."""

    number: Number


def get_audit(service: Service, _caller: Caller, request: Request) -> Response:
    """Entries of the audit trail, newest first."""
    limit = query_limit(request)
    begin = read_cursor(query_text(request, "cursor"), BeforeEntry)
    before = None if begin is None else begin.number
    found = service.trail.entries(_question(request), before=before, limit=limit + 1)
    entries = found[:limit]
    following = write_cursor(BeforeEntry(entries[-1].number)) if len(found) > limit else None
    tell(request, items=len(entries))
    return json_answer(Page(items=[audit_answer(each) for each in entries], next=following))


def _question(request: Request) -> AuditQuestion:
    subject = query_text(request, "subject")
    return AuditQuestion(
        holder=query_text(request, "holder"),
        act=query_choice(request, "act", Act),
        subject=None if subject is None else subject_in_short(subject),
        since_us=query_time(request, "since"),
        until_us=query_time(request, "until"),
    )
