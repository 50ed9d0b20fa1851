"""The write-ahead log is moved into the file beside the commits, and no failure of that stops them."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger.events import MessageEvent
from ledger.facts import Fact
from ledger.ledger import Ledger
from ledger.store import sqlite
from ledger.verification import verify
from tests.api.running import running, settings_at, until
from tests.builders import fact, queued, sent


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.database.tidy()
        ledger.database.move_beside_commits()
        yield ledger


def events_in_file(folder: Path) -> int | None:
    """How many events the file holds by itself, without its write-ahead log; None while its pages are being written."""
    with closing(sqlite3.connect(f"file:{folder}/ledger.db?mode=ro&immutable=1", uri=True)) as connection:
        try:
            (found,) = connection.execute("SELECT count(*) FROM events").fetchone()
        except sqlite3.DatabaseError:  # "malformed": some pages are of before, others of after
            return None
        return int(found)


def large(event: Callable[..., MessageEvent], sequence: int) -> Fact:
    """A fact of more pages than are left where they are."""
    return fact(event(sequence, text="x" * 200_000))


def moving_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("ledger-backfill ")}


def test_what_was_committed_is_moved_into_the_file(moving: Ledger, tmp_path: Path) -> None:
    moving.commit([large(queued, 1)])
    until(lambda: events_in_file(tmp_path) == 1)
    moving.commit([large(sent, 2)])
    until(lambda: events_in_file(tmp_path) == 2)

    assert verify(moving).findings == ()


def test_pages_that_somebody_reads_wait_and_commits_do_not(moving: Ledger, tmp_path: Path) -> None:
    moving.commit([large(queued, 1)])
    until(lambda: events_in_file(tmp_path) == 1)
    with moving.database.reading() as reader:
        assert reader.exec_driver_sql("SELECT count(*) FROM events").scalar_one() == 1
        moving.commit([large(sent, 2)])
        moving.database.move()
        assert events_in_file(tmp_path) == 1
    moving.database.move()

    assert events_in_file(tmp_path) == 2


def test_a_pass_that_fails_is_told_and_the_next_one_does_its_work(
    moving: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moving.commit([large(queued, 1)])
    until(lambda: events_in_file(tmp_path) == 1)
    moving.commit([large(sent, 2)])
    (tmp_path / "ledger.db").rename(tmp_path / "away.db")
    moving.database.after_failure(sqlite.SQLITE.OperationalError("disk I/O error"))  # whoever moves opens it anew
    moving.database.move()
    (tmp_path / "away.db").rename(tmp_path / "ledger.db")
    warned = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    moving.commit([large(queued, 3)])
    until(lambda: events_in_file(tmp_path) == 3)

    assert warned[0].startswith(f"the write-ahead log of {tmp_path}/ledger.db was not moved: ")
    assert verify(moving).findings == ()


def test_passes_that_fail_one_after_the_other_are_one_line_in_ten_seconds(
    moving: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ledger.db").rename(tmp_path / "away.db")
    for _ in range(5):
        moving.database.after_failure(sqlite.SQLITE.OperationalError("disk I/O error"))
        moving.database.move()
    (tmp_path / "away.db").rename(tmp_path / "ledger.db")

    told = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len([each for each in told if "was not moved" in each]) == 1


def test_a_few_pages_are_left_where_they_are(moving: Ledger, tmp_path: Path) -> None:
    moving.commit([fact(queued(1))])
    moving.database.move()

    assert events_in_file(tmp_path) == 0


def test_once_nothing_comes_for_a_while_the_write_ahead_log_is_emptied(moving: Ledger, tmp_path: Path) -> None:
    for sequence in range(2):
        moving.commit([fact(queued(sequence))])  # too few pages to be moved before
        until(lambda: (tmp_path / "ledger.db-wal").stat().st_size == 0)
        assert events_in_file(tmp_path) == sequence + 1


def test_emptying_and_moving_do_not_get_into_each_other_s_way(moving: Ledger, tmp_path: Path) -> None:
    for sequence in range(20):
        moving.commit([large(queued, sequence)])
        mover = threading.Thread(target=moving.database.move)
        mover.start()
        moving.database.tidy()
        mover.join()

        assert (tmp_path / "ledger.db-wal").stat().st_size == 0


def test_a_server_moves_all_three_of_its_files(tmp_path: Path) -> None:
    others = moving_threads()
    with running(settings_at(tmp_path)):
        names = {thread.name for thread in moving_threads() - others}
    assert names == {f"ledger-backfill ledger.db{kind}" for kind in ("", ".read-models", ".audit")}


def test_the_thread_ends_when_the_database_is_closed(tmp_path: Path) -> None:
    others = moving_threads()
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        starters = [threading.Thread(target=ledger.database.move_beside_commits) for _ in range(8)]
        for starter in starters:
            starter.start()
        for starter in starters:
            starter.join()
        assert len(moving_threads() - others) == 1
    ledger.database.move_beside_commits()
    assert moving_threads() <= others


def test_where_sqlite_has_the_wal_bug_only_the_writer_moves_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAL_BUG", ((3, 7, 0), (999,)))
    others = moving_threads()
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.database.move_beside_commits()
        assert moving_threads() <= others


def test_on_every_engine_it_can_be_asked_for(store_url: str) -> None:
    with Ledger.open(store_url) as ledger:
        ledger.commit([large(queued, 1)])
        ledger.database.move_beside_commits()
        ledger.database.move()
        ledger.database.tidy()
        ledger.commit([large(sent, 2)])

        assert len(ledger.history("msg_1")) == 2
