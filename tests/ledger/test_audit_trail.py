"""The audit trail: appended by several at once, read back, and every edit behind our back is one finding."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
from sqlalchemy import text

from ledger.audit.entries import AuditEntry, AuditHead, AuditRow, next_row
from ledger.audit.trail import AuditQuestion, AuditTrail
from ledger.errors import MalformedQuestion, SchemaMismatch, SettingRefused, UnreadableEvent
from ledger.ledger import Ledger
from ledger.verification.trail_walk import verify_trail
from tests.builders import NOW_US

Tamper = Callable[..., None]
SECOND_US = 1_000_000


def entry(act: str = "read-message", subject: str | None = "msg_1", second: int = 0, **said: object) -> AuditEntry:
    return AuditEntry(NOW_US + second * SECOND_US, "anna", "http", act, subject, result=said, request_id="r-1")


@contextmanager
def opened(url: str) -> Iterator[AuditTrail]:
    """A trail as another process would open it: with connections of its own."""
    with Ledger.open(url) as ledger, closing(AuditTrail.open(ledger)) as trail:
        yield trail


@pytest.fixture
def trail(store_url: str) -> Iterator[AuditTrail]:
    with opened(store_url) as found:
        yield found


@pytest.fixture
def five(trail: AuditTrail) -> AuditTrail:
    """Entries 1 to 5, each in a transaction of its own."""
    for number in range(1, 6):
        trail.append([entry(subject=f"msg_{number}", second=number)])
    return trail


@pytest.fixture
def tamper(trail: AuditTrail) -> Tamper:
    """Whoever may write to the database, and does."""

    def execute(*statements: str, **values: object) -> None:
        with trail.database.writing() as connection:
            for statement in statements:
                connection.execute(text(statement), values)

    return execute


def found(trail: AuditTrail, *noted: str) -> list[str]:
    return [finding.message.split(";")[0] for finding in verify_trail(trail, noted_heads=noted).findings]


def test_what_is_appended_is_read_back_newest_first_as_it_was(trail: AuditTrail) -> None:
    first, second = entry(items=3), AuditEntry(NOW_US, "loopback", "console", "search", None, {"q": "4567"}, "done")

    assert trail.append([first, second]) == [1, 2]
    assert [(each.number, each.entry) for each in trail.entries(AuditQuestion(), limit=9)] == [(2, second), (1, first)]


def test_entries_are_found_by_who_what_about_what_and_when(five: AuditTrail) -> None:
    def numbers(question: AuditQuestion) -> list[int]:
        return [each.number for each in five.entries(question, limit=9)]

    assert numbers(AuditQuestion()) == [5, 4, 3, 2, 1]
    assert numbers(AuditQuestion(holder="anna", act="read-message", subject="msg_2")) == [2]
    assert numbers(AuditQuestion(holder="bob")) == numbers(AuditQuestion(act="verify")) == []
    assert numbers(AuditQuestion(since_us=NOW_US + 2 * SECOND_US, until_us=NOW_US + 4 * SECOND_US)) == [3, 2]


def test_pages_go_on_before_a_number(five: AuditTrail) -> None:
    assert [each.number for each in five.entries(AuditQuestion(), before=4, limit=2)] == [3, 2]


def test_the_newest_of_an_act_is_found(five: AuditTrail) -> None:
    five.append([entry("verify", None), entry("verify", None, second=9), entry()])

    newest = five.newest("verify")
    assert newest is not None
    assert (newest.number, five.newest("backup")) == (7, None)


def test_entries_of_several_writers_at_once_are_one_chain_without_holes(store_url: str) -> None:
    def write(writer: int) -> list[int]:
        with opened(store_url) as trail:
            return [trail.append([entry(subject=f"{writer}-{number}")])[0] for number in range(15)]

    Ledger.open(store_url).close()
    with ThreadPoolExecutor() as threads:
        numbers = [number for each in threads.map(write, range(4)) for number in each]
    with opened(store_url) as trail:
        verified = verify_trail(trail)
        subjects = [each.entry.subject for each in trail.entries(AuditQuestion(), limit=100)]

    assert sorted(numbers) == list(range(1, 61))
    assert (verified.entries, verified.findings) == (60, ())
    assert set(subjects) == {f"{writer}-{number}" for writer in range(4) for number in range(15)}


def test_a_trail_nobody_touched_verifies_and_gives_a_head_to_note(five: AuditTrail) -> None:
    verified = verify_trail(five)

    assert (verified.entries, verified.findings) == (5, ())
    assert verified.head.startswith("audit-5:")
    five.append([entry()])
    assert found(five, verified.head) == []


def test_an_empty_trail_verifies(trail: AuditTrail) -> None:
    verified = verify_trail(trail)

    assert (verified.entries, verified.head[:8], verified.findings) == (0, "audit-0:", ())


EDITS = {
    "at_us": NOW_US + 1,
    "holder": "bob",
    "way": "console",
    "act": "sign-in",
    "subject": None,
    "asked": '{"q":"4567"}',
    "outcome": "forbidden",
    "result": "{} ",
    "request_id": None,
}


def test_any_one_changed_column_is_one_finding(five: AuditTrail, tamper: Tamper) -> None:
    (third,) = five.entries(AuditQuestion(subject="msg_3"), limit=1)
    untouched = dict(zip(AuditRow._fields, next_row(AuditHead(2, b""), third.entry), strict=True))
    assert set(EDITS) == set(AuditRow._fields) - {"number", "hash"}

    for column, value in EDITS.items():
        change = f"UPDATE audit_entries SET {column} = :value WHERE number = 3"  # noqa: S608 - the test is the attacker
        tamper(change, value=value)
        assert found(five) == ["audit-3: the entry was changed, or is not the one that stood here"], column
        tamper(change, value=untouched[column])
    assert found(five) == []


def test_an_entry_that_was_taken_out_is_found_where_it_stood(five: AuditTrail, tamper: Tamper) -> None:
    tamper("DELETE FROM audit_entries WHERE number = 2")

    assert found(five) == ["audit-2: the next entry stands at 3, expected 2: some are missing"]


def test_two_swapped_entries_are_found_at_both(five: AuditTrail, tamper: Tamper) -> None:
    tamper(
        "UPDATE audit_entries SET number = 99 WHERE number = 2",
        "UPDATE audit_entries SET number = 2 WHERE number = 3",
        "UPDATE audit_entries SET number = 3 WHERE number = 99",
    )

    assert [each.partition(":")[0] for each in found(five)] == ["audit-2", "audit-3", "audit-4"]


def test_an_end_that_was_cut_off_is_found_by_the_head_row(five: AuditTrail, tamper: Tamper) -> None:
    tamper("DELETE FROM audit_entries WHERE number > 3")

    (finding,) = found(five)
    assert finding.startswith("audit-3: the trail ends here, but its head row says 5 with ")


def test_an_end_cut_off_together_with_its_head_row_is_found_only_by_a_head_noted_earlier(
    five: AuditTrail, tamper: Tamper
) -> None:
    noted = verify_trail(five).head
    (third,) = five.entries(AuditQuestion(subject="msg_3"), limit=1)
    tamper(
        "DELETE FROM audit_entries WHERE number > 3", "UPDATE audit_head SET number = 3, hash = :hash", hash=third.hash
    )

    assert found(five) == []
    assert found(five, noted)[0].startswith("audit-5: the hash noted earlier is")


def test_an_entry_under_a_number_that_none_can_have_is_found(five: AuditTrail, tamper: Tamper) -> None:
    tamper("UPDATE audit_entries SET number = -7 WHERE number = 5", "DELETE FROM audit_head")

    assert found(five) == [
        "audit-4: the trail ends here, but its head row is missing: the end was cut off or added to",
        "audit-4: 1 entries stand under numbers that no entry can have",
    ]


def test_of_very_many_findings_the_first_are_told_and_how_many_more(trail: AuditTrail, tamper: Tamper) -> None:
    trail.append([entry()] * 60)
    tamper("UPDATE audit_entries SET holder = 'nobody'")

    told = found(trail)
    assert (len(told), told[-1]) == (21, "the audit trail has 40 findings more")


def test_a_noted_head_that_makes_no_sense_is_refused(trail: AuditTrail) -> None:
    for noted in ("audit-1", "audit-x:" + "0" * 64, "audit-1:" + "0" * 63, "audit-01:" + "0" * 64):
        with pytest.raises(MalformedQuestion, match="expected a noted head such as audit-17:HASH"):
            verify_trail(trail, noted_heads=[noted])


@pytest.mark.parametrize("edit", ["asked = 'no JSON'", "result = '[]'"])
def test_an_entry_that_cannot_be_read_says_where_it_is(five: AuditTrail, tamper: Tamper, edit: str) -> None:
    tamper(f"UPDATE audit_entries SET {edit} WHERE number = 3")  # noqa: S608 - the test is the attacker

    with pytest.raises(UnreadableEvent, match="entry 3 of the audit trail"):
        five.entries(AuditQuestion(), limit=9)


def test_a_trail_of_another_ledger_is_refused(store_url: str, five: AuditTrail, tamper: Tamper) -> None:
    tamper("UPDATE audit_head SET ledger_id = 'another'")

    with pytest.raises(SettingRefused, match="that of another ledger \\(another, expected"), opened(store_url):
        pass


def test_a_trail_of_a_newer_program_is_refused(store_url: str, five: AuditTrail, tamper: Tamper) -> None:
    tamper("UPDATE audit_head SET format = 2")

    with pytest.raises(SchemaMismatch, match="install a newer program"), opened(store_url):
        pass


HEADS = [f"0-{number}:{number:064x}" for number in range(10)]


def test_the_trail_tells_the_heads_of_the_log_that_its_entries_note(trail: AuditTrail) -> None:
    trail.append(
        [
            entry("verify", heads=[HEADS[3], "audit-0:" + "0" * 64]),
            entry("verify", heads=[HEADS[3]]),
            entry("backup", heads=[HEADS[5]]),
            entry("odd", heads=["no head"]),
            entry("odd", heads=7),
        ]
    )

    noted = verify_trail(trail).noted_heads
    assert [(str(head), head.noted_in) for head in noted] == [(HEADS[3], "audit-1"), (HEADS[5], "audit-3")]


def test_a_restored_backup_ends_what_was_noted_later_or_beside_findings(trail: AuditTrail) -> None:
    trail.append(
        [
            entry("verify", heads=[HEADS[1]]),
            entry("verify", heads=[HEADS[2]], findings=1),
            entry("verify", heads=[HEADS[7]]),
        ]
    )
    before = verify_trail(trail)
    trail.append([entry("restore", heads=[HEADS[3]])])
    after = verify_trail(trail)

    assert ([str(head) for head in before.noted_heads], before.remarks) == ([HEADS[1], HEADS[7], HEADS[2]], ())
    assert [str(head) for head in after.noted_heads] == [HEADS[1], HEADS[3]]
    assert after.remarks == (
        "audit-4: a backup that ends at 0-3 took the log's place; 0-7, noted in audit-3, was in the log before",
    )


def test_the_head_is_written_as_it_is_noted() -> None:
    assert str(AuditHead(17, b"\1" * 32)) == "audit-17:" + "01" * 32
