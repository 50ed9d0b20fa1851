"""Putting a backup in the place of an embedded ledger. What was there is put aside under another name, never deleted."""

import shutil
from contextlib import closing
from itertools import chain, count, product
from pathlib import Path
from typing import Any, NamedTuple

from ledger.audit.trail import AuditTrail
from ledger.backups.backup import OF_SQLITE, UNFINISHED, to_disk
from ledger.backups.proof import Named, Proof, proved
from ledger.errors import SettingRefused, StoreUnavailable
from ledger.ledger import Ledger
from ledger.positions import Position
from ledger.store import walk
from ledger.store.database import Database
from ledger.store.held_file import WRITE_AHEAD_LOG
from ledger.store.place import READ_MODELS, TRAIL
from ledger.store.private_file import make_private
from ledger.store.schema import VERSION_TABLE, newest_version, open_existing, upgrade
from ledger.store.sqlite import DAMAGED_FILE, SQLITE, damages_in
from ledger.verification import Finding, NotedHead
from ledger.verification.trail_walk import verify_trail

ASIDE = ".replaced-"
UNCHANGED = "nothing was changed"
NO_TRAIL = (*DAMAGED_FILE, "no such table", "no such column")
"""What SQLite says of a file that is no whole audit trail; whatever else it says is of the disk, of a lock or of rights."""


class Restored(NamedTuple):
    """The heads of what was restored, as `0-17:HASH`; where what was there is now; and whether the audit trail there stayed.

    What that trail notes of the log: the heads `beyond` the end of the backup, and those that the backup holds `otherwise`.
    What is not as it was recorded in the backup, which was accepted: `findings`. Whether what was there was another ledger than
    the backup is of.
    """

    heads: list[str]
    aside: Path | None
    trail_stayed: bool
    beyond: list[NotedHead]
    otherwise: list[NotedHead]
    findings: tuple[Finding, ...]
    replaced_another: bool


def restore(backup: Path, file: Path, moment: str, *, accepts_findings: bool = False) -> Restored:
    """Puts a backup in the place of the ledger in a file.

    The audit trail that is there stays if it is whole and of this ledger, because it knows more than the backup's does;
    else the backup's takes its place.

    The caller holds the claim to the file, so nobody serves it. SettingRefused, with nothing changed, for what is no whole
    backup, and for one in which `ledger verify` would find something, unless whoever restores accepts that. StoreUnavailable,
    with nothing changed, where there is no room, or nobody can tell whether the trail that is there is whole. `moment` is part
    of the names under which things are put aside, all of which belong together: the ledger that was there can be opened under
    its new name.

    Cut off anywhere, either nothing has changed, or the file has two names, under which no server starts: do it again. That
    goes on under the name that was begun, where its write-ahead log may be by then.
    """
    if backup.exists() and file.exists() and backup.samefile(file):
        raise SettingRefused(f"{backup} is the ledger itself and no backup of it; {UNCHANGED}")
    unfinished, unfinished_trail = (each.with_name(each.name + UNFINISHED) for each in (file, _trail_of(file)))
    # What one that was killed has left: SQLite would take its write-ahead log for the copy's.
    _remove(unfinished, unfinished_trail)
    try:
        prepared = _prepared(backup, file, unfinished, accepts_findings=accepts_findings)
        if prepared.brings_trail:
            _copy(_trail_of(backup), unfinished_trail)
    except BaseException:
        _remove(unfinished, unfinished_trail)
        raise
    replaces_another = file.exists() and _is_another(file, prepared.ledger_id)
    aside = _put_aside(file, moment, trail_stays=prepared.trail_stays)
    if prepared.brings_trail:  # without one, the restored ledger begins a new one
        unfinished_trail.rename(_trail_of(file))
    unfinished.rename(file)
    try:
        to_disk(file.parent)
    except OSError as error:
        raise StoreUnavailable(
            f"{backup} is in place, but {file.parent} may not be on disk ({error.strerror}): mend that, and do it again"
        ) from error
    return Restored(
        prepared.heads,
        aside,
        prepared.trail_stays,
        prepared.beyond,
        prepared.otherwise,
        prepared.findings,
        replaces_another,
    )


class _Prepared(NamedTuple):
    """What will be put in place: a whole ledger, on disk beside the file; and what is known of it."""

    heads: list[str]
    ledger_id: str
    findings: tuple[Finding, ...]
    trail_stays: bool
    brings_trail: bool
    beyond: list[NotedHead]
    otherwise: list[NotedHead]


def _prepared(backup: Path, file: Path, copy: Path, *, accepts_findings: bool) -> _Prepared:
    """Copies a backup, brings it to this program's schema and proves it; nothing that was there is touched."""
    heads, ledger_id, schema = _copied(backup, copy)
    if schema != newest_version():
        _upgrade(copy)
    _expect_whole_trail(_trail_of(backup), ledger_id)
    proof = proved(copy, _trail_of(backup), Named(backup, _trail_of(backup), UNCHANGED))
    if not accepts_findings:
        _expect_no_findings(proof)
    trail_stays = _is_trail_of(_trail_of(file), ledger_id)
    beyond, otherwise = _compared(copy, _trail_of(file), ledger_id) if trail_stays else ([], [])
    brings_trail = not trail_stays and _trail_of(backup).exists()
    return _Prepared(heads, ledger_id, proof.findings, trail_stays, brings_trail, beyond, otherwise)


def _put_aside(file: Path, moment: str, *, trail_stays: bool) -> Path | None:
    """Gives what is there its second name, and what belongs to it as well; that name, None where there is nothing."""
    was_there = file.exists()
    begun = _begun_aside(file) if was_there else None
    aside = begun or _free_name(file.with_name(f"{file.name}{ASIDE}{moment}"))
    if was_there and begun is None:
        aside.hardlink_to(file)
    # Before the new file is in place: SQLite would take an old write-ahead log for the new file's own.
    _move_parts(file, aside)
    for name in (READ_MODELS,) if trail_stays else (READ_MODELS, TRAIL):
        part, target = file.with_name(file.name + name), aside.with_name(aside.name + name)
        if part.exists():  # else it was moved already, by a try that was cut off, and its parts go to where it is
            target = _free_name(target)
            part.rename(target)
        _move_parts(part, target)
    return aside if was_there else None


def _move_parts(file: Path, target: Path) -> None:
    """Gives what SQLite has beside a file its place beside another name of it; what is there by now stays."""
    for end in OF_SQLITE:
        part, place = file.with_name(file.name + end), target.with_name(target.name + end)
        if place.exists():
            part.unlink(missing_ok=True)  # of who opened what was left meanwhile, and could not write
        elif part.exists():
            part.rename(place)


def _expect_no_findings(proof: Proof) -> None:
    if proof.findings:
        raise SettingRefused(
            f"{proof.told}; {UNCHANGED}; an older backup may be as it was recorded, and --accept-findings takes this one"
        )


def _begun_aside(file: Path) -> Path | None:
    """The name under which a restore that was cut off has begun to put aside what is there."""
    asides = (each for each in file.parent.iterdir() if each.name.startswith(file.name + ASIDE))
    return next((each for each in asides if each.samefile(file)), None)


def _remove(*unfinished: Path) -> None:
    for each, end in product(unfinished, ("", *OF_SQLITE)):
        each.with_name(each.name + end).unlink(missing_ok=True)


def _free_name(file: Path) -> Path:
    """This name, or where it is taken (by a restore of the same second) one with a number behind it."""
    names = chain([file], (file.with_name(f"{file.name}-{number}") for number in count(2)))
    return next(each for each in names if not each.exists())


def _is_another(file: Path, ledger_id: str) -> bool:
    """Whether a file holds another ledger than that; not where nobody can tell."""
    try:  # as it lies there: where a restore was cut off, its write-ahead log has another name already
        with closing(SQLITE.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            found = connection.execute("SELECT id FROM ledger").fetchone()
    except SQLITE.DatabaseError:
        return False
    return found is not None and found != (ledger_id,)


def _compared(copy: Path, trail: Path, ledger_id: str) -> tuple[list[NotedHead], list[NotedHead]]:
    """The heads that a trail notes beyond the end of a backup, and those that the backup holds otherwise."""
    with closing(Database(f"sqlite:///{trail}")) as database:
        noted = verify_trail(AuditTrail(database, ledger_id)).noted_heads
    beyond, otherwise = [], []
    with closing(Database(f"sqlite:///{copy}", evidence=True)) as database:
        ends = [head.position for head in Ledger(database, open_existing(database)).heads()]
        for head in noted:
            partition, number = head.position
            if partition >= len(ends) or number > ends[partition]:
                beyond.append(head)
            elif number > 0 and walk.hashes_at(database, partition, (number,)).get(number) != head.hash:
                otherwise.append(head)
    return beyond, otherwise


def _trail_of(file: Path) -> Path:
    return file.with_name(file.name + TRAIL)


def _expect_whole_trail(backup: Path, ledger_id: str) -> None:
    """SettingRefused for an audit trail that is not the backup's; there may be none."""
    if backup.exists() and not _is_trail_of(backup, ledger_id, "?mode=ro&immutable=1"):
        raise SettingRefused(f"{backup} is damaged, or is not the audit trail of this ledger; {UNCHANGED}")


def _is_trail_of(file: Path, ledger_id: str, how: str = "?mode=rw") -> bool:
    """Whether a file is a whole audit trail of a ledger; StoreUnavailable where that cannot be told, as on a full disk."""
    if not file.is_file():
        return False
    try:
        with closing(SQLITE.connect(file.absolute().as_uri() + how, uri=True)) as connection:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            return (found, connection.execute("SELECT ledger_id FROM audit_head").fetchone()) == ("ok", (ledger_id,))
    except SQLITE.DatabaseError as error:
        if any(words in str(error) for words in NO_TRAIL):
            return False
        raise StoreUnavailable(
            f"{file} cannot be read: {error}; {UNCHANGED}; mend that, or move it away, and the backup's takes its place"
        ) from error


def _copied(backup: Path, copy: Path) -> tuple[list[str], str, str]:
    """Copies a backup, on disk when this returns, and looks whether it is a whole ledger; its heads, its id, and its schema."""
    if not backup.is_file():
        raise SettingRefused(f"there is no backup {backup}")
    log = backup.with_name(backup.name + WRITE_AHEAD_LOG)
    if log.exists() and log.stat().st_size:
        raise SettingRefused(
            f"{backup} is not whole by itself: {log.name} belongs to it; `ledger backup` makes one file"
        )
    _copy(backup, copy)
    try:
        with closing(SQLITE.connect(copy.as_uri() + "?mode=ro&immutable=1", uri=True)) as connection:
            heads = _heads(connection, backup)
            (schema,) = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() or ("none",)  # noqa: S608 - a name of ours
            return heads, connection.execute("SELECT id FROM ledger").fetchone()[0], schema
    except SQLITE.DatabaseError as error:
        raise SettingRefused(f"{backup} is not a backup of a ledger ({error}); {UNCHANGED}") from None


def _upgrade(copy: Path) -> None:
    """Brings the copy of a backup that an older program made to this one's schema; the backup stays as it is."""
    with closing(Database(f"sqlite:///{copy}")) as database:
        upgrade(database)
    to_disk(copy)


def _heads(connection: Any, backup: Path) -> list[str]:  # noqa: ANN401 - a DBAPI connection has no type
    found = damages_in(connection.execute("PRAGMA integrity_check(1)").fetchone())
    if found:
        raise SettingRefused(f"{backup} is damaged ({found[0]}); {UNCHANGED}")
    heads = connection.execute("SELECT partition, position, hash FROM partition_heads ORDER BY partition").fetchall()
    return [f"{Position(partition, number)}:{digest.hex()}" for partition, number, digest in heads]


def _copy(file: Path, copy: Path) -> None:
    try:
        copy.unlink(missing_ok=True)
        make_private(copy)
        shutil.copyfile(file, copy)
        to_disk(copy)
    except OSError as error:
        raise StoreUnavailable(f"{file} was not copied to {copy}: {error.strerror or error}; {UNCHANGED}") from error
