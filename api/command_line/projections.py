"""`ledger projections`: how the read models are, and another try for the events that they could not take."""

from collections.abc import Sequence
from typing import Annotated

import typer

from api.answers import projection_answer
from api.audit.acts import Act
from api.command_line.endings import SOMETHING_WRONG
from api.command_line.opening import opened_read_models
from api.command_line.terminal import AsJson, counted, print_json, print_table, said, to_stderr, to_stdout
from api.command_line.witnessing import administering
from ledger.durations import SECOND_US, took
from ledger.errors import MalformedQuestion
from ledger.positions import Position
from ledger.times import write_time
from projections.health import ProjectionStatus
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.message_status import MESSAGE_STATUS
from projections.parked import ParkedEvent
from projections.read_models import ReadModels

COLUMNS = ("name", "version", "state", "position", "head", "lag", "since", "parked", "rebuild")
SPARED = ("version", "position", "head", "since")
PARKED_SHOWN = 20

projections = typer.Typer(name="projections", invoke_without_command=True)


def names_to_complete(incomplete: str) -> list[str]:
    """For the shell's completion; asks no database."""
    return [name for name in (MESSAGE_STATUS, INBOUND_CONVERSATIONS) if name.startswith(incomplete)]


Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="As `ledger projections` lists it.", autocompletion=names_to_complete),
]


@projections.callback()
def list_projections(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show how far the read models are, and whether anything is parked.

    `lag` and `since` say how far one is behind the log: how many events, and
    how long ago the first of them was received. `parked` counts events that it
    could not take, which stop nothing else. A rebuild that was cut off is shown
    with how far it came.

    For example:

    $ ledger projections

    $ ledger projections retry message-status

    Exit status: 0 shown; 2 wrong usage or settings.
    """
    if context.invoked_subcommand is not None:
        return
    with opened_read_models() as read_models:
        found = read_models.projections()
        parked = [(each.name, event) for each in found if each.parked for event in read_models.parked(each.name)]
    if as_json:
        items = [projection_answer(each) for each in found]
        print_json({"items": items, "parkedEvents": [_parked_as_json(name, event) for name, event in parked]})
        return
    print_projections(found)
    for each in found:
        if each.is_cut_off:
            to_stderr().print(said(_how_to_go_on(each), "yellow"), soft_wrap=True)
    if parked:
        to_stderr().print(said("Parked events; `ledger projections retry NAME` tries them again:", "yellow"))
    for name, event in parked[:PARKED_SHOWN]:
        place = Position(event.partition, event.position)
        to_stderr().print(said(f"  {name} {place} {event.topic}: {event.error}"), soft_wrap=True)


@projections.command("retry")
def retry(name: Name, *, as_json: AsJson = False) -> None:
    """Try the parked events of a read model again.

    Exit status: 0 none is parked any more; 1 some still are; 2 there is no
    such projection.
    """
    with opened_read_models() as read_models, administering(Act.RETRY_PARKED, known_name(read_models, name)) as result:
        healed, parked = read_models.retry(name)
        result |= {"healed": healed, "parked": parked}
    if as_json:
        print_json({"healed": healed, "parked": parked})
    else:
        to_stdout().print(f"{healed:,} healed, {parked:,} still parked")
    if parked:
        raise typer.Exit(SOMETHING_WRONG)


def print_projections(found: Sequence[ProjectionStatus]) -> None:
    """A line for each."""
    print_table(COLUMNS, map(_row, found), SPARED)


def known_name(read_models: ReadModels, name: str) -> str:
    """The name of a projection that exists; an unknown one is wrong usage."""
    names = [each.name for each in read_models.projections()]
    if name not in names:
        raise MalformedQuestion(f"there is no projection {name!r}, expected {' or '.join(names)}")
    return name


def _parked_as_json(name: str, event: ParkedEvent) -> dict[str, object]:
    return {
        "name": name,
        "position": str(Position(event.partition, event.position)),
        "topic": event.topic,
        "error": event.error,
        "parkedAt": write_time(event.parked_at_us),
    }


def _how_to_go_on(status: ProjectionStatus) -> str:
    return (
        f"The rebuild of {status.name} was cut off: `ledger rebuild {status.name}` goes on where it was,"
        f" `ledger rebuild {status.name} --cancel` drops what it had built."
    )


def _row(status: ProjectionStatus) -> tuple[object, ...]:
    rebuild = status.rebuild
    share = (
        None
        if rebuild is None
        else f"{'cut off at ' * status.is_cut_off}{rebuild.done:,} of {counted(rebuild.total, 'event')}"
    )
    return (
        status.name,
        status.version,
        status.condition,
        status.position.replace(",", ", "),
        status.head.replace(",", ", "),
        f"{status.lag_events:,}",
        took(round(status.lag_seconds * SECOND_US)) if status.lag_events else None,
        f"{status.parked:,}",
        share,
    )
