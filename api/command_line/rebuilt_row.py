"""`ledger rebuild --message`: one message's rows made anew from the log."""

from typing import NamedTuple

import typer

from api.audit.acts import Act
from api.command_line.endings import SOMETHING_WRONG
from api.command_line.opening import opened, warn_if_behind
from api.command_line.terminal import print_json, said, to_stderr, to_stdout
from api.command_line.witnessing import administering
from ledger.errors import UnreadableEvent
from ledger.log_entries import WHY_UNREADABLE, UnreadableEntry
from projections.message_status import MESSAGE_STATUS
from projections.read_models import ReadModels

WHAT_CAME_OF_IT = {
    (True, False): "was right",
    (True, True): "was not as the log says, and is now",
    (False, True): "was not in the log, and is gone",
    (False, False): "was not there, and is not now",
}
"""By whether the row is there now, and whether it changed."""


class RebuiltRow(NamedTuple):
    """What came of a message's row in a read model; `error` where it stays as it was, because an event cannot be read."""

    name: str
    is_there: bool
    changed: bool = False
    error: str | None = None


def rebuild_message(read_models: ReadModels, names: list[str], message_id: str, *, as_json: bool) -> None:
    """Folds a message again for each of these read models, and says what came of it; exit status 1 where one could not."""
    rows = [_rebuilt(read_models, each, message_id) for each in names]
    if as_json:
        print_json({"items": [_as_json(row, message_id) for row in rows]})
    for row in rows:
        if row.error is not None:
            to_stderr().print(said(_in_words(row, message_id), "yellow"), soft_wrap=True)
        elif not as_json:
            to_stdout().print(said(_in_words(row, message_id)), soft_wrap=True)
        warn_if_behind(read_models, row.name)
    if any(row.error is not None for row in rows):
        raise typer.Exit(SOMETHING_WRONG)


def _rebuilt(read_models: ReadModels, name: str, message_id: str) -> RebuiltRow:
    try:
        with administering(Act.REBUILD, message_id, asked={"name": name}) as result:
            changed = read_models.rebuild_message(name, message_id)
            result |= {"changed": changed}
    except UnreadableEvent as error:
        return RebuiltRow(name, _is_there(read_models, name, message_id), error=_what_is_unreadable(message_id, error))
    return RebuiltRow(name, _is_there(read_models, name, message_id), changed)


def _is_there(read_models: ReadModels, name: str, message_id: str) -> bool:
    """Whether a read model has a row for a message: conversations are of messages that a customer wrote in one."""
    held = read_models.current_statuses([message_id]).get(message_id)
    if held is None or name == MESSAGE_STATUS:
        return held is not None
    return held.message.inbound is not None and held.message.inbound.conversation_id is not None


def _what_is_unreadable(message_id: str, error: UnreadableEvent) -> str:
    with opened() as ledger:
        places = (each for each in ledger.whole_history(message_id) if isinstance(each, UnreadableEntry))
        found = next(places, None)
    return str(error) if found is None else f"the event at {found.position} cannot be read: {found.reason}"


def _in_words(row: RebuiltRow, message_id: str) -> str:
    if row.error is not None:
        kept = "stays as it was" if row.is_there else "is not there, as before"
        told = f"{row.name}: the row of {message_id} {kept}: {row.error}; {WHY_UNREADABLE}"
        return f"{told}; `ledger history {message_id}` shows all its events"
    return f"{row.name}: the row of {message_id} {WHAT_CAME_OF_IT[row.is_there, row.changed]}"


def _as_json(row: RebuiltRow, message_id: str) -> dict[str, object]:
    return {
        "name": row.name,
        "messageId": message_id,
        "changed": row.changed,
        "hasRow": row.is_there,
        "error": row.error,
    }
