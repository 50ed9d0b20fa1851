"""Verification: whatever arrives is either provably the provider's or refused, by one error of ours."""

import hmac
from contextlib import nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import SignatureRefused
from ledger.signatures import Secret, Signature, verify
from tests.builders import NOW_US, SECRET, signed_headers

BODY = b'{"eventType": "message.sent", "messageId": "msg_1", "sequence": 2}'
TIMESTAMP = b"x-redcloud-timestamp"
SIGNATURE = b"x-redcloud-signature"
HOUR_S = 3_600


def check(headers: list[tuple[bytes, bytes]], body: bytes = BODY, *secrets: Secret) -> Signature:
    return verify(headers, body, secrets or (SECRET,), now_us=NOW_US)


def digest(timestamp: str, body: bytes = BODY) -> bytes:
    return hmac.digest(SECRET.key, timestamp.encode() + b"." + body, "sha256")


def test_a_signed_delivery_is_proved_with_the_secret_that_signed_it() -> None:
    assert check(signed_headers(BODY)) == Signature("1732377600", digest("1732377600"), "main", late=False)


@pytest.mark.parametrize("missing", [TIMESTAMP, SIGNATURE])
def test_without_either_header_it_is_refused(missing: bytes) -> None:
    with pytest.raises(SignatureRefused, match="missing"):
        check([header for header in signed_headers(BODY) if header[0] != missing])


@pytest.mark.parametrize("repeated", [0, 1])
def test_a_header_that_comes_twice_is_refused_even_where_both_say_the_same(repeated: int) -> None:
    headers = signed_headers(BODY)

    with pytest.raises(SignatureRefused, match="more than once"):
        check([*headers, headers[repeated]])


def test_another_secret_is_refused() -> None:
    with pytest.raises(SignatureRefused, match="no active secret"):
        check(signed_headers(BODY, secret=Secret("main", b"a guess")))


@pytest.mark.parametrize("right", [0, 1, 2, None])
def test_how_long_it_takes_tells_neither_which_secret_it_was_nor_how_much_of_a_guess_is_right(
    monkeypatch: pytest.MonkeyPatch, right: int | None
) -> None:
    secrets = [SECRET if each == right else Secret(f"other_{each}", b"of others") for each in range(3)]
    expected = [hmac.digest(each.key, b"1732377600." + BODY, "sha256") for each in secrets]
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def noted(made: bytes, sent: bytes) -> bool:
        compared.append(made)
        return compare(made, sent)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    with nullcontext() if right is not None else pytest.raises(SignatureRefused):
        check(signed_headers(BODY), BODY, *secrets)

    assert compared == expected


@given(at=st.integers(0, len(BODY) - 1), change=st.integers(1, 255))
def test_one_changed_byte_of_the_body_is_refused(at: int, change: int) -> None:
    changed = bytearray(BODY)
    changed[at] ^= change

    with pytest.raises(SignatureRefused):
        check(signed_headers(BODY), bytes(changed))


def test_a_signature_over_the_same_json_written_anew_is_refused() -> None:
    with pytest.raises(SignatureRefused):
        check(signed_headers(BODY.replace(b": ", b":")))


def test_a_signature_of_another_timestamp_is_refused() -> None:
    (_, _), signature = signed_headers(BODY)

    with pytest.raises(SignatureRefused):
        check([(TIMESTAMP, b"1732377601"), signature])


@pytest.mark.parametrize(
    "timestamp",
    [
        "1e9",
        "-1",
        "+1",
        "１７",
        "1_0",
        "1.5",
        "0x10",
        "",
        " 1732377600",
        "1732377600 ",
        "1" * 14,
        "1" * 400,
        "2024-11-23",
        "2024-11-23T16:00:00",
        "2024-13-23T16:00:00Z",
        "2024-11-23T16:00:00.Z",
        "2024-11-23T16:00:00+1",
        "2024-11-23T16:00:00." + "1" * 60 + "Z",
        "nan",
        "Sat, 23 Nov 2024 16:00:00 GMT",
    ],
)
def test_a_timestamp_in_any_other_form_is_refused_even_when_it_is_signed(timestamp: str) -> None:
    with pytest.raises(SignatureRefused, match="timestamp header"):
        check(signed_headers(BODY, timestamp))


@pytest.mark.parametrize(
    "timestamp",
    [
        "1732377600",
        "1732377600000",
        "2024-11-23T16:00:00Z",
        "2024-11-23T17:00:00.123456789+01:00",
        "2024-11-23t16:00:60z",
    ],
)
def test_unix_seconds_milliseconds_and_rfc_3339_are_read_as_the_same_hour(timestamp: str) -> None:
    assert check(signed_headers(BODY, timestamp)) == Signature(timestamp, digest(timestamp), "main", late=False)


def test_the_border_between_timestamp_and_body_cannot_be_moved() -> None:
    # Signed was "1732377600" + "." + BODY; the attacker calls a longer part of it the timestamp.
    _, signature = signed_headers(BODY)

    with pytest.raises(SignatureRefused):
        check([(TIMESTAMP, b"1732377600." + BODY[:1]), signature], BODY[1:])


@given(cut=st.integers(1, 60))
def test_no_signed_text_can_be_cut_into_another_timestamp_and_body(cut: int) -> None:
    timestamp = "2024-11-23T16:00:00.123456Z"
    signed = timestamp.encode() + b".1.2.3Z." + BODY
    _, signature = signed_headers(b"1.2.3Z." + BODY, timestamp)

    if signed[cut : cut + 1] == b"." and cut != len(timestamp):
        with pytest.raises(SignatureRefused):
            check([(TIMESTAMP, signed[:cut]), signature], signed[cut + 1 :])


def test_a_signature_in_upper_case_is_accepted() -> None:
    timestamp, (name, value) = signed_headers(BODY)

    assert check([timestamp, (name, value.upper())]) == check(signed_headers(BODY))


@pytest.mark.parametrize(
    "change",
    [b"sha256=" + b"0" * 64, b"", b"0" * 63, b"0" * 65, b"g" * 64, "é".encode() * 32, b"\xff" * 64, b" " + b"0" * 64],
)
def test_a_signature_that_is_not_64_hexadecimal_digits_is_refused(change: bytes) -> None:
    with pytest.raises(SignatureRefused, match="64 hexadecimal"):
        check([signed_headers(BODY)[0], (SIGNATURE, change)])


def test_while_two_secrets_are_active_both_verify_and_the_one_that_did_is_named() -> None:
    old, new = Secret("2023", b"the old one"), Secret("2024", b"the new one")

    assert check(signed_headers(BODY, secret=old), BODY, old, new).secret_id == "2023"
    assert check(signed_headers(BODY, secret=new), BODY, old, new).secret_id == "2024"
    with pytest.raises(SignatureRefused):
        check(signed_headers(BODY, secret=old), BODY, new)


@pytest.mark.parametrize(
    "signed_s_ago, late",
    [
        (0, False),
        (2 * HOUR_S, False),
        (2 * HOUR_S + 1, True),
        (-2 * HOUR_S, False),
        (-2 * HOUR_S - 1, True),
        (3 * HOUR_S, True),
        (24 * HOUR_S, True),
        (1_732_377_600, True),
    ],
)
def test_outside_the_replay_window_a_delivery_is_marked_late_and_never_dropped(
    signed_s_ago: int, *, late: bool
) -> None:
    timestamp = str(NOW_US // 1_000_000 - signed_s_ago)

    assert check(signed_headers(BODY, timestamp)) == Signature(timestamp, digest(timestamp), "main", late)


@given(
    headers=st.lists(
        st.tuples(st.sampled_from([TIMESTAMP, SIGNATURE, b"x-other"]), st.binary(max_size=80)), max_size=4
    ),
    body=st.binary(max_size=200),
)
def test_any_headers_and_any_body_are_refused_with_our_own_error(
    headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    with pytest.raises(SignatureRefused):
        check(headers, body)


@given(timestamp=st.from_regex(rb"[0-9TtZz:.+ -]{1,70}", fullmatch=True))
@settings(max_examples=200)
def test_any_signed_timestamp_is_read_or_refused(timestamp: bytes) -> None:
    signature = hmac.digest(SECRET.key, timestamp + b"." + BODY, "sha256").hex().encode()

    try:
        proof = check([(TIMESTAMP, timestamp), (SIGNATURE, signature)])
    except SignatureRefused:
        return
    assert proof.timestamp.encode() == timestamp


def test_a_secret_never_shows_its_key() -> None:
    assert repr(SECRET) == "Secret(id='main')"


def test_a_secret_that_is_no_bytes_is_refused_when_it_is_made() -> None:
    with pytest.raises(TypeError, match=r"^the key of the secret 'main' is a str, expected bytes$"):
        Secret("main", "my-secret")  # type: ignore[arg-type]
