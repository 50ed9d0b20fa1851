"""What else an id may be: people have a reference or a number in hand, and a command wants a messageId."""

from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote

from api.command_line.opening import opened, opened_read_models
from api.command_line.terminal import counted
from api.phones import phone_in
from ledger.errors import NotFound
from ledger.ledger import Ledger
from projections.message_ranges import MessageFilters
from projections.read_models import ReadModels

COUNTED_MAX = 1_000
NAMED_MAX = 3


@contextmanager
def or_what_else_it_is(text: str) -> Iterator[None]:
    """Where nothing is found under an id, says with which command something is."""
    try:
        yield
    except NotFound as error:
        with opened_read_models() as read_models, opened() as ledger:
            commands = "; ".join([*_commands(read_models, text), *_messages_of_a_send(ledger, text)])
        raise NotFound(f"{error}; {commands}" if commands else str(error)) from None


def _commands(read_models: ReadModels, text: str) -> Iterator[str]:
    phone = phone_in(text)
    tries = [
        ("an external reference", "--reference", MessageFilters(external_reference=text)),
        ("Red Cloud's own reference", "--provider-reference", MessageFilters(provider_message_ref=text)),
    ]
    if phone is not None:
        tries.append(("a number", "--phone", MessageFilters(phone=phone)))
    for what, option, filters in tries:
        count = read_models.count_messages(filters, at_most=COUNTED_MAX)
        if count:
            said = f"{count:,} or more messages" if count == COUNTED_MAX else counted(count, "message")
            yield f"as {what} it names {said}: ledger messages {option} {quote(filters.phone or text)}"
    try:
        read_models.conversation(text)
    except NotFound:
        return
    yield f"it is a conversation: ledger conversation {quote(text)}"


def _messages_of_a_send(ledger: Ledger, text: str) -> Iterator[str]:
    try:
        _, accepted = ledger.accepted_request(text)
    except NotFound:
        return
    ids = [each.message_id for each in accepted.results]
    named = ", ".join(map(quote, ids[:NAMED_MAX])) + (", …" if len(ids) > NAMED_MAX else "")
    key = f"it is the idempotency key of a request to send {counted(len(ids), 'message')}"
    yield f"{key}: {named}: ledger messages --send {quote(text)}" if ids else f"{key}: all were refused"
