"""`ledger verify`: whether what is stored is still what was recorded."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from api.audit.acts import Act
from api.command_line.endings import SOMETHING_WRONG
from api.command_line.opening import opened
from api.command_line.terminal import AsJson, counted, print_json, progress_bar, said, to_stderr, to_stdout
from api.command_line.witnessing import entry_of
from api.serving.interpreter import rare_collections
from api.settings import read_settings
from api.verifying import Verified, outcome_of, verify_everything
from ledger.audit.trail import AuditTrail
from ledger.errors import LedgerError, SettingRefused, StoreUnavailable
from ledger.ledger import Ledger
from ledger.signatures import Secret
from ledger.store.driver import said as said_by
from ledger.store.sqlite import DAMAGED
from ledger.verification import Finding, OnProgress, Verification
from ledger.verification.findings import count_of
from ledger.verification.trail_walk import VerifiedTrail

SECRETS_TOLD_MAX = 5
NO_TRAIL = (
    "there was no audit trail beside this ledger, so one begins now: if a server has ever run here, somebody took it away,"
    " and with it the heads that it had noted (docs/RUNBOOK.md, verify)"
)


def verify(
    *,
    head: Annotated[
        list[str] | None,
        typer.Option(
            "--head",
            metavar="POSITION:HASH",
            help="A head that an earlier verification printed (repeatable): finds a tail that was cut off since.",
            show_default=False,
        ),
    ] = None,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Also read each body again, and check its signature by LEDGER_WEBHOOK_SECRETS: those of the past as well.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Prove that nothing stored was changed, deleted, moved or cut off.

    Makes the hash of every event and of every entry of the audit trail again,
    from the first to the last, and compares, also with every head of the log
    that the audit trail notes. Works beside a running server.
    Note the heads that it prints somewhere else, and hand them over the next
    time: whoever can write the database can cut off the log and the trail.
    Lists and conversations are read models, made from the log: whether they
    are as it says, `ledger rebuild` tells, and makes them so.
    The audit trail keeps when this was done, and what was found; that of a
    backup stays as it is, to the byte.

    For example:

    $ ledger verify

    $ ledger verify --deep --head 0-17:5d41… --head audit-9:7f3a…

    Exit status: 0 everything is as it was recorded; 1 something is not, or
    with --deep a signature could not be checked, because its secret is not in
    LEDGER_WEBHOOK_SECRETS; 2 wrong usage or settings.
    """
    try:
        found = _verified(head or (), deep=deep)
    except (SQLAlchemyError, StoreUnavailable) as error:
        found = Verified(Verification(0, 0, 0, (), (_damage(error),)), VerifiedTrail(0, "", ()), deep)
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found, deep=deep, noted_elsewhere=bool(head))
    if found.findings or found.unchecked:
        raise typer.Exit(SOMETHING_WRONG)


def _verified(noted_heads: Sequence[str], *, deep: bool) -> Verified:
    with rare_collections(), opened(as_it_is=True) as ledger, _opened_trail(ledger) as trail:
        secrets = _secrets() if deep else ()
        with _progress_shown() as on_progress:
            found = verify_everything(
                ledger, trail, noted_heads=noted_heads, deep=deep, secrets=secrets, on_progress=on_progress
            )
        if isinstance(trail, AuditTrail):
            if trail.is_new:
                to_stderr().print(said(NO_TRAIL, "yellow"), soft_wrap=True)
            _note(trail, found)
        return found


@contextmanager
def _opened_trail(ledger: Ledger) -> Iterator[AuditTrail | Finding]:
    """The audit trail, or what is wrong with its file: the log is verified all the same."""
    try:
        trail = AuditTrail.open(ledger)
    except (SQLAlchemyError, StoreUnavailable) as error:
        damage = _damage(error)
    else:
        with closing(trail):
            yield trail
        return
    yield damage


def _damage(error: SQLAlchemyError | StoreUnavailable) -> Finding:
    """A file that is so damaged that it cannot be opened is a finding; any other failure is none."""
    told = said_by(error) if isinstance(error, SQLAlchemyError) else str(error)
    if not any(words in told for words in DAMAGED):
        raise error
    return Finding(None, told)


def _secrets() -> tuple[Secret, ...]:
    try:
        return read_settings().secrets or ()
    except SettingRefused as error:
        to_stderr().print(said(f"signatures are not checked: {error}", "yellow"))
        return ()


def _note(trail: AuditTrail, found: Verified) -> None:
    """What was found is told even where the trail cannot take it, or must stay as it is."""
    if trail.database.evidence:
        told = f"{trail.database.file} stays as it is: the audit trail does not know of this verification"
        to_stderr().print(said(told, "yellow"), soft_wrap=True)
        return
    outcome, result = outcome_of(found)
    try:
        trail.append([entry_of(Act.VERIFY, outcome=outcome, result=result)])
    except LedgerError as error:
        to_stderr().print(said(f"the audit trail does not know of this verification: {error}", "yellow"))


def _print(found: Verified, *, deep: bool, noted_elsewhere: bool) -> None:
    console = to_stdout()
    log = found.log
    read = f"{counted(log.events, 'event')} in {counted(log.partitions, 'partition')}"
    signatures = f", {counted(log.signatures, 'signature')} checked again" if deep else ""
    read = f"({read}{signatures}, {counted(found.trail.entries, 'entry', 'entries')} of the audit trail)"
    if found.findings:
        verdict = said(
            f"{counted(count_of(found.findings), 'finding')}: not everything is as it was recorded", "bold red"
        )
    elif found.unchecked:
        verdict = said("Not everything could be checked; what could is as it was recorded", "bold yellow")
    else:
        verdict = said("Everything is as it was recorded", "bold green")
    console.print(verdict, said(read), soft_wrap=True)
    for finding in found.findings:
        console.print(said(f"  {finding}"), soft_wrap=True)
    if log.unchecked:
        console.print(said(f"  {_unchecked_in_words(log.unchecked)}", "yellow"), soft_wrap=True)
    for secret_id, count in log.wrong_secrets.items():
        console.print(said(f"  {_wrong_secret(secret_id, count)}", "yellow"), soft_wrap=True)
    for remark in found.trail.remarks:
        console.print(said(f"  {remark}", "yellow"), soft_wrap=True)
    if not found.findings and not noted_elsewhere:
        noted = counted(len(found.trail.noted_heads), "head")
        told = f"A cut-off end is only found by a head that was noted before: the audit trail notes {noted}, --head gave none."
        console.print(said(told, "yellow"), soft_wrap=True)
    if not found.findings:
        console.print(said("Note elsewhere, for the next time:"))
        for each in found.heads:
            console.print(said(f"  --head {each}", "bold"), soft_wrap=True)


def _unchecked_in_words(unchecked: Mapping[str | None, int]) -> str:
    named = [f"{secret_id} ({count:,})" for secret_id, count in unchecked.items() if secret_id is not None]
    told = []
    if named:
        more = ", …" if len(named) > SECRETS_TOLD_MAX else ""
        told.append(f"LEDGER_WEBHOOK_SECRETS lacks those with the ids {', '.join(named[:SECRETS_TOLD_MAX])}{more}")
    if None in unchecked:
        told.append(f"stored without a signature ({unchecked[None]:,})")
    return f"{counted(sum(unchecked.values()), 'signature')} could not be checked: {'; '.join(told)}"


def _wrong_secret(secret_id: str, count: int) -> str:
    return (
        f"{counted(count, 'signature')} could not be checked: LEDGER_WEBHOOK_SECRETS has another secret under the id {secret_id}"
        " than the one that signed; not one fits"
    )


def _as_json(found: Verified) -> dict[str, object]:
    log = found.log
    return {
        "partitions": log.partitions,
        "events": log.events,
        "signatures": log.signatures,
        "signaturesUnchecked": [{"secretId": each, "count": count} for each, count in log.unchecked.items()],
        "secretsThatFitNone": [{"secretId": each, "count": count} for each, count in log.wrong_secrets.items()],
        "heads": log.heads,
        "auditEntries": found.trail.entries,
        "auditHead": found.trail.head,
        "headsInAudit": len(found.trail.noted_heads),
        "remarks": found.trail.remarks,
        "findings": [
            {"position": finding.position and str(finding.position), "message": finding.message}
            for finding in found.findings
        ],
    }


@contextmanager
def _progress_shown() -> Iterator[OnProgress | None]:
    with progress_bar("verifying") as bar:
        yield None if bar is None else bar.show
