"""A program that appends and says so: `python -m tests.faults.appender URL APPENDS [synchronous-off]`.

Everything happens in its one thread, so the n-th write or sync is the same one in every run. It creates the ledger,
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

FACTS_A_COMMIT = 3
LARGE_EVERY, LARGE_CHARACTERS = 4, 10_000
TIDY_EVERY = 5
REOPEN_EVERY = 8


def body_of(number: int) -> bytes:
    """The body of that number."""
    text = "x" * (LARGE_CHARACTERS if number % LARGE_EVERY == 0 else 20)
    said = {"eventType": "message.queued", "messageId": f"msg_{number // 2}", "sequence": number, "text": text}
    return json.dumps(said).encode()


def append(url: str, appends: int, *, synchronous_off: bool) -> None:
    """Appends so many times, and tells after each commit where its facts are."""
    ledger = opened(url, synchronous_off=synchronous_off)
    for commit in range(appends):
        numbers = range(commit * FACTS_A_COMMIT, (commit + 1) * FACTS_A_COMMIT)
        tell(ledger, numbers)
        if commit % TIDY_EVERY == TIDY_EVERY - 1:
            ledger.database.tidy()
        if commit % REOPEN_EVERY == REOPEN_EVERY - 1:
            ledger.close()
            ledger = opened(url, synchronous_off=synchronous_off)
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
    append(sys.argv[1], int(sys.argv[2]), synchronous_off="synchronous-off" in sys.argv[3:])
