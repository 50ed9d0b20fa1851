"""A program that appends and says so: `python -m tests.faults.appender URL APPENDS [synchronous-off]`.

With `projecting` it also keeps the read models up to date and rebuilds them now and then; with `rows-synchronous-off` without
any sync of theirs.

Everything (but a rebuild) happens in its one thread, so the n-th write or sync is the same one in every run. It creates the ledger,
appends small and large facts, moves the write-ahead log into the file now and then, closes and opens again. After each
commit, and only then, it writes `position number` to its standard output; the number stands for a body.
"""

import json
import os
import sys
from collections.abc import Sequence

from sqlalchemy import event

from ledger.facts import Item, Placed
from ledger.ledger import Ledger
from ledger.reception import Reception
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.message_status import MESSAGE_STATUS
from projections.read_models import ReadModels

FACTS_A_COMMIT = 3
LARGE_EVERY, LARGE_CHARACTERS = 4, 10_000
MOVE_EVERY, TIDY_EVERY = 3, 5
REOPEN_EVERY = 8
SYNCHRONOUS_OFF, PROJECTING, ROWS_SYNCHRONOUS_OFF = "synchronous-off", "projecting", "rows-synchronous-off"


def body_of(number: int) -> bytes:
    """The body of that number."""
    text = "x" * (LARGE_CHARACTERS if number % LARGE_EVERY == 0 else 20)
    said = {"eventType": "message.queued", "messageId": f"msg_{number // 2}", "sequence": number, "text": text}
    return json.dumps(said).encode()


def append(url: str, appends: int, *options: str) -> None:
    """Appends so many times, and tells after each commit where its facts are."""
    ledger = opened(url, synchronous_off=SYNCHRONOUS_OFF in options)
    models = opened_models(ledger, *options)
    for commit in range(appends):
        numbers = range(commit * FACTS_A_COMMIT, (commit + 1) * FACTS_A_COMMIT)
        tell(ledger, numbers)
        if models is not None:
            models.catch_up()
        if commit % MOVE_EVERY == MOVE_EVERY - 1:
            move(ledger, models)
        if commit % TIDY_EVERY == TIDY_EVERY - 1:
            tidy(ledger, models)
        if commit % REOPEN_EVERY == REOPEN_EVERY - 1:
            close(ledger, models)
            ledger = opened(url, synchronous_off=SYNCHRONOUS_OFF in options)
            models = opened_models(ledger, *options)
    close(ledger, models)


def opened_models(ledger: Ledger, *options: str) -> ReadModels | None:
    """The read models, where they are asked for."""
    if PROJECTING not in options:
        return None
    models = ReadModels.open(ledger)
    if ROWS_SYNCHRONOUS_OFF in options:
        models.stores.rows.close()
        event.listen(models.stores.rows._writer, "connect", _without_sync)  # noqa: SLF001 - there is no such setting
    return models


def move(ledger: Ledger, models: ReadModels | None) -> None:
    """What a thread of a server does beside the commits."""
    ledger.database.move()
    if models is not None:
        models.stores.rows.move()


def tidy(ledger: Ledger, models: ReadModels | None) -> None:
    """What is done where nothing comes for a while; and a rebuild, which an operator may ask for at any time."""
    ledger.database.tidy()
    if models is not None:
        models.stores.rows.tidy()
        for name in (MESSAGE_STATUS, INBOUND_CONVERSATIONS):
            models.claim_rebuild(name).run()


def close(ledger: Ledger, models: ReadModels | None) -> None:
    """The end of a process."""
    if models is not None:
        models.close()
    ledger.close()


def opened(url: str, *, synchronous_off: bool) -> Ledger:
    """The ledger; for the control experiment without any sync, which the ledger itself can't be told."""
    ledger = Ledger.open(url)
    if synchronous_off:
        ledger.close()
        event.listen(ledger.database._writer, "connect", _without_sync)  # noqa: SLF001 - there is no such setting
    return ledger


def tell(ledger: Ledger, numbers: Sequence[int]) -> None:
    """Commits the facts of these numbers at once, and acknowledges them."""
    outcomes = ledger.commit([received(ledger, number) for number in numbers])
    said = [
        f"{one.position} {number}\n" for one, number in zip(outcomes, numbers, strict=True) if isinstance(one, Placed)
    ]
    os.write(1, "".join(said).encode("ascii"))


def received(ledger: Ledger, number: int) -> Item:
    """The body of that number as it is received."""
    return Reception(None, ledger.partitions).receive((), body_of(number), now_us=number)


def _without_sync(connection: object, _record: object) -> None:
    connection.execute("PRAGMA synchronous=0")  # type: ignore[attr-defined]  # a DBAPI connection


if __name__ == "__main__":
    append(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
