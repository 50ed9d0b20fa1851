"""What scope `masked` sees of text in which numbers may stand."""

import pytest

from projections.masking import mask_numbers, mask_value

WAYS_OF_WRITING = (
    "+15551234567",
    "+1 (555) 123-4567",
    "+1 (555) - 123 - 4567",
    "+1_555_123_4567",
    "1.555.123.4567",
    "001/555/1234567",
    *(f"+1{dash}555{dash}123{dash}4567" for dash in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d"),
    *(f"+1{space}555{space}123{space}4567" for space in "\u00a0\u2009\u202f\u3000\u200b\u2060"),
    "+1 \u2013 555 \u2013 123 \u2013 4567",
)


@pytest.mark.parametrize("number", WAYS_OF_WRITING, ids=ascii)
def test_a_number_is_cut_however_it_is_written(number: str) -> None:
    assert mask_numbers(f"no route to {number}, given up") == "no route to …4567, given up"
    assert mask_value({number: [f"x{number}"]}) == {"…4567": ["x…4567"]}


@pytest.mark.parametrize(
    "text",
    [
        "30007",
        "error 30003, attempt 5 of 5",
        "msg_abc123",
        "at 19:01:53.250",
        "10 of 20, 30 of 40",
        "on 2026-01-31",
        "2026-01-31 10:00, 2026-01-31T10:00:00Z and 2026-01-31T10:00:00.123456+01:00",
        "createdAt 1767225679942",
        "1767225679942123.",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_what_is_no_number_stays(text: str) -> None:
    assert mask_numbers(text) == text


@pytest.mark.parametrize("value", [1767225679, 1767225679.942, 1767225679942, 1767225679942123, 30007, 0.5])
def test_a_time_that_is_a_number_stays(value: float) -> None:
    assert mask_value({"createdAt": value}) == {"createdAt": value}


@pytest.mark.parametrize(
    "text, shown",
    [
        ("+1767225679942", "…9942"),
        ("1767225679942 5551234567", "…4567"),
        ("2026-11-25 5551234567", "…4567"),
        ("2026-11-25T10:00:00.12 555 123 4567", "2026-11-25T10:00:…4567"),
        ("1555123456", "…3456"),
        ("15551234567", "…4567"),
        ("55512345-5512-3455-5123-455512345678", "…5678"),
    ],
)
def test_what_only_begins_as_a_time_is_cut(text: str, shown: str) -> None:
    assert mask_numbers(text) == shown


@pytest.mark.parametrize("value", [15551234567, 5551234567, 5551234567.0])
def test_a_number_that_is_no_time_is_cut(value: float) -> None:
    assert str(mask_value(value)).startswith("…")
