"""`ledger rebuild`: a read model made anew from the log, beside the live one, while reading goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from api.audit.acts import Act
from api.command_line.endings import SOMETHING_WRONG
from api.command_line.opening import opened_read_models
from api.command_line.projections import known_name, names_to_complete
from api.command_line.rebuilt_row import rebuild_message
from api.command_line.terminal import (
    AsJson,
    counted,
    print_json,
    progress_bar,
    said,
    to_stderr,
    to_stdout,
    when_about,
)
from api.command_line.witnessing import administering, note
from api.serving.interpreter import rare_collections
from api.tracing import spans_of, tracing
from ledger.clock import now_us
from ledger.durations import SECOND_US, took
from ledger.errors import MalformedQuestion
from projections.claims import Cancelled
from projections.lease import RebuildProgress
from projections.read_models import ReadModels
from projections.rebuild import RebuildReport

OnProgress = Callable[[RebuildProgress], None]

BEGUN = "begun"
CANCELLED = {
    Cancelled.RUNNING: "the rebuild is cancelled; the live rows were never touched",
    Cancelled.CUT_OFF: "dropped what a cut-off rebuild had built; the live rows were never touched",
    Cancelled.NOTHING: "no rebuild runs, and none was cut off",
}


def rebuild(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="As `ledger projections` lists it. Default: all.",
            autocompletion=names_to_complete,
            show_default=False,
        ),
    ] = None,
    *,
    message: Annotated[
        str | None,
        typer.Option("--message", metavar="MESSAGE_ID", help="Only this message's rows.", show_default=False),
    ] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Make what was live before the last rebuild live again, once.")
    ] = False,
    cancel: Annotated[
        bool,
        typer.Option(
            "--cancel", help="End a rebuild that runs anywhere; drop what it, or one that was cut off, had built."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make read models anew from the log, while everything goes on.

    Builds beside the live rows, compares all of them, and switches at once.
    Interrupted with Ctrl-C or killed, it goes on where it was when it is
    started again; `ledger projections` shows one that was cut off, at which
    event of how many, and --cancel drops what it had built.

    Rows that differed are no failure, as they are now what the log says: they
    are told with examples, and --json has their number as `rowsDiffering`.
    Whether the log is as it was recorded, `ledger verify` says.

    For example:

    $ ledger rebuild

    $ ledger rebuild message-status --message msg_abc123

    $ ledger rebuild message-status --rollback

    Exit status: 0 done; 1 a rebuild runs already, was cancelled, there is
    nothing to go back to or to cancel, or an event of the message cannot be
    read; 2 wrong usage or settings; 130 interrupted with Ctrl-C.
    """
    _expect_one_order(name, message, rollback=rollback, cancel=cancel)
    with rare_collections(), tracing() as traces, opened_read_models(spans_of(traces)) as read_models:
        names = [each.name for each in read_models.projections()] if name is None else [known_name(read_models, name)]
        if message is not None:
            rebuild_message(read_models, names, message, as_json=as_json)
        elif rollback:
            _roll_back(read_models, names[0], as_json=as_json)
        elif cancel:
            _cancel(read_models, names[0], as_json=as_json)
        else:
            _rebuild_all(read_models, names, as_json=as_json)


def _expect_one_order(name: str | None, message: str | None, *, rollback: bool, cancel: bool) -> None:
    given = [option for option, is_given in (("--rollback", rollback), ("--cancel", cancel)) if is_given]
    if message is not None:
        given.append("--message")
    if len(given) > 1:
        raise MalformedQuestion(f"{' and '.join(given)} exclude each other")
    if name is None and (rollback or cancel):
        raise MalformedQuestion(f"{given[0]} needs the NAME of a projection")


def _rebuild_all(read_models: ReadModels, names: list[str], *, as_json: bool) -> None:
    items = []
    for each in names:
        before = read_models.projection_status(each)
        if before.rebuild is not None and before.is_cut_off:
            at = f"{before.rebuild.done:,} of {counted(before.rebuild.total, 'event')}"
            to_stderr().print(said(f"{each}: goes on where it was cut off, at {at}", "yellow"), soft_wrap=True)
        try:
            with administering(Act.REBUILD, each) as result, progress_shown(each) as on_progress:
                claimed = read_models.claim_rebuild(each)
                note(Act.REBUILD, each, outcome=BEGUN)  # whoever is killed leaves no other
                report = claimed.run(on_progress)
                result |= {"events": report.events, "rowsDiffering": report.rows_differing}
        except KeyboardInterrupt:
            to_stderr().print(
                said(f"interrupted; `ledger rebuild {each}` goes on where it was", "yellow"), soft_wrap=True
            )
            raise
        parked = read_models.projection_status(each).parked
        items.append({"name": each, **_as_json(report), "parked": parked})
        if not as_json:
            _print(each, report)
        if parked:
            to_stderr().print(said(_what_is_parked(each, parked), "yellow"), soft_wrap=True)
    if as_json:
        print_json({"items": items})


def _roll_back(read_models: ReadModels, name: str, *, as_json: bool) -> None:
    with administering(Act.ROLLBACK, name):
        dropped = read_models.rollback(name)
    if dropped:
        to_stderr().print(said(f"{name}: dropped what a cut-off rebuild had built", "yellow"), soft_wrap=True)
    told = f"{name}: what was live before the last rebuild is live again, since {when_about(now_us())} (UTC)"
    _tell(told, {"name": name, "rolledBack": True}, as_json=as_json)


def _cancel(read_models: ReadModels, name: str, *, as_json: bool) -> None:
    with administering(Act.CANCEL_REBUILD, name) as result:
        found = read_models.cancel_rebuild(name)
        cancelled = found is not Cancelled.NOTHING
        result |= {"cancelled": cancelled}
    _tell(f"{name}: {CANCELLED[found]}", {"name": name, "cancelled": cancelled}, as_json=as_json)
    if not cancelled:
        raise typer.Exit(SOMETHING_WRONG)


def _tell(text: str, value: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json(value)
    else:
        to_stdout().print(said(text), soft_wrap=True)


def _print(name: str, report: RebuildReport) -> None:
    console = to_stdout()
    rate = report.events / report.seconds if report.seconds else 0.0
    done = f"{counted(report.events, 'event')} in {took(round(report.seconds * SECOND_US))} ({rate:,.0f} events/s)"
    console.print(said(name, "bold"), said(f"rebuilt from {done}"), soft_wrap=True)
    if not report.rows_differing:
        console.print(said(f"  {_as_they_were(report.rows_compared)}", "green"), soft_wrap=True)
        return
    are = "is" if report.rows_differing == 1 else "are"
    differ = f"{report.rows_differing:,} of {counted(report.rows_compared, 'row')} differed, and {are} now as the log says; for example"
    console.print(said(f"  {differ}", "bold yellow"), soft_wrap=True)
    for example in report.examples:
        positions = ", ".join(map(str, example.positions))
        told = f"    {example.key}: {', '.join(example.columns)} (explained by the events at {positions})"
        console.print(said(told), soft_wrap=True)


def _as_they_were(rows: int) -> str:
    match rows:
        case 0:
            return "there were no rows to compare with"
        case 1:
            return "the one row is as it was"
        case _:
            return f"all {rows:,} rows are as they were"


def _what_is_parked(name: str, parked: int) -> str:
    are, them = ("is", "it") if parked == 1 else ("are", "them")
    return (
        f"{name}: {counted(parked, 'event')} {are} parked: `ledger projections` says why,"
        f" `ledger projections retry {name}` tries {them} again"
    )


def _as_json(report: RebuildReport) -> dict[str, object]:
    return {
        "events": report.events,
        "seconds": report.seconds,
        "rowsCompared": report.rows_compared,
        "rowsDiffering": report.rows_differing,
        "examples": [
            {"key": each.key, "columns": each.columns, "positions": [str(position) for position in each.positions]}
            for each in report.examples
        ],
    }


@contextmanager
def progress_shown(name: str) -> Iterator[OnProgress | None]:
    """A bar that a rebuild moves, if somebody is looking."""
    with progress_bar(f"rebuilding {name}") as bar:
        if bar is None:
            yield None
            return

        def show(at: RebuildProgress) -> None:
            # The log grows meanwhile, so the bar's own estimate would begin again and again.
            bar.show(at.done, at.total, f"{at.events_per_second:,.0f} events/s", at.seconds_left)

        yield show
