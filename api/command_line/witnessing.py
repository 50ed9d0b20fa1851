"""What a command leaves in the audit trail: on disk before anything personal is printed, and after whatever it administers."""

import os
import pwd
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress

from sqlalchemy.exc import SQLAlchemyError

from api.audit.acts import LEAVES, Act, Leaves, Way, shows_nothing
from api.audit.asked import asked_in_short, subject_in_short
from api.command_line.opening import opened
from ledger.audit.entries import AuditEntry
from ledger.audit.trail import AuditTrail
from ledger.clock import now_us
from ledger.errors import LedgerError
from projections.errors import RebuildRunning

INTERRUPTED = "interrupted"


def note(
    act: Act,
    subject: str | None = None,
    *,
    asked: Mapping[str, object] | None = None,
    outcome: str = "done",
    **result: object,
) -> None:
    """Appends an entry about what this user did, or is shown; on disk when it returns."""
    if LEAVES[act] is Leaves.WHEN_SHOWN and outcome == "done" and shows_nothing(result):
        return
    _append(entry_of(act, subject, asked=asked, outcome=outcome, result=result))


def entry_of(
    act: Act,
    subject: str | None = None,
    *,
    asked: Mapping[str, object] | None = None,
    outcome: str = "done",
    result: Mapping[str, object] | None = None,
) -> AuditEntry:
    """The entry of an act of this user."""
    return AuditEntry(
        at_us=now_us(),
        holder=user(),
        way=Way.COMMAND_LINE.value,
        act=act.value,
        subject=None if subject is None else subject_in_short(subject),
        asked=asked_in_short(asked or {}),
        outcome=outcome,
        result=dict(result or {}),
    )


@contextmanager
def administering(
    act: Act, subject: str | None = None, *, asked: Mapping[str, object] | None = None
) -> Iterator[dict[str, object]]:
    """Notes an act once it has ended, well or not; what there is to tell of it goes into the mapping."""
    result: dict[str, object] = {}
    try:
        yield result
    except BaseException as error:
        outcome = _outcome_of(error)
        found = subject if isinstance(error, RebuildRunning) or outcome == INTERRUPTED else None
        with suppress(LedgerError, SQLAlchemyError):  # what went wrong first is what is told
            note(act, found, outcome=outcome)
        raise
    _append(entry_of(act, subject, asked=asked, result=result))


def user() -> str:
    """The user of the system; who became that user with sudo is told as well."""
    name = _user_name()
    behind = os.environ.get("SUDO_USER", "")
    return f"{name} (sudo: {behind[:64]})" if behind and behind != name else name


def _outcome_of(error: BaseException) -> str:
    """What became of an act, in the words that HTTP has for it: `not-found`, `rebuild-running`."""
    if not isinstance(error, Exception):
        return INTERRUPTED
    if not isinstance(error, LedgerError):
        return "internal"
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()


def _append(entry: AuditEntry) -> None:
    with opened() as ledger, closing(AuditTrail.open(ledger)) as trail:
        trail.append([entry])


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # in a container a user may have no name
        return f"uid {os.geteuid()}"
