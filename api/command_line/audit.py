"""`ledger audit`: who did or saw what."""

from collections.abc import Iterator
from contextlib import closing
from typing import Annotated

import typer

from api.answers import audit_answer
from api.audit.acts import Act
from api.audit.asked import subject_in_short
from api.command_line.opening import opened
from api.command_line.terminal import AsJson, print_found, print_json, tell_of_more, when_about
from api.command_line.witnessing import entry_of
from ledger.audit.entries import StoredEntry
from ledger.audit.trail import AuditQuestion, AuditTrail
from ledger.times import asked_time

PAGE_ENTRIES = 500
LIMIT_DEFAULT, LIMIT_MAX = 50, 1_000_000
COLUMNS = ("number", "at (UTC)", "who", "way", "act", "about", "asked and found")
SPARED = ("way", "number", "asked and found")


def audit(
    *,
    holder: Annotated[
        str | None,
        typer.Option("--by", metavar="NAME", help="A key's name, loopback, or a user here.", show_default=False),
    ] = None,
    act: Annotated[Act | None, typer.Option("--act", help="Only this act.", show_default=False)] = None,
    subject: Annotated[
        str | None, typer.Option("--about", metavar="ID", help="A messageId or another id.", show_default=False)
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="RFC 3339 with a zone.", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Before this time.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=LIMIT_MAX, help="How many at most.")] = LIMIT_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show who did or saw what, newest first.

    Every answer that showed a number or a text in clear is an entry, and so
    is every act of an administrator. Looking here is one as well.

    For example:

    $ ledger audit --about msg_abc123

    $ ledger audit --by support --since 2026-11-23T00:00:00Z --json

    Exit status: 0 shown; 2 wrong usage or settings.
    """
    question = AuditQuestion(
        holder,
        None if act is None else act.value,
        None if subject is None else subject_in_short(subject),
        _time("--since", since),
        _time("--until", until),
    )
    with opened() as ledger, closing(AuditTrail.open(ledger)) as trail:
        found = list(_entries(trail, question, limit + 1))
        shown = found[:limit]
        asked = {"holder": holder, "act": question.act, "subject": subject, "since": since, "until": until}
        trail.append([entry_of(Act.READ_AUDIT, asked=asked, result={"items": len(shown)})])
    if as_json:
        print_json({"items": [audit_answer(each) for each in shown]})
    else:
        print_found(COLUMNS, [_row(each) for each in shown], SPARED)
    if len(found) > limit:
        tell_of_more(limit)


def _entries(trail: AuditTrail, question: AuditQuestion, limit: int) -> Iterator[StoredEntry]:
    before: int | None = None
    while limit > 0:
        page = trail.entries(question, before=before, limit=min(limit, PAGE_ENTRIES))
        yield from page
        if not page:
            return
        limit, before = limit - len(page), page[-1].number


def _time(option: str, text: str | None) -> int | None:
    return None if text is None else asked_time(option, text)


def _row(stored: StoredEntry) -> tuple[object, ...]:
    entry = stored.entry
    return (
        stored.number,
        when_about(entry.at_us),
        entry.holder,
        entry.way,
        # In one column, so that however narrow the terminal is, nobody takes a refusal for something that was done.
        entry.act if entry.outcome == "done" else f"{entry.act}: {entry.outcome}",
        entry.subject,
        entry.in_words(),
    )
