"""`ledger history`: the audit of one message, from the log itself and never from a read model."""

import hashlib
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from api.answers import history_answer
from api.audit.acts import Act
from api.command_line.hints import or_what_else_it_is
from api.command_line.opening import opened
from api.command_line.terminal import AsJson, counted, print_bytes, print_json, print_table, said, to_stdout, when
from api.command_line.witnessing import note
from ledger.events import RequestAccepted, event_type_of, sequence_of
from ledger.log_entries import WHY_UNREADABLE, Entry, UnreadableEntry
from ledger.provider import Effect

MessageId = Annotated[str, typer.Argument(metavar="MESSAGE_ID", help="Red Cloud's messageId, exactly as it came.")]


def history(
    message_id: MessageId,
    *,
    body: Annotated[
        int | None,
        typer.Option(
            "--body", metavar="VERSION", help="Print the exact bytes of one event instead.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show every event of a message as it was recorded, in that order.

    For example:

    $ ledger history msg_abc123

    $ ledger history msg_abc123 --body 2 | sha256sum

    $ ledger history msg_abc123 --json | jq '.events[].effect'

    Exit status: 0 shown; 1 the ledger holds nothing of that message, or no
    event of that version; 2 wrong usage or settings.
    """
    with or_what_else_it_is(message_id), opened() as ledger:
        if body is not None:
            exact = ledger.entry(message_id, body).event.receipt.body
            note(Act.READ_BODY, message_id, asked={"version": body})
            print_bytes(exact)
            return
        entries = list(ledger.whole_history(message_id))
    note(Act.READ_HISTORY, message_id, items=len(entries))
    if as_json:
        print_json(history_answer(message_id, entries, masked=False, following=None))
    elif sys.stdout.isatty():
        _print_for_people(message_id, entries)
    else:
        columns = (*COLUMNS, "bodySha256", "hash", "body", REPLAYED)
        print_table(columns, ((*_row(entry), *_proof(entry), _replayed(entry)) for entry in entries))


COLUMNS = ("version", "position", "event", "sequence", "effect", "received (UTC)", "signed by", "late")
REPLAYED = "replayed (UTC)"
SPARED = ("signed by", REPLAYED, "late", "version")


def _print_for_people(message_id: str, entries: Sequence[Entry]) -> None:
    console = to_stdout()
    console.print(said(message_id, "bold"), said(f"· {counted(len(entries), 'event')}, in the order of recording"))
    print_table((*COLUMNS, REPLAYED), ((*_row(entry), _replayed(entry)) for entry in entries), SPARED)
    effects = {entry.effect for entry in entries}
    for effect, line in EXPLANATIONS.items():
        if effect in effects:
            console.print(said(line, "dim"))
    console.print(said("The bytes of one: ledger history … --body VERSION. In plain English: ledger explain …", "dim"))


def _row(entry: Entry) -> tuple[object, ...]:
    if isinstance(entry, UnreadableEntry):
        return (entry.version, entry.position, f"({entry.topic})", None, entry.effect.value, None, None, None)
    event, receipt = entry.event, entry.event.receipt
    return (
        entry.version,
        entry.position,
        event_type_of(event),
        sequence_of(event),
        entry.effect.value,
        when(receipt.received_at_us),
        "(our own)" if isinstance(event, RequestAccepted) else receipt.secret_id or "(unsigned)",
        "late" if receipt.late else None,
    )


def _replayed(entry: Entry) -> str | None:
    """When it was recorded, where it had waited in quarantine."""
    replayed_at_us = None if isinstance(entry, UnreadableEntry) else entry.event.receipt.replayed_at_us
    return None if replayed_at_us is None else when(replayed_at_us)


def _proof(entry: Entry) -> tuple[object, ...]:
    if isinstance(entry, UnreadableEntry):
        return None, entry.hash.hex(), None
    body = entry.event.receipt.body
    return hashlib.sha256(body).hexdigest(), entry.hash.hex(), body.decode("utf-8", "replace")


EXPLANATIONS = {
    Effect.SUPERSEDED: "superseded: it came after an event with a higher sequence, so it changed nothing",
    Effect.REPEATED: "repeated: the same kind had claimed this sequence before, in another body",
    Effect.CONFLICTING: "conflicting: another kind had claimed this sequence before; the first one holds",
    Effect.NOTED: "noted: kept on the message; changes no status by the provider's ordering rule",
    Effect.UNREADABLE: f"unreadable: {WHY_UNREADABLE}",
}
