"""`ledger quarantine`: authentic deliveries that could not be read, kept until a version of ours can read them."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from api.answers import quarantine_answer
from api.audit.acts import Act
from api.command_line.endings import SOMETHING_WRONG
from api.command_line.opening import opened
from api.command_line.terminal import AsJson, print_bytes, print_json, print_table, said, to_stderr, to_stdout, when
from api.command_line.witnessing import administering, note
from api.visible import visible
from ledger.ledger import QUARANTINE_PAGE, Ledger
from ledger.store.registers import QuarantinedDelivery

BODY_CHARACTERS_SHOWN = 4_000

quarantine = typer.Typer(
    name="quarantine", help="Look at deliveries that could not be read, and try them again.", no_args_is_help=True
)


@quarantine.command("list")
def list_quarantine(*, as_json: AsJson = False) -> None:
    """List what is in quarantine, oldest first."""
    with opened() as ledger:
        # Without the bodies, each of up to 256 KiB: there may be many.
        shown = [(quarantine_answer(each), _row(each)) for each in _all(ledger)]
    note(Act.LIST_QUARANTINE, items=len(shown))
    if as_json:
        print_json({"items": [answer for answer, _ in shown], "next": None})
        return
    if not shown:
        to_stderr().print("The quarantine is empty.")
    columns = ("quarantineId", "received (UTC)", "attempts", "bytes", "replayed (UTC)", "reason")
    print_table(columns, [row for _, row in shown])


@quarantine.command("show")
def show(
    quarantine_id: Annotated[
        str, typer.Argument(metavar="QUARANTINE_ID", help="As `ledger quarantine list` shows it.")
    ],
    *,
    body: Annotated[bool, typer.Option("--body", help="Print the exact bytes, and nothing else.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one delivery with its body.

    For example:

    $ ledger quarantine show 5d41402abc4b2a76b9719d911017c592 --body > body.bin

    Exit status: 0 shown; 1 there is nothing under that id.
    """
    with opened() as ledger:
        delivery = ledger.quarantined_delivery(quarantine_id)
    note(Act.READ_QUARANTINED, quarantine_id)
    if body:
        print_bytes(delivery.receipt.body)
    elif as_json:
        print_json(quarantine_answer(delivery))
    else:
        _print(delivery)


@quarantine.command("replay")
def replay(*, as_json: AsJson = False) -> None:
    """Record what this version can read by now; the rest stays.

    Exit status: 0 the quarantine is empty; 1 something remains in it.
    """
    with opened() as ledger, administering(Act.REPLAY_QUARANTINE) as result:
        replayed, remaining = ledger.replay_quarantine()
        result |= {"replayed": replayed, "remaining": remaining}
    if as_json:
        print_json({"replayed": replayed, "remaining": remaining})
    else:
        to_stdout().print(f"{replayed} replayed, {remaining} remaining")
    if remaining:
        raise typer.Exit(SOMETHING_WRONG)


def _all(ledger: Ledger) -> Iterator[QuarantinedDelivery]:
    after = (-1, "")
    while page := ledger.quarantined(after=after, limit=QUARANTINE_PAGE):
        yield from page
        after = (page[-1].receipt.received_at_us, page[-1].quarantine_id)


def _row(delivery: QuarantinedDelivery) -> tuple[object, ...]:
    replayed_at_us = delivery.replayed_at_us
    return (
        delivery.quarantine_id,
        when(delivery.receipt.received_at_us),
        delivery.attempts,
        len(delivery.receipt.body),
        None if replayed_at_us is None else when(replayed_at_us),
        delivery.reason,
    )


def _print(delivery: QuarantinedDelivery) -> None:
    console = to_stdout()
    for name, value in msgspec.to_builtins(quarantine_answer(delivery)).items():
        console.print(said(f"{name:<14}", "bold"), said("" if value is None else value), soft_wrap=True)
    # Line ends of a body are its own layout; everything else in it is shown and not obeyed.
    lines = delivery.receipt.body.decode("utf-8", "replace")[:BODY_CHARACTERS_SHOWN].split("\n")
    console.print()
    console.print("\n".join(map(visible, lines)), soft_wrap=True)
    if len(delivery.receipt.body) > BODY_CHARACTERS_SHOWN:
        to_stderr().print("… cut off here; all of it with --body")
