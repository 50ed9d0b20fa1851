"""GET /audit: who did or saw what. Reading it is an act as well."""

import re

from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller
from api.answers import audit_answer
from api.audit.acts import Act
from api.audit.asked import subject_in_short
from api.audit.witness import tell
from api.http.questions import query_choice, query_limit, query_text, query_time, read_cursor, write_cursor
from api.http.responses import json_answer
from api.service import Service
from ledger.audit.trail import AuditQuestion

_CURSOR = re.compile(r"audit\0([0-9]{1,18})", re.ASCII)


def get_audit(service: Service, _caller: Caller, request: Request) -> Response:
    """Entries of the audit trail, newest first."""
    limit, cursor = query_limit(request), query_text(request, "cursor")
    before = None if cursor is None else int(read_cursor(cursor, _CURSOR)[1])
    entries = service.trail.entries(_question(request), before=before, limit=limit)
    following = write_cursor("audit", entries[-1].number) if len(entries) == limit else None
    tell(request, items=len(entries))
    return json_answer({"items": [audit_answer(each) for each in entries], "next": following})


def _question(request: Request) -> AuditQuestion:
    subject = query_text(request, "subject")
    return AuditQuestion(
        holder=query_text(request, "holder"),
        act=query_choice(request, "act", Act),
        subject=None if subject is None else subject_in_short(subject),
        since_us=query_time(request, "since"),
        until_us=query_time(request, "until"),
    )
