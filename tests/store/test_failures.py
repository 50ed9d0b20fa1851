"""Promise 1 where the store fails: nothing acknowledged is lost, and what is tried again is stored once."""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, make_url
from sqlalchemy import event as engine_events
from sqlalchemy.exc import DBAPIError

from ledger.errors import StoreUnavailable
from ledger.events import MessageEvent
from ledger.facts import Fact, Outcome, Placed, Quarantined, Registered, UnreadableDelivery
from ledger.ledger import Ledger
from ledger.positions import Position
from ledger.reception import Reception
from ledger.sends import parse_send, send_of
from ledger.store.damage import StoreDamaged
from ledger.store.database import Database
from ledger.store.driver import run, said
from ledger.store.log import Head, lock_head, lock_heads
from ledger.store.postgres import CONNECTIONS_MAX, TIMEOUTS_MS, WRITER_IDLE_MS_MAX
from ledger.store.reads import heads
from ledger.store.registers import keep_unreadable, register_send
from ledger.store.sqlite import SQLITE
from ledger.verification import verify
from projections.checkpoints import Generation, lock
from projections.message_status import MESSAGE_STATUS
from projections.read_models import ReadModels
from tests.api.running import until
from tests.builders import (
    NOW_US,
    body,
    delivered,
    event,
    fact,
    facts,
    kept_unread,
    queued,
    send_body,
    sent,
    stored_facts,
)
from tests.damaging import damage
from tests.engines import PrivatePostgres
from tests.store.severing_proxy import Sever, SeveringProxy

IO_ERROR = SQLITE.OperationalError("disk I/O error")


@pytest.fixture
def proxy(store_url: str) -> Iterator[SeveringProxy]:
    if store_url.startswith("sqlite"):
        pytest.skip("an embedded ledger has no connection that could be lost")
    with SeveringProxy(store_url) as running:
        yield running


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.commit([fact(queued())])
        yield ledger


def writer_of(ledger: Ledger) -> Engine:
    with ledger.database.writing() as connection:
        return connection.engine


@contextmanager
def failing_statement(engine: Engine, words: str) -> Iterator[None]:
    """Has the next statement with these words fail as if the disk had."""

    def fail(_connection: object, _cursor: object, statement: str, *_how: object) -> None:
        if words in statement:
            raise IO_ERROR

    engine_events.listen(engine, "before_cursor_execute", fail)
    try:
        yield
    finally:
        engine_events.remove(engine, "before_cursor_execute", fail)


def test_idle_work_that_fails_is_one_line_of_the_log(
    embedded: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    embedded.close()
    (tmp_path / "ledger.db").rename(tmp_path / "away.db")

    embedded.database.tidy()

    (warned,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert not warned.exc_info
    assert warned.getMessage().startswith(f"the write-ahead log of {tmp_path}/ledger.db was not emptied: ")


def test_a_file_that_failed_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(Database(f"sqlite:///{tmp_path}/ledger.db.read-models", durable=False)) as database:
        database.after_failure(IO_ERROR)

    (said,) = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert said.startswith(f"{tmp_path}/ledger.db.read-models failed; ")


def test_a_postgresql_that_does_not_wait_for_the_disk_although_it_was_asked_to_is_refused(proxy: SeveringProxy) -> None:
    """As behind a pooler of connections that leaves out what is asked of a session."""
    proxy.rewritten = (b"synchronous_commit=on ", b"synchronous_commit=0  ")

    with pytest.raises(StoreUnavailable, match="refused synchronous_commit=on: it answered off"):
        Ledger.open(proxy.url)


@pytest.mark.parametrize("where", list(Sever))
def test_a_connection_lost_in_commit_is_resolved_and_answered_as_recorded(proxy: SeveringProxy, where: Sever) -> None:
    with Ledger.open(proxy.url) as ledger:
        proxy.plan.append(where)
        outcomes = ledger.commit(facts([queued(1), sent(2), queued(1)]))

        assert proxy.severed == [where]
        assert outcomes == [
            Placed(Position(0, 1), 1, is_new=True),
            Placed(Position(0, 2), 2, is_new=True),
            Placed(Position(0, 1), 1, is_new=False),
        ]
        assert ledger.commit([fact(sent(2))]) == [Placed(Position(0, 2), 2, is_new=False)]
        assert len(stored_facts(ledger)) == 2
        assert verify(ledger).findings == ()


@pytest.mark.parametrize("where", list(Sever))
def test_what_was_stored_before_an_unknown_outcome_stays_a_duplicate(proxy: SeveringProxy, where: Sever) -> None:
    with Ledger.open(proxy.url) as ledger:
        ledger.commit([fact(queued(1))])
        again = event(body("message.queued", sequence=1), received_at_us=NOW_US + 1)
        proxy.plan.append(where)

        assert ledger.commit(facts([again, sent(2)])) == [
            Placed(Position(0, 1), 1, is_new=False),
            Placed(Position(0, 2), 2, is_new=True),
        ]


@pytest.mark.parametrize("where", list(Sever))
def test_of_copies_in_one_commit_the_first_is_the_new_one_after_an_unknown_outcome_too(
    proxy: SeveringProxy, where: Sever
) -> None:
    with Ledger.open(proxy.url) as ledger:
        later = event(body("message.queued", sequence=1), received_at_us=NOW_US + 1)
        proxy.plan.append(where)

        assert ledger.commit(facts([queued(1), later])) == [
            Placed(Position(0, 1), 1, is_new=True),
            Placed(Position(0, 1), 1, is_new=False),
        ]


@pytest.mark.parametrize("where", list(Sever))
def test_what_was_kept_beside_the_log_before_an_unknown_outcome_is_not_new_after_it(
    proxy: SeveringProxy, where: Sever
) -> None:
    raw = send_body(["msg_1"])
    with Ledger.open(proxy.url) as ledger:
        outcomes: list[Outcome] = []
        for now_us in (NOW_US, NOW_US + 1):
            unreadable = Reception(None, 1).receive([], b"?", now_us=now_us)
            outcomes += ledger.commit([unreadable, send_of(parse_send(raw), raw, partitions=1, now_us=now_us)])
            proxy.plan.append(where)

    assert [each.is_new for each in outcomes if isinstance(each, Quarantined)] == [True, False]
    assert [each for each in outcomes if isinstance(each, Registered)] == [
        Registered(is_new=True, is_same=True),
        Registered(is_new=False, is_same=True),
    ]


def test_an_attempt_in_the_microsecond_of_the_first_is_not_taken_for_it_after_an_unknown_outcome(
    proxy: SeveringProxy,
) -> None:
    unreadable = Reception(None, 1).receive([], b"?", now_us=NOW_US)
    with Ledger.open(proxy.url) as ledger:
        ledger.commit([unreadable])
        proxy.plan.append(Sever.AFTER_COMMIT)
        (kept,) = ledger.commit([unreadable])

    assert isinstance(kept, Quarantined)
    assert not kept.is_new


@pytest.mark.parametrize("where", list(Sever))
def test_what_is_kept_beside_the_log_is_answered_as_new_after_an_unknown_outcome_too(
    proxy: SeveringProxy, where: Sever
) -> None:
    raw = send_body(["msg_1"])
    unreadable = Reception(None, 1).receive([], b"?", now_us=NOW_US)
    assert isinstance(unreadable, UnreadableDelivery)
    with Ledger.open(proxy.url) as ledger:
        proxy.plan.append(where)
        kept, registered = ledger.commit([unreadable, send_of(parse_send(raw), raw, partitions=1, now_us=NOW_US)])

        assert kept == Quarantined(unreadable.quarantine_id.hex(), unreadable.reason, is_new=True)
        assert registered == Registered(is_new=True, is_same=True)
        assert [each.attempts for each in ledger.quarantined(limit=5)] == [1]


@pytest.mark.parametrize("where", list(Sever))
def test_a_replay_counts_what_it_replayed_after_an_unknown_outcome_too(proxy: SeveringProxy, where: Sever) -> None:
    with Ledger.open(proxy.url) as ledger:
        ledger.commit([kept_unread(queued(1).receipt.body), kept_unread(sent(2).receipt.body)])
        ledger.replay_quarantine()
        ledger.commit([kept_unread(delivered(3).receipt.body)])
        proxy.plan.append(where)

        assert ledger.replay_quarantine() == (1, 0)
        assert proxy.severed == [where]
        assert len(stored_facts(ledger)) == 3
        assert ledger.replay_quarantine() == (0, 0)


def test_where_the_outcome_stays_unknown_the_sender_is_told_to_try_again_and_is_then_recorded_once(
    proxy: SeveringProxy,
) -> None:
    with Ledger.open(proxy.url) as ledger:
        proxy.plan += [Sever.BEFORE_COMMIT, Sever.AFTER_COMMIT]
        with pytest.raises(StoreUnavailable, match="refused a commit twice"):
            ledger.commit([fact(queued(1))])

        assert ledger.commit([fact(queued(1))]) == [Placed(Position(0, 1), 1, is_new=False)]
        assert len(stored_facts(ledger)) == 1


def test_when_postgresql_has_crashed_and_started_again_the_ledger_goes_on(postgres: PrivatePostgres) -> None:
    with PrivatePostgres() as own_server, Ledger.open(own_server.new_database()) as ledger:
        ledger.commit([fact(queued(1))])
        own_server.stop(immediate=True)
        with pytest.raises(StoreUnavailable):
            ledger.commit([fact(sent(2))])
        own_server.start()

        assert ledger.commit(facts([sent(2), queued(1)])) == [
            Placed(Position(0, 2), 2, is_new=True),
            Placed(Position(0, 1), 1, is_new=False),
        ]
        assert verify(ledger).findings == ()


def test_who_reads_does_not_notice_that_postgresql_was_restarted_meanwhile(postgres: PrivatePostgres) -> None:
    with PrivatePostgres() as own_server, Ledger.open(own_server.new_database()) as ledger:
        ledger.commit([fact(queued(1))])
        with ledger.database.reading() as one, ledger.database.reading() as another:
            assert heads(one) == heads(another)
        own_server.stop()
        own_server.start()

        with ledger.database.reading() as one, ledger.database.reading() as another:
            assert [each.position for each in (*heads(one), *heads(another))] == [1, 1]


def test_partitions_that_are_written_at_once_keep_their_connections(postgres: PrivatePostgres) -> None:
    def sessions() -> set[int]:
        with ExitStack() as at_once:
            writers = [at_once.enter_context(ledger.database.writing()) for _ in range(CONNECTIONS_MAX)]
            return {each.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() for each in writers}

    with postgres.fresh_database() as url, Ledger.open(url, partitions=CONNECTIONS_MAX) as ledger:
        first = sessions()

        assert len(first) == CONNECTIONS_MAX
        assert sessions() == first


def test_of_several_hosts_the_primary_is_written_and_read_although_a_standby_is_named_first(
    postgres: PrivatePostgres,
) -> None:
    """As after a failover and the return of the first one: a pool that had connected to the standby refused until a restart."""
    with PrivatePostgres() as standby, postgres.fresh_database() as url:
        place = make_url(url)
        other = make_url(standby.url_of(str(place.database)))
        standby.execute(f'CREATE DATABASE "{place.database}"')
        standby.execute(f"ALTER ROLE ledger PASSWORD '{place.password}'")
        standby.stop()
        (standby.data / "standby.signal").touch()
        standby.start()
        hosts = (f"{other.host}:{other.port}", f"{place.host}:{place.port}")
        both = place.set(host=None, port=None, query={"host": hosts})
        with Ledger.open(both.render_as_string(hide_password=False)) as ledger:
            assert ledger.commit([fact(queued())]) == [Placed(Position(0, 1), 1, is_new=True)]
            assert ledger.heads()[0].position == 1


def test_a_server_that_stops_in_the_middle_of_an_append_keeps_the_others_waiting_for_a_while_only(
    postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TIMEOUTS_MS["lock_timeout"] > WRITER_IDLE_MS_MAX
    with postgres.fresh_database() as url:
        Ledger.open(url).close()
        monkeypatch.setattr("ledger.store.postgres.WRITER_IDLE_MS_MAX", 200)
        with Ledger.open_existing(url) as stopped, Ledger.open_existing(url) as other:
            meanwhile = list[Outcome]()

            def stop_once(connection: Connection, partitions: Collection[int]) -> dict[int, Head]:
                heads = lock_heads(connection, partitions)
                if not meanwhile:
                    monkeypatch.undo()
                    meanwhile.extend(other.commit([fact(event(queued().receipt.body, received_at_us=NOW_US + 1))]))
                return heads

            monkeypatch.setattr("ledger.store.commit.lock_heads", stop_once)
            assert stopped.commit([fact(queued())]) == [Placed(Position(0, 1), 1, is_new=False)]
            assert meanwhile == [Placed(Position(0, 1), 1, is_new=True)]
            assert stopped.commit([fact(sent())]) == [Placed(Position(0, 2), 2, is_new=True)]


def test_a_server_that_stops_while_it_projects_keeps_the_others_waiting_for_a_while_only(
    postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TIMEOUTS_MS["lock_timeout"] > WRITER_IDLE_MS_MAX
    with postgres.fresh_database() as url, ExitStack() as ends:
        ledgers = [ends.enter_context(Ledger.open(url)) for _ in range(2)]
        ledgers[0].commit([fact(queued())])
        monkeypatch.setattr("ledger.store.postgres.WRITER_IDLE_MS_MAX", 500)
        stopped, other = (ends.enter_context(ReadModels.open(each)) for each in ledgers)

        def stop_with_a_checkpoint_locked() -> None:
            with stopped.stores.rows.writing() as connection:
                lock(connection, Generation(MESSAGE_STATUS, 1), 0)
                other.catch_up()

        with pytest.raises(DBAPIError, match="idle-in-transaction"):
            stop_with_a_checkpoint_locked()
        assert other.projection_status(MESSAGE_STATUS).lag_events == 0


def test_a_database_that_cannot_be_reached_is_try_again() -> None:
    with pytest.raises(StoreUnavailable):
        Ledger.open("postgresql://nobody@127.0.0.1:1/nothing?connect_timeout=2")


@pytest.mark.parametrize("words", ["BEGIN", "partition_heads", "stream_id = key", "INSERT INTO events", "UPDATE"])
def test_after_an_io_error_nothing_is_half_stored_and_the_ledger_goes_on(embedded: Ledger, words: str) -> None:
    with failing_statement(writer_of(embedded), words), pytest.raises(StoreUnavailable, match="disk I/O error"):
        embedded.commit(facts([sent(2), delivered(3)]))

    assert len(stored_facts(embedded)) == 1
    assert embedded.commit([fact(sent(2))]) == [Placed(Position(0, 2), 2, is_new=True)]
    assert verify(embedded).findings == ()


def test_an_io_error_after_the_commit_is_try_again_and_the_next_try_finds_it(
    embedded: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialect = writer_of(embedded).dialect
    do_commit = dialect.do_commit

    def commit_and_fail(connection: object) -> None:
        do_commit(connection)  # type: ignore[arg-type]
        monkeypatch.undo()
        raise IO_ERROR

    monkeypatch.setattr(dialect, "do_commit", commit_and_fail)
    with pytest.raises(StoreUnavailable):
        embedded.commit([fact(sent(2))])

    assert embedded.commit([fact(sent(2))]) == [Placed(Position(0, 2), 2, is_new=False)]
    assert verify(embedded).findings == ()


@pytest.mark.parametrize("committed", [[], [sent(2)]], ids=["before the first commit", "after it"])
def test_where_the_write_ahead_log_is_deleted_nothing_is_acknowledged_until_a_restart_and_nothing_is_lost(
    tmp_path: Path, committed: Sequence[MessageEvent], caplog: pytest.LogCaptureFixture
) -> None:
    url, wal = f"sqlite:///{tmp_path}/ledger.db", tmp_path / "ledger.db-wal"
    with Ledger.open(url) as ledger:
        ledger.commit([fact(queued())])
    with Ledger.open(url) as ledger:
        for each in committed:
            ledger.commit([fact(each)])
        wal.unlink()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=f"{wal} is gone, or is another file .* restart with SIGTERM"):
                ledger.commit([fact(delivered(3))])
        assert [each.levelname for each in caplog.records if each.name == "ledger.store.held_file"] == ["ERROR"]

    with Ledger.open(url) as ledger:
        assert len(stored_facts(ledger)) == 1 + len(committed)
        assert ledger.commit([fact(delivered(3))])[0].is_new
        assert verify(ledger).findings == ()


def test_a_write_ahead_log_that_is_back_is_gone_on_with(embedded: Ledger, tmp_path: Path) -> None:
    wal = tmp_path / "ledger.db-wal"
    away = wal.rename(tmp_path / "away")
    with pytest.raises(StoreUnavailable):
        embedded.commit([fact(sent(2))])

    away.rename(wal)

    assert embedded.commit([fact(sent(2))]) == [Placed(Position(0, 2), 2, is_new=True)]


def test_a_full_disk_is_try_again_and_what_is_sent_again_after_repair_is_stored_once(embedded: Ledger) -> None:
    with embedded.database.writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    large = fact(sent(2, text="x" * 100_000))
    with pytest.raises(StoreUnavailable, match="full"):
        embedded.commit([large])
    assert len(stored_facts(embedded)) == 1

    with embedded.database.writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert embedded.commit([large, large]) == [
        Placed(Position(0, 2), 2, is_new=True),
        Placed(Position(0, 2), 2, is_new=False),
    ]


def test_a_damaged_file_is_not_written_to_after_an_io_error(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{file}") as ledger:
        ledger.commit(facts(queued(1, f"msg_{number}") for number in range(500)))
        with failing_statement(writer_of(ledger), "INSERT INTO events"), pytest.raises(StoreUnavailable):
            ledger.commit([fact(sent(2))])
        content = bytearray(file.read_bytes())
        content[6 * 4096 : 12 * 4096] = b"\xff" * (6 * 4096)
        file.write_bytes(content)

        with pytest.raises(StoreUnavailable, match=f"the file is damaged: {file}: "):
            ledger.commit([fact(sent(2))])


def test_damage_that_a_reader_meets_is_one_error_that_names_the_file_and_a_line_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{file}") as ledger:
        ledger.commit(facts(sent(1, f"msg_{number}", filler="x" * 300) for number in range(300)))
    damage(file)

    met = list[StoreDamaged]()
    with Ledger.open(f"sqlite:///{file}") as ledger:
        for number in range(300):
            try:
                ledger.history(f"msg_{number}")
            except StoreDamaged as error:
                met.append(error)
        with pytest.raises(StoreDamaged):
            list(stored_facts(ledger))
        told = (
            f"database disk image is malformed; the damaged file is {file}; keep it, and restore the log from a backup"
        )

        assert 0 < len(met) < 300
        assert said(met[0]).startswith(told)
        assert ledger.database.damage is not None
        assert (ledger.database.damage.told or "").startswith(told)
    assert [each.getMessage().startswith(f"the file is damaged: {told}") for each in caplog.records] == [True]


def test_a_text_that_is_damaged_is_told_without_what_is_stored_there(embedded: Ledger) -> None:
    with embedded.database.writing() as connection:
        connection.exec_driver_sql("UPDATE events SET topic = CAST(x'15FF2B313535' AS TEXT)")

    with pytest.raises(StoreDamaged) as met:
        embedded.history("msg_1")

    assert "Could not decode to UTF-8 column; the damaged file is" in said(met.value)
    assert "+155" not in str(met.value)


def test_a_commit_that_gave_up_its_synchronous_standby_is_not_acknowledged(postgres: PrivatePostgres) -> None:
    """PostgreSQL then commits on its own disk with nothing but a warning: what is sent again is found, and stored once."""
    url = postgres.new_database()
    items: list[Fact] = []
    with Ledger.open(url) as ledger, ThreadPoolExecutor() as another_thread:

        def committed() -> Future[list[Outcome]]:
            items.append(fact(queued(len(items) + 1)))
            return another_thread.submit(ledger.commit, items[-1:])

        with waiting_for_a_standby_that_never_comes(url) as operator:
            answer = committed()
            while not operator.exec_driver_sql(CANCEL_WAITING).all():
                if answer.done():  # not all processes of the server had heard of the standby yet
                    answer = committed()
            with pytest.raises(StoreUnavailable, match="standby"):
                answer.result()
        assert [outcome.is_new for outcome in ledger.commit(items[-1:])] == [False]
        assert len(ledger.history("msg_1")) == len(items)


def test_a_warning_of_a_transaction_that_came_to_nothing_is_not_taken_for_the_next_ones(
    postgres: PrivatePostgres,
) -> None:
    with Ledger.open(postgres.new_database()) as ledger:
        with pytest.raises(DBAPIError, match="by zero"), ledger.database.writing() as connection:
            connection.exec_driver_sql("DO $$ BEGIN RAISE WARNING 'look out'; PERFORM 1 / 0; END $$")

        assert ledger.commit([fact(queued())]) == [Placed(Position(0, 1), 1, is_new=True)]


def test_a_commit_that_another_was_faster_than_goes_on_whatever_isolation_the_database_prefers(
    postgres: PrivatePostgres,
) -> None:
    """At a stricter level than READ COMMITTED, a head that moved since the transaction began is a conflict: a refused commit."""
    url = postgres.new_database()
    postgres.execute(
        f"ALTER DATABASE \"{make_url(url).database}\" SET default_transaction_isolation = 'repeatable read'"
    )
    with Ledger.open(url) as slow, Ledger.open(url) as fast:
        with slow.database.writing() as connection:
            connection.exec_driver_sql("SELECT position FROM partition_heads")
            fast.commit([fact(queued())])
            assert lock_head(connection, 0).position == 1

        with slow.database.reading() as connection:
            assert connection.exec_driver_sql("SHOW transaction_isolation").scalar_one() == "repeatable read"


def test_what_two_servers_keep_beside_the_log_at_the_same_moment_is_new_to_one_and_refused_to_none(
    postgres: PrivatePostgres,
) -> None:
    raw = send_body(["msg_1"])
    unreadable = Reception(None, 1).receive([], b"?", now_us=NOW_US)
    assert isinstance(unreadable, UnreadableDelivery)
    send = send_of(parse_send(raw), raw, partitions=1, now_us=NOW_US)
    with (
        postgres.fresh_database() as url,
        Ledger.open(url) as one,
        Ledger.open(url) as other,
        ThreadPoolExecutor() as another_thread,
    ):
        with one.database.writing() as connection:
            lock_head(connection, 0)
            kept: list[Outcome] = [keep_unreadable(connection, unreadable), register_send(connection, send)]
            answer = another_thread.submit(other.commit, [unreadable, send])
            with one.database.asking() as asking:
                while not asking.exec_driver_sql(WAITING).all() and not answer.done():
                    pass
        kept += answer.result()

    quarantine_id = unreadable.quarantine_id.hex()
    assert kept == [
        Quarantined(quarantine_id, unreadable.reason, is_new=True),
        Registered(is_new=True, is_same=True),
        Quarantined(quarantine_id, unreadable.reason, is_new=False),
        Registered(is_new=False, is_same=True),
    ]


def test_on_a_distributed_database_each_partition_has_a_writer(postgres: PrivatePostgres) -> None:
    """As Citus says that it is one; nowhere else does a transaction of several partitions cost more than one of one."""
    url = postgres.new_database()
    with Ledger.open(url, partitions=3) as ledger:
        assert ledger.writers == 1
        extension = "SELECT 424242, 'citus', extowner, extnamespace, false, '13.0' FROM pg_extension LIMIT 1"
        columns = "oid, extname, extowner, extnamespace, extrelocatable, extversion"
        postgres.execute(f"INSERT INTO pg_extension ({columns}) {extension}", database=make_url(url).database)
    first, second, _ = _one_fact_of_each_partition(3)
    with Ledger.open_existing(url) as ledger:
        assert ledger.writers == 3
        assert [ledger.commit([each])[0].is_new for each in (first, second)] == [True, True]
        with pytest.raises(ValueError, match="commit items of one partition together"):
            ledger.commit([first, second])


def test_a_commit_that_waits_for_one_partition_keeps_nobody_from_a_later_one(postgres: PrivatePostgres) -> None:
    """Heads are locked in the order of the partitions, so those who wait for each other never do in a circle."""
    first, second = _one_fact_of_each_partition(2)
    with (
        postgres.fresh_database() as url,
        Ledger.open(url, partitions=2) as ledger,
        ThreadPoolExecutor(1) as another_thread,
        ledger.database.asking() as asking,
    ):
        with ledger.database.writing() as connection:
            lock_heads(connection, [first.partition])
            waiting = another_thread.submit(ledger.commit, [second, first])
            until(lambda: bool(asking.exec_driver_sql(WAITING).all()))
            assert ledger.commit([second]) == [Placed(Position(1, 1), 1, is_new=True)]
            assert not waiting.done()
        assert waiting.result() == [
            Placed(Position(1, 1), 1, is_new=False),
            Placed(Position(0, 1), 1, is_new=True),
        ]


def test_heads_are_locked_in_the_order_of_the_partitions_however_they_lie_on_the_disk(
    postgres: PrivatePostgres,
) -> None:
    """As PostgreSQL gives them where it takes them from the table, in which the first has moved behind the second."""
    with postgres.fresh_database() as url, Ledger.open(url, partitions=2) as ledger:
        moved = "WITH moved AS (DELETE FROM partition_heads WHERE partition = 0 RETURNING *)"
        with ledger.database.writing() as connection:
            run(connection, f"{moved} INSERT INTO partition_heads SELECT * FROM moved")  # noqa: S608 - no value in it
        with ledger.database.writing() as connection:
            run(connection, "SET LOCAL enable_indexscan = off")
            assert list(lock_heads(connection, (0, 1))) == [0, 1]


def _one_fact_of_each_partition(partitions: int) -> list[Fact]:
    made = facts([queued(1, f"msg_{number}") for number in range(64)], partitions=partitions)
    return [next(each for each in made if each.partition == partition) for partition in range(partitions)]


def test_a_commit_that_postgresql_ends_because_of_a_deadlock_is_made_again(
    postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator has locked the events, and wants the head, which the commit holds, before the commit wants the events."""
    with (
        postgres.fresh_database() as url,
        Ledger.open(url) as ledger,
        ThreadPoolExecutor(1) as another_thread,
        operating(url) as operator,
        ledger.database.asking() as asking,
    ):
        operator.exec_driver_sql("BEGIN")
        operator.exec_driver_sql("SET LOCAL deadlock_timeout = '1h'")  # so it is the commit that finds the deadlock
        operator.exec_driver_sql("LOCK TABLE events IN SHARE MODE")

        wanted = list[Future[None]]()

        def want_the_head() -> None:
            operator.exec_driver_sql("SELECT position FROM partition_heads FOR UPDATE")
            operator.exec_driver_sql("ROLLBACK")

        def lock_and_let_another_want_it(connection: Connection, partitions: Collection[int]) -> dict[int, Head]:
            monkeypatch.setattr("ledger.store.commit.lock_heads", lock_behind_the_other)
            locked = lock_heads(connection, partitions)
            wanted.append(another_thread.submit(want_the_head))
            while not asking.exec_driver_sql(WAITING).all():
                pass
            return locked

        def lock_behind_the_other(connection: Connection, partitions: Collection[int]) -> dict[int, Head]:
            wanted[0].result()  # else the second try may be the faster one, and meet it in the same way
            return lock_heads(connection, partitions)

        monkeypatch.setattr("ledger.store.commit.lock_heads", lock_and_let_another_want_it)
        assert ledger.commit([fact(queued())]) == [Placed(Position(0, 1), 1, is_new=True)]
        assert len(stored_facts(ledger)) == 1


WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
CANCEL_WAITING = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@contextmanager
def waiting_for_a_standby_that_never_comes(url: str) -> Iterator[Connection]:
    """A server whose commits wait for a standby that there is none of; the connection of its operator."""
    with operating(url) as operator:
        _name_standby(operator, "nobody")
        try:
            yield operator
        finally:
            _name_standby(operator, "")


@contextmanager
def operating(url: str) -> Iterator[Connection]:
    """A connection whose transactions are what its statements make of them."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as operator:
        yield operator
    engine.dispose()


def _name_standby(operator: Connection, names: str) -> None:
    operator.exec_driver_sql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    operator.exec_driver_sql("SELECT pg_reload_conf()")
    while operator.exec_driver_sql("SHOW synchronous_standby_names").scalar_one() != names:
        pass
