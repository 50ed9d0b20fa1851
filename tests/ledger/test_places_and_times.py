"""Positions, cursors and times: what is written is read back, and nothing else is anything but our own error."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import MalformedQuestion
from ledger.positions import Cursor, Position
from ledger.times import TIME_US_MAX, asked_time, read_time, write_time

partitions = st.integers(0, 99_999)
numbers = st.integers(0, 2**63 - 1)


@given(partition=partitions, number=numbers)
def test_a_position_that_was_written_is_read_back(partition: int, number: int) -> None:
    position = Position(partition, number)

    assert Position.parse(str(position)) == position


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0-",
        "-1",
        "0-01",
        "00-1",
        "0-1 ",
        " 0-1",
        "0-1\n",
        "a-b",
        "1-1-1",
        "0--1",
        "0-１",
        f"0-{2**63}",
        "999999-1",
    ],
)
def test_anything_else_is_no_position(text: str) -> None:
    with pytest.raises(MalformedQuestion, match="expected a position such as 0-17"):
        Position.parse(text)


@given(places=st.lists(numbers, min_size=1, max_size=20))
def test_a_cursor_that_was_given_out_is_read_back(places: list[int]) -> None:
    cursor = Cursor(tuple(places))

    assert Cursor.parse(str(cursor), len(places)) == cursor


def test_a_cursor_of_the_most_partitions_is_read_back() -> None:
    cursor = Cursor((2**63 - 1,) * 1024)

    assert Cursor.parse(str(cursor), 1024) == cursor


def test_a_cursor_moves_on_in_one_partition_only() -> None:
    assert Cursor.start(3).advanced(Position(1, 7)) == Cursor((0, 7, 0))


@given(text=st.text() | st.text("ABCabc019-_=", max_size=40))
def test_any_text_is_a_cursor_or_a_malformed_question(text: str) -> None:
    try:
        cursor = Cursor.parse(text, 1)
    except MalformedQuestion:
        return
    assert len(cursor.numbers) == 1


def test_a_cursor_of_another_ledger_is_refused() -> None:
    with pytest.raises(MalformedQuestion):
        Cursor.parse(str(Cursor.start(2)), 3)


@given(time_us=st.integers(0, TIME_US_MAX))
def test_a_time_that_was_written_is_read_back(time_us: int) -> None:
    assert read_time(write_time(time_us)) == time_us


@given(time_us=st.integers())
def test_any_time_can_be_written_however_wrong_the_clock(time_us: int) -> None:
    assert write_time(time_us).endswith("Z")


@given(text=st.text() | st.from_regex(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{0,10})?([Zz]|[+-]\d\d:\d\d)"))
def test_any_text_is_a_time_or_none(text: str) -> None:
    assert read_time(text) is None or write_time(read_time(text) or 0)


@pytest.mark.parametrize(
    "text, time_us",
    [
        ("0", 0),
        ("1732377600", 1_732_377_600_000_000),
        ("17323776000", 17_323_776_000_000_000),
        ("173237760000", 173_237_760_000_000),
        ("1732377600123", 1_732_377_600_123_000),
        ("2024-11-23T16:00:00Z", 1_732_377_600_000_000),
        ("2024-11-23 16:00:00.5-00:30", 1_732_379_400_500_000),
        ("2024-11-23T16:00:00.1234567Z", 1_732_377_600_123_456),
        ("1969-12-31T23:59:59Z", -1_000_000),
        ("2024-02-30T16:00:00Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("2024-11-23T16:00:00+23:59", 1_732_291_260_000_000),
        ("2024-11-23T16:00:00+24:00", None),
        ("2024-11-23T16:00:00+01:99", None),
        ("2024-11-23T16:00:00-01:60", None),
        ("2024-11-23T24:00:00Z", None),
        ("2024-11-23T16:60:00Z", None),
        ("2024-11-23T16:00:61Z", None),
        ("２０２４-11-23T16:00:00Z", None),
    ],
)
def test_seconds_milliseconds_and_rfc_3339_are_read(text: str, time_us: int | None) -> None:
    assert read_time(text) == time_us


@pytest.mark.parametrize(
    "text, why",
    [
        ("2026-02-30T16:00:00Z", "there is no such day or time, got '2026-02-30T16:00:00Z'"),
        (
            "2026-02-28T16:00:00",
            "expected a time with its zone such as 2026-11-23T16:00:00Z, got '2026-02-28T16:00:00'",
        ),
    ],
)
def test_a_time_that_cannot_be_read_is_told_with_what_is_wrong_with_it(text: str, why: str) -> None:
    with pytest.raises(MalformedQuestion, match=f"^since: {re.escape(why)}$"):
        asked_time("since", text)
