"""`ledger stuck`: one answer to whether anything is stuck or lost, of messages, of deliveries and of the read models."""

from collections.abc import Sequence

import typer

from api.answers import projection_answer
from api.command_line.endings import SOMETHING_WRONG
from api.command_line.opening import how_far_behind, opened
from api.command_line.terminal import AsJson, print_json, print_table, said, to_stderr
from api.stuck import STUCK_COUNTED_MAX, StuckCount, dated_ahead, stuck_counts
from ledger.clock import now_us
from ledger.durations import DAY_US, lasting
from ledger.store import registers
from ledger.times import write_time
from projections.health import ProjectionStatus
from projections.read_models import ReadModels

COLUMNS = ("number", "of what", "look with")


def stuck(*, as_json: AsJson = False) -> None:
    """Tell whether anything is stuck or lost.

    Stuck is a message that has been submitted for 15 minutes, or accepted or
    sent for 90, without another word. What could not be read or shown is kept
    all the same, and counted here; of deliveries that could not be read those
    of the last 24 hours alone make the exit status 1. (Whether somebody changed
    what is stored: `ledger verify`.)

    For example:

    $ ledger stuck

    $ ledger stuck || mail -s "look at the ledger" support@example.com

    Exit status: 0 nothing is; 1 something is; 2 wrong settings.
    """
    with opened() as ledger, ReadModels.open(ledger) as read_models:
        counts = stuck_counts(read_models, now_us())
        ahead = dated_ahead(read_models, now_us())
        projections = read_models.projections()
        with ledger.database.reading() as connection:
            quarantined = registers.waiting_in_quarantine(connection)
            fresh = registers.waiting_in_quarantine(connection, received_after_us=now_us() - DAY_US)
    behind = [each for each in projections if each.is_behind]
    is_any = (
        any(each.messages for each in counts) or ahead or fresh or behind or any(each.parked for each in projections)
    )
    if as_json:
        more = {"datedAhead": ahead, "quarantinedSinceYesterday": fresh}
        print_json(_as_json(counts, quarantined, projections) | more)
    else:
        print_table(COLUMNS, _rows(counts, ahead, (quarantined, fresh), projections))
        _tell(behind, is_any=bool(is_any), older=quarantined - fresh)
    if is_any:
        raise typer.Exit(SOMETHING_WRONG)


def _rows(
    counts: Sequence[StuckCount], ahead: int, quarantined: tuple[int, int], projections: Sequence[ProjectionStatus]
) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        (
            _counted(each.messages),
            f"messages {each.status.value} for more than {lasting(each.after_s)}",
            f"ledger messages --stuck --status {each.status.value}",
        )
        for each in counts
    ]
    if ahead:
        now = write_time(now_us())
        told = "messages dated after now, so never stuck: a clock of ours was ahead"
        rows.append((_counted(ahead), told, f"ledger messages --updated-after {now}"))
    waiting, fresh = quarantined
    of_the_last_day = f", {fresh:,} of them in the last 24 hours" if waiting else ""
    rows.append((f"{waiting:,}", f"deliveries that could not be read{of_the_last_day}", "ledger quarantine list"))
    for each in projections:
        rows.append((f"{each.parked:,}", f"events that {each.name} could not show", "ledger projections"))
        rows.append((f"{each.lag_events:,}", f"events that {each.name} is behind the log", "ledger projections"))
    return rows


def _counted(messages: int) -> str:
    return f"{messages:,}{' or more' if messages == STUCK_COUNTED_MAX else ''}"


def _tell(behind: Sequence[ProjectionStatus], *, is_any: bool, older: int) -> None:
    if not is_any:
        but = f" What could not be read before the last 24 hours is kept: {older:,}." if older else ""
        to_stderr().print(said(f"Nothing is stuck or lost.{but}", "green"), soft_wrap=True)
    for each in behind:
        told = f"Messages may be further on than this says: {how_far_behind(each)}"
        to_stderr().print(said(told, "yellow"), soft_wrap=True)


def _as_json(
    counts: Sequence[StuckCount], quarantined: int, projections: Sequence[ProjectionStatus]
) -> dict[str, object]:
    return {
        "stuck": [
            {"status": each.status, "messages": each.messages, "olderThanSeconds": each.after_s} for each in counts
        ],
        "quarantined": quarantined,
        "projections": [projection_answer(each) for each in projections],
    }
