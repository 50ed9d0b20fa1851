"""Promise 7: whatever is changed behind our back is found, with where it is; one edit is one finding."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from ledger.audit.trail import AuditTrail
from ledger.errors import MalformedQuestion
from ledger.events import receipt_of
from ledger.facts import Fact
from ledger.ledger import Ledger
from ledger.positions import Position
from ledger.reception import Reception
from ledger.sends import parse_send, send_of
from ledger.signatures import Secret
from ledger.store.commit import commit
from ledger.store.log import Head, LogRow, insert_events, lock_head, next_row
from ledger.verification import FINDINGS_PER_PARTITION_MAX, Verification, verify
from ledger.verification.findings import count_of
from ledger.verification.trail_walk import verify_trail
from tests.builders import (
    NOW_US,
    SECRET,
    accepted,
    body,
    commit_each,
    delivered,
    fact,
    facts,
    inbound,
    queued,
    send_body,
    sent,
    signature_of,
    unknown,
)

EVERY_KIND = [
    accepted(),
    queued(1),
    sent(2),
    delivered(3),
    unknown(),
    inbound("msg_2"),
    queued(1, "msg_3"),
    sent(2, "msg_3"),
]

Tamper = Callable[..., None]


@pytest.fixture
def ledger(store_url: str) -> Iterator[Ledger]:
    """A ledger of one partition that holds eight events, 0-1 to 0-8."""
    with Ledger.open(store_url) as opened:
        opened.commit(facts(EVERY_KIND))
        yield opened


@pytest.fixture
def tamper(ledger: Ledger) -> Tamper:
    """Whoever may write to the database, and does."""

    def execute(*statements: str, **values: object) -> None:
        with ledger.database.writing() as connection:
            for statement in statements:
                connection.execute(text(statement), values)

    return execute


def places(verification: Verification) -> list[str]:
    return [str(finding.position) for finding in verification.findings]


def test_what_nobody_touched_verifies(ledger: Ledger) -> None:
    last = ledger.heads()[0]

    assert verify(ledger) == Verification(1, 8, 0, (f"0-8:{last.hash.hex()}",), ())
    # Seven webhooks that came while signing was switched off, and a request, which is never signed.
    assert verify(ledger, deep=True) == Verification(1, 8, 0, (f"0-8:{last.hash.hex()}",), (), {None: 7})


def test_an_empty_ledger_verifies(store_url: str) -> None:
    with Ledger.open(store_url, partitions=3) as empty:
        genesis = [head.hash.hex() for head in empty.heads()]

        assert verify(empty, deep=True) == Verification(
            3, 0, 0, (f"0-0:{genesis[0]}", f"1-0:{genesis[1]}", f"2-0:{genesis[2]}"), ()
        )


def test_each_partition_has_its_own_chain_and_its_own_head(store_url: str) -> None:
    with Ledger.open(store_url, partitions=4) as spread:
        commit_each(spread, facts([queued(1, f"msg_{number}") for number in range(40)], partitions=4))
        before = verify(spread)

        assert (before.events, before.findings) == (40, ())
        assert [head.split(":")[0] for head in before.heads] == [
            f"{p}-{h.position}" for p, h in enumerate(spread.heads())
        ]
        assert verify(spread, noted_heads=before.heads) == before


@pytest.mark.parametrize(
    "edit",
    [
        "state = :altered",
        "topic = 'message.failed'",
        "version = 9",
        "stream_id = :id16",
        "stream_id = :id17",
        "fact_key = :id16",
        "fact_key = NULL",
        "fact_key = :empty",
        "hash = :id16",
    ],
)
def test_one_changed_column_is_found_at_its_position(ledger: Ledger, tamper: Tamper, edit: str) -> None:
    with ledger.database.reading() as connection:
        state, stream = connection.execute(text("SELECT state, stream_id FROM events WHERE position = 4")).one()
    altered = {"altered": bytes(state[:-1]) + b"?", "id16": b"\7" * 16, "id17": bytes(stream) + b"\0", "empty": b""}
    tamper(f"UPDATE events SET {edit} WHERE position = 4", **{k: v for k, v in altered.items() if f":{k}" in edit})  # noqa: S608 - the test is the attacker

    # A changed hash breaks two links: its own, and the one that was made from it.
    assert places(verify(ledger))[: 1 + edit.startswith("hash")] == ["0-4", "0-5"][: 1 + edit.startswith("hash")]
    assert "0-6" not in places(verify(ledger))


def test_any_one_changed_byte_of_a_state_is_one_finding(ledger: Ledger, tamper: Tamper) -> None:
    with ledger.database.reading() as connection:
        state = bytes(connection.execute(text("SELECT state FROM events WHERE position = 5")).scalar_one())
    for at in range(0, len(state), 7):
        changed = state[:at] + bytes([state[at] ^ 1]) + state[at + 1 :]
        tamper("UPDATE events SET state = :changed WHERE position = 5", changed=changed)

        (finding,) = verify(ledger).findings
        assert finding.position == Position(0, 5)
        assert finding.message.startswith("the event was changed")


@pytest.mark.parametrize("position, found", [(1, "0-1"), (5, "0-5"), (7, "0-7")])
def test_a_deleted_row_is_found_where_it_is_missing(ledger: Ledger, tamper: Tamper, position: int, found: str) -> None:
    tamper(f"DELETE FROM events WHERE position = {position}")  # noqa: S608 - the test is the attacker

    assert verify(ledger).findings[0].position == Position(0, position)
    assert f"event {position} is missing: the next event stands at {position + 1}" in str(verify(ledger).findings[0])
    assert places(verify(ledger))[0] == found


def test_several_deleted_rows_are_one_finding_for_the_hole(ledger: Ledger, tamper: Tamper) -> None:
    tamper("DELETE FROM events WHERE position BETWEEN 5 AND 7")

    assert "0-5: events 5 to 7 are missing: the next event stands at 8, expected 5" in str(verify(ledger).findings[0])


def test_two_swapped_rows_are_found_at_both(ledger: Ledger, tamper: Tamper) -> None:
    tamper(
        "UPDATE events SET position = 100 WHERE position = 2",
        "UPDATE events SET position = 2 WHERE position = 3",
        "UPDATE events SET position = 3 WHERE position = 100",
    )

    assert places(verify(ledger)) == ["0-2", "0-3", "0-4"]


def test_a_cut_off_tail_is_found_by_the_head_row(ledger: Ledger, tamper: Tamper) -> None:
    tamper("DELETE FROM events WHERE position > 6")

    (finding,) = verify(ledger).findings
    assert finding.position == Position(0, 6)
    assert "its head row says 0-8" in finding.message


def cut_off_with_its_head(ledger: Ledger, tamper: Tamper) -> tuple[str, ...]:
    noted = verify(ledger).heads
    tamper(
        "DELETE FROM events WHERE position > 6",
        "UPDATE partition_heads SET position = 6, hash = (SELECT hash FROM events WHERE position = 6)",
    )
    return noted


def test_a_tail_cut_off_together_with_its_head_row_is_found_only_by_a_head_noted_earlier(
    ledger: Ledger, tamper: Tamper
) -> None:
    noted = cut_off_with_its_head(ledger, tamper)

    assert verify(ledger).findings == ()
    (finding,) = verify(ledger, noted_heads=noted).findings
    assert finding.position == Position(0, 8)
    assert "there is no such event" in finding.message


def test_a_tail_cut_off_and_written_anew_is_found_by_a_head_noted_earlier(ledger: Ledger, tamper: Tamper) -> None:
    noted = cut_off_with_its_head(ledger, tamper)
    ledger.commit(facts([queued(1, "other"), sent(2, "other"), delivered(3, "other")]))

    (finding,) = verify(ledger, noted_heads=noted).findings
    assert (finding.position, "the hash noted earlier" in finding.message) == (Position(0, 8), True)


def test_a_noted_head_stays_good_while_the_log_grows(ledger: Ledger) -> None:
    noted = verify(ledger).heads
    ledger.commit(facts([queued(1, "other")]))

    assert verify(ledger, noted_heads=noted).findings == ()


@pytest.mark.parametrize("noted", ["", "0-8", "0-8:", "0-8:ab", "x:" + "0" * 64, "0-8:" + "g" * 64, "8:" + "0" * 64])
def test_a_noted_head_that_cannot_be_read_is_refused(ledger: Ledger, noted: str) -> None:
    with pytest.raises(MalformedQuestion):
        verify(ledger, noted_heads=[noted])


def test_a_noted_head_of_a_partition_that_is_not_there_is_a_finding(ledger: Ledger) -> None:
    assert places(verify(ledger, noted_heads=["7-1:" + "0" * 64])) == ["7-1"]


def test_a_head_row_that_was_moved_is_found(ledger: Ledger, tamper: Tamper) -> None:
    tamper("UPDATE partition_heads SET position = 9")

    assert places(verify(ledger)) == ["0-8"]


def test_a_head_row_that_is_gone_is_found(ledger: Ledger, tamper: Tamper) -> None:
    tamper("DELETE FROM partition_heads")

    assert [finding.message.split(";")[0] for finding in verify(ledger).findings] == [
        "the head of partition 0 is missing"
    ]


def test_an_inserted_row_is_found(ledger: Ledger, tamper: Tamper) -> None:
    columns = "partition, {} , stream_id, {}, topic, NULL, state, hash"
    tamper(f"INSERT INTO events SELECT {columns.format('9', '99')} FROM events WHERE position = 8")  # noqa: S608 - the test is the attacker

    assert places(verify(ledger))[0] == "0-9"


def test_a_row_before_the_first_or_in_no_partition_is_found(ledger: Ledger, tamper: Tamper) -> None:
    tamper("UPDATE events SET position = -5 WHERE position = 1", "UPDATE events SET partition = 3 WHERE position = 8")

    found = places(verify(ledger))
    assert found[0] == "0-1"
    assert found[-1] == "3-8"


def test_after_a_broken_link_the_chain_is_followed_from_what_is_stored(ledger: Ledger, tamper: Tamper) -> None:
    tamper("UPDATE events SET topic = 'x' WHERE position IN (2, 6)")

    assert places(verify(ledger)) == ["0-2", "0-6"]


def test_many_findings_in_one_partition_hide_none_in_another(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", partitions=2) as ledger:
        made = facts([queued(1, f"msg_{number}") for number in range(200)], partitions=2)
        first, second = (sorted((each for each in made if each.partition == here), key=stream_of) for here in (0, 1))
        with ledger.database.writing() as connection:
            for partition, some in enumerate((first[:60], second[-1:])):
                head, rows = lock_head(connection, partition), list[LogRow]()
                for each in some:
                    rows.append(next_row(head, each, 7))
                    head = Head(rows[-1].position, rows[-1].hash)
                insert_events(connection, rows)

        told = [str(finding) for finding in verify(ledger).findings if "in partition 1" in finding.message]
        assert len(told) == 1, told


def stream_of(fact: Fact) -> bytes:
    return fact.stream


def test_findings_are_bounded_and_the_rest_is_counted(ledger: Ledger, tamper: Tamper) -> None:
    ledger.commit(facts(queued(1, f"more_{number}") for number in range(100)))
    tamper("UPDATE events SET topic = 'x' WHERE position > 8")

    verification = verify(ledger)
    assert len(verification.findings) == FINDINGS_PER_PARTITION_MAX + 1
    assert str(verification.findings[-1]) == "partition 0 has 80 findings more"
    assert count_of(verification.findings) == 100
    assert verification.events == 108


def test_progress_is_told_up_to_the_end(ledger: Ledger) -> None:
    told: list[tuple[int, int]] = []
    ledger.commit(facts(queued(1, f"more_{number}") for number in range(600)))
    verify(ledger, on_progress=lambda done, total: told.append((done, total)))

    assert told[-1] == (608, 608)
    assert told == sorted(told)
    assert len(told) >= 3


def test_a_rewritten_chain_with_another_body_is_found_by_reading_the_bodies_again(ledger: Ledger) -> None:
    # What only somebody who also makes the hashes anew could do: here the append itself stores the wrong body.
    swapped = fact(queued(1, "msg_9", text="true"))
    other = fact(queued(1, "msg_9", text="false"))
    ledger.commit([type(swapped)("msg_9", 0, swapped.stream, swapped.topic, swapped.fact_key, other.state)])

    assert verify(ledger).findings == ()
    (finding,) = verify(ledger, deep=True).findings
    assert finding.position == Position(0, 9)
    assert "another fact" in finding.message


def test_an_event_in_another_message_s_stream_is_found_by_reading_the_bodies_again(ledger: Ledger) -> None:
    stranger = fact(queued(1, "msg_9"))
    ledger.commit([type(stranger)("msg_9", 0, b"\7" * 16, stranger.topic, stranger.fact_key, stranger.state)])

    (finding,) = verify(ledger, deep=True).findings
    assert "stream of another message" in finding.message


def test_an_event_in_a_partition_where_nobody_looks_for_it_is_found(store_url: str) -> None:
    with Ledger.open(store_url, partitions=2) as ledger:
        (at_home,) = facts([queued(1)], partitions=2)
        ledger.commit([at_home])
        elsewhere = 1 - at_home.partition
        commit(ledger.database, [msgspec.structs.replace(at_home, partition=elsewhere)])

        (finding,) = verify(ledger).findings
        assert str(finding).startswith(f"{elsewhere}-1: the event's stream belongs to partition {at_home.partition}")


def test_stored_bodies_verify_against_their_stored_signatures(ledger: Ledger) -> None:
    reception = Reception([SECRET], 1)
    good, forged = body("message.sent", "msg_9", sequence=1), body("message.sent", "msg_9", sequence=2)
    items = [
        reception.read(receipt_of(raw, signature_of(raw, secret=secret), NOW_US))
        for raw, secret in [(good, SECRET), (forged, Secret("main", b"another"))]
    ]
    ledger.commit(items)

    verification = verify(ledger, deep=True, secrets=[SECRET])
    assert (verification.signatures, places(verification), verification.unchecked) == (2, ["0-10"], {None: 7})
    mistaken = verify(ledger, deep=True, secrets=[Secret("main", b"a third one")])
    assert (mistaken.findings, mistaken.wrong_secrets) == ((), {"main": 2})
    of_somebody_else = verify(ledger, deep=True, secrets=[Secret("of somebody else", b"x")])
    assert (of_somebody_else.findings, of_somebody_else.unchecked) == ((), {None: 7, "main": 2})


def test_an_event_that_this_program_cannot_read_is_found_by_reading_the_bodies_again(ledger: Ledger) -> None:
    stranger = fact(queued(1, "msg_9"))
    ledger.commit([type(stranger)("msg_9", 0, stranger.stream, "message.new", stranger.fact_key, stranger.state)])

    assert verify(ledger).findings == ()
    assert "cannot be read: unknown topic" in verify(ledger, deep=True).findings[0].message


def test_a_fact_that_was_put_in_once_more_is_found_although_the_chain_holds(ledger: Ledger) -> None:
    """By who knows how events are chained, or by a mistake of ours: of `msg_1` there are five events."""
    with ledger.database.writing() as connection:
        connection.execute(text("DROP INDEX events_by_stream"))
        copied = fact(queued(1))
        row = next_row(lock_head(connection, 0), copied, 7)
        insert_events(connection, [row])

    without, stream, again = verify(ledger).findings

    assert "the index events_by_stream of the log is gone" in without.message
    assert (stream.position, again.position) == (None, Position(0, 2))
    assert f"stream {row.stream_id.hex()} in partition 0 has 6 events with versions from 1 to 7" in stream.message
    assert f"the fact {copied.fact_key.hex()} is stored 2 times, expected once" in again.message


def test_the_registers_hold_what_their_ids_say(ledger: Ledger, tamper: Tamper) -> None:
    raw = send_body(["msg_1"])
    ledger.commit([Reception(None, 1).receive([], each, now_us=NOW_US) for each in (b"first", b"second")])
    ledger.commit([send_of(parse_send(raw), raw, partitions=1, now_us=NOW_US)])
    assert verify(ledger).findings == ()

    first = hashlib.sha256(b"first").digest()[:16]
    tamper("UPDATE quarantine SET receipt = :broken WHERE quarantine_id = :first", broken=b"\x92\1", first=first)
    tamper("UPDATE sends SET body = :other", other=send_body(["msg_2"]))

    assert [finding.message.split(" holds")[0] for finding in verify(ledger).findings] == [
        f"quarantine {first.hex()}",
        f"send {send_of(parse_send(raw), raw, partitions=1, now_us=0).send_id.hex()}",
    ]


def test_the_registers_hold_what_they_hold_where_and_when_it_came(ledger: Ledger, tamper: Tamper) -> None:
    raw = send_body(["msg_1"])
    ledger.commit([Reception(None, 1).receive([], each, now_us=NOW_US) for each in (b"first", b"second")])
    ledger.commit([send_of(parse_send(raw), raw, partitions=1, now_us=NOW_US)])
    first, second = (hashlib.sha256(each).digest()[:16] for each in (b"first", b"second"))
    tamper("UPDATE quarantine SET received_at_us = 7 WHERE quarantine_id = :first", first=first)
    tamper("UPDATE quarantine SET partition = 1 WHERE quarantine_id = :second", second=second)
    tamper("UPDATE sends SET partition = -1")

    send_id = send_of(parse_send(raw), raw, partitions=1, now_us=0).send_id
    elsewhere = "in a partition that this ledger does not have, expected 0 to 0"
    assert [finding.message.partition(";")[0] for finding in verify(ledger).findings] == [
        f"quarantine {first.hex()} says of itself that it came at another time",
        f"quarantine {second.hex()} {elsewhere}",
        f"sends {send_id.hex()} {elsewhere}",
    ]


def test_the_same_findings_come_in_the_same_order_every_time(ledger: Ledger, tamper: Tamper) -> None:
    tamper("DELETE FROM events WHERE position IN (3, 7)", "UPDATE events SET version = 77 WHERE position = 5")

    assert verify(ledger) == verify(ledger)


def test_what_only_sqlite_lets_a_column_hold_is_found(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.commit(facts(EVERY_KIND))
        with ledger.database.writing() as connection:
            for edit in [
                "stream_id = 7",
                "state = 'text'",
                "topic = 3.5",
                "hash = 'text'",
                "version = 'x'",
                "position = 'x'",
            ]:
                at = {"stream_id": 1, "state": 2, "topic": 3, "hash": 4, "version": 6, "position": 8}[edit.split()[0]]
                connection.exec_driver_sql(f"UPDATE events SET {edit} WHERE position = {at}")  # noqa: S608 - the test is the attacker

        assert places(verify(ledger))[:6] == ["0-1", "0-2", "0-3", "0-4", "0-5", "0-6"]
        assert "stands at 'x', expected 8" in " ".join(map(str, verify(ledger, deep=True).findings))


def test_a_file_that_the_database_cannot_read_on_is_a_finding(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{file}") as ledger:
        ledger.commit(facts(queued(1, f"msg_{number}") for number in range(3_000)))
    with Ledger.open(f"sqlite:///{file}") as ledger, ledger.database.writing() as connection:
        root = connection.exec_driver_sql("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").scalar_one()
    # The last pages of the table's own b-tree are somewhere in the file; every page but the first ones goes.
    content = bytearray(file.read_bytes())
    content[40 * 4096 : 60 * 4096] = b"\xff" * (20 * 4096)
    assert root < 40
    file.write_bytes(content)

    with Ledger.open_existing(f"sqlite:///{file}") as ledger:
        messages = [finding.message for finding in verify(ledger).findings]
    assert any("restore the log from a backup" in message for message in messages)


@pytest.mark.parametrize("index", ["events_by_fact", "events_by_stream"])
def test_an_index_that_is_gone_is_found(store_url: str, index: str) -> None:
    with Ledger.open(store_url) as ledger:
        commit_each(ledger, facts([queued(), sent()]))
        with ledger.database.writing() as connection:
            connection.exec_driver_sql(f"DROP INDEX {index}")
        (finding,) = verify(ledger).findings

        assert f"the index {index} of the log is gone" in finding.message
        _, _, make_it_again = finding.message.rpartition("make it again while no server runs: ")
        with ledger.database.writing() as connection:
            connection.exec_driver_sql(make_it_again)
        assert verify(ledger).findings == ()


def test_an_index_of_other_rows_is_found(store_url: str) -> None:
    with Ledger.open(store_url) as ledger:
        commit_each(ledger, facts([queued(), sent()]))
        with ledger.database.writing() as connection:
            connection.exec_driver_sql("DROP INDEX events_by_fact")
            connection.exec_driver_sql(
                "CREATE UNIQUE INDEX events_by_fact ON events (fact_key, partition) WHERE version > 64"
            )
        (finding,) = verify(ledger).findings

    assert "the index events_by_fact of the log is gone, or is another" in finding.message


def test_a_version_that_stands_twice_with_a_hole_behind_it_is_found(store_url: str) -> None:
    """As who knows how events are chained could leave it: a reader who pages by versions would never see one of the two."""
    with Ledger.open(store_url) as ledger:
        with ledger.database.writing() as connection:
            rows: list[LogRow] = []
            head = lock_head(connection, 0)
            for number, version in enumerate([1, 2, 2, 4]):
                rows.append(next_row(head, fact(queued(number)), version))
                head = Head(rows[-1].position, rows[-1].hash)
            insert_events(connection, rows)
        (finding,) = verify(ledger).findings

    assert "has 4 events with versions from 1 to 4" in finding.message


def test_a_trigger_that_is_not_the_ledger_s_is_found(ledger: Ledger, tamper: Tamper) -> None:
    if ledger.database.is_sqlite:
        tamper(
            "CREATE TRIGGER planted AFTER INSERT ON events BEGIN DELETE FROM events WHERE position = new.position; END"
        )
    else:
        tamper(
            "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "CREATE TRIGGER planted BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION nothing()",
        )

    (finding,) = verify(ledger).findings

    assert finding.message.startswith("the trigger planted on events is not the ledger's")


def test_a_view_in_a_table_s_place_is_found(ledger: Ledger, tamper: Tamper) -> None:
    tamper("ALTER TABLE sends RENAME TO elsewhere", "CREATE VIEW sends AS SELECT * FROM elsewhere")

    assert [each.message.split(":")[0] for each in verify(ledger).findings] == [
        "the view sends on sends is not the ledger's"
    ]


def test_a_trigger_in_the_audit_trail_is_found(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger, closing(AuditTrail.open(ledger)) as trail:
        with trail.database.writing() as connection:
            connection.exec_driver_sql(
                "CREATE TRIGGER planted AFTER INSERT ON audit_entries BEGIN DELETE FROM audit_entries; END"
            )
        (finding,) = verify_trail(trail).findings

    assert finding.message.startswith("the trigger planted on audit_entries is not the ledger's")


def index_page(ledger: Ledger, index: str) -> slice:
    """Where an index is in the file, while it is one page."""
    with ledger.database.reading() as connection:
        asked = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        root = connection.exec_driver_sql(asked, (index,)).scalar_one()
        page_bytes = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    ledger.database.tidy()
    return slice((root - 1) * page_bytes, root * page_bytes)


def test_a_damaged_page_of_an_index_is_found(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{file}") as ledger:
        commit_each(ledger, facts([queued(), sent()]))
        page = index_page(ledger, "events_by_stream")
    content = bytearray(file.read_bytes())
    content[page] = b"\xff" * len(content[page])
    file.write_bytes(content)
    with Ledger.open_existing(f"sqlite:///{file}") as ledger:
        found = verify(ledger).findings

    assert any("disk image is malformed" in finding.message for finding in found)


@pytest.mark.parametrize("column", ["fact_key", "stream_id"])
def test_one_changed_bit_of_an_index_is_found(tmp_path: Path, column: str) -> None:
    file = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{file}") as ledger:
        commit_each(ledger, facts([queued(), sent()]))
        page = index_page(ledger, "events_by_stream")
        with ledger.database.reading() as connection:
            key: bytes = connection.exec_driver_sql(f"SELECT {column} FROM events LIMIT 1").scalar_one()  # noqa: S608 - see above
    content = bytearray(file.read_bytes())
    content[content.index(key, page.start, page.stop) + len(key) - 1] ^= 1
    file.write_bytes(content)
    with Ledger.open_existing(f"sqlite:///{file}") as ledger:
        found = verify(ledger).findings

    assert "missing from index events_by_stream" in found[0].message
