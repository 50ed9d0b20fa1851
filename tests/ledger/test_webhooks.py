"""Parsing: any bytes are a typed claim or unreadable for a stated reason, and the same fact has the same key."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger.errors import UnreadableBody
from ledger.webhooks import Webhook, parse
from tests.builders import body

SENT = b'{"eventType": "message.sent", "messageId": "msg_1", "sequence": 2}'

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


def nested(levels: int) -> bytes:
    """A readable webhook of so many levels, the outermost object counted."""
    return b'{"eventType":"e","messageId":"m","x":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def same_fact(one: bytes, other: bytes) -> bool:
    return parse(one).fact_key == parse(other).fact_key


def test_a_webhook_becomes_a_typed_claim() -> None:
    raw = body(
        "message.failed",
        "msg_abc123",
        sequence=3,
        externalReference="order_789",
        providerMessageRef="SM9",
        occurredAt="2024-11-23T16:00:00Z",
        errorCode=30003,
    )

    assert parse(raw) == Webhook(
        event_type="message.failed",
        message_id="msg_abc123",
        fact_key=parse(raw).fact_key,
        sequence=3,
        external_reference="order_789",
        provider_message_ref="SM9",
        conversation_id=None,
        number_id=None,
        sender=None,
        recipient=None,
        occurred_at_us=1_732_377_600_000_000,
    )


@pytest.mark.parametrize(
    "raw, reason",
    [
        (b"", "not JSON"),
        (b"   ", "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (SENT.decode().encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf" + SENT, "not JSON"),
        (SENT + b"x", "not JSON"),
        (SENT + SENT, "not JSON"),
        (b"null", "a JSON null, expected an object"),
        (b"true", "a JSON boolean"),
        (b"1", "a JSON number"),
        (b'"text"', "a JSON string"),
        (b"[]", "a JSON array"),
        (b"{'eventType': 'e'}", "not JSON"),
        (b'{"a": 1, "a": 1}', "same key twice"),
        (b'{"a": {"b": 1, "b": 2}}', "same key twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": Infinity}', "Infinity"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": -1e999}', "too large"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "too many digits"),
        (b'{"a": -' + b"9" * 5_000 + b"}", "too many digits"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 100_000, "nested"),
        (nested(33), "nested"),
        (b'{"a": "\x00"}', "not JSON"),
        (b'{"a": "\n"}', "not JSON"),
        (b"{}", "eventType is missing"),
        (body(""), "eventType"),
        (body(7), "eventType"),
        (body(["message.sent"]), "eventType"),
        (body("e", None), "messageId is missing"),
        (body("e", 7), "messageId"),
        (body("e", ""), "messageId has 0 characters"),
        (body("e", "m" * 513), "messageId has 513 characters"),
        (body("e", "a\0b"), "messageId contains NUL"),
        (body("e", "\ud800"), "lone surrogate"),
        (body("message.sent"), "sequence of message.sent"),
        (body("message.sent", sequence="2"), "sequence"),
        (body("message.sent", sequence=2.0), "sequence"),
        (body("message.sent", sequence=True), "sequence"),
        (body("message.sent", sequence=-1), "sequence"),
        (body("message.sent", sequence=2**63), "sequence"),
    ],
)
def test_what_cannot_be_read_is_unreadable_for_a_stated_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(UnreadableBody, match=reason):
        parse(raw)


@pytest.mark.parametrize("sequence", [0, 1, 2**53, 2**63 - 1])
def test_a_sequence_is_a_whole_number_from_0_to_the_highest_of_63_bits(sequence: int) -> None:
    assert parse(body("message.sent", sequence=sequence)).sequence == sequence


def test_thirty_two_levels_are_read_and_one_more_is_not() -> None:
    assert parse(nested(32)).message_id == "m"
    with pytest.raises(UnreadableBody):
        parse(nested(33))


@pytest.mark.parametrize(
    "message_id",
    [
        "m",
        "m" * 512,
        "a/b",
        "%00",
        "../x",
        "' OR 1=1",
        "a\nb",
        "😀" * 512,
        "\u202eabc",
        "<script>",
        " ",
        "=cmd|' /C calc'!A0",
    ],
)
def test_a_message_id_is_text_of_any_characters_and_kept_as_it_is(message_id: str) -> None:
    assert parse(body("e", message_id)).message_id == message_id


def test_members_that_no_database_takes_are_made_legible_and_the_body_keeps_them() -> None:
    raw = b'{"eventType":"e\\u0000","messageId":"m","externalReference":"a\\u0000b\\ud800c","providerMessageRef":""}'
    claim = parse(raw)

    assert (claim.event_type, claim.external_reference, claim.provider_message_ref) == (
        "e\u2400",
        "a\u2400b\ufffdc",
        None,
    )


@pytest.mark.parametrize(
    "value, read",
    [("text", "text"), (7, "7"), (10**40, "1" + "0" * 40), (True, None), (1.5, None), ([], None), ({}, None)],
)
def test_a_member_of_an_unexpected_type_is_left_out_of_the_claim(value: object, read: str | None) -> None:
    assert parse(body("message.sent", sequence=1, externalReference=value)).external_reference == read


@pytest.mark.parametrize("sequence", ["x", -1, 2**63, 1.0, True, None])
def test_an_unknown_kind_is_readable_whatever_its_sequence_is(sequence: object) -> None:
    assert parse(body("message.read", sequence=sequence)).sequence is None


def test_an_inbound_message_has_no_sequence() -> None:
    assert parse(body("message.inbound", sequence=5)).sequence is None


@pytest.mark.parametrize(
    "members, occurred_at_us",
    [
        ({}, None),
        ({"timestamp": 1_732_377_600}, 1_732_377_600_000_000),
        ({"timestamp": 1_732_377_600_000}, 1_732_377_600_000_000),
        ({"sentAt": "2024-11-23T17:00:00+01:00"}, 1_732_377_600_000_000),
        ({"occurredAt": "yesterday", "createdAt": "2024-11-23T16:00:00Z"}, 1_732_377_600_000_000),
        ({"occurredAt": "2024-11-23T16:00:00Z", "timestamp": 5}, 1_732_377_600_000_000),
        ({"occurredAt": "2024-11-23T16:00:00"}, None),
        ({"timestamp": -1}, None),
        ({"timestamp": 10**13}, None),
        ({"timestamp": 1.5}, None),
        ({"timestamp": True}, None),
        ({"occurredAt": "9999-12-31T23:59:59-23:59"}, 253_402_387_139_000_000),
    ],
)
def test_the_first_member_that_reads_as_a_time_is_when_it_happened(
    members: dict[str, object], occurred_at_us: int | None
) -> None:
    assert parse(body("e", **members)).occurred_at_us == occurred_at_us


def test_member_order_and_white_space_make_no_other_fact() -> None:
    assert same_fact(SENT, b' {"sequence":2,\n"messageId":"msg_1","eventType":"message.sent"}\t')


def test_escapes_make_no_other_fact() -> None:
    assert same_fact(body("e", "ä😀/"), b'{"messageId":"\\u00e4\\ud83d\\ude00\\/","eventType":"e"}')


@pytest.mark.parametrize(
    "one, other",
    [
        (1, 1.0),
        (1, True),
        (0, False),
        ("1", 1),
        ([1, 2], [2, 1]),
        ({}, []),
        ("", None),
        ("a", "A"),
        ("é", "e\u0301"),
        (-0.0, 0.0),
        (10**20, 10**20 + 1),
        (2**53, 2**53 + 1),
        ("\ud800", "\ufffd"),
    ],
)
def test_other_values_are_other_facts(one: object, other: object) -> None:
    assert not same_fact(body("e", x=one), body("e", x=other))


def shuffled(value: Any, order: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        names = order.draw(st.permutations(list(value)))
        return {name: shuffled(value[name], order) for name in names}
    return [shuffled(each, order) for each in value] if isinstance(value, list) else value


@given(value=json_values, order=st.data(), indent=st.sampled_from([None, 0, 3]), ascii_only=st.booleans())
def test_any_spelling_of_one_json_value_is_the_same_fact(
    value: object, order: st.DataObject, indent: int | None, *, ascii_only: bool
) -> None:
    said = {"eventType": "e", "messageId": "m", "value": value}
    spelled = json.dumps(shuffled(said, order), indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        parse(spelled)
    except UnreadableBody:
        return  # a lone surrogate that is not escaped is not UTF-8
    assert same_fact(json.dumps(said).encode(), spelled)


@given(one=json_values, other=json_values)
def test_two_values_are_one_fact_only_if_they_are_spelled_alike(one: object, other: object) -> None:
    alike = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)

    assert same_fact(body("e", x=[one]), body("e", x=[other])) == alike


@given(raw=st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"[" * 100_000)
@example(b'{"eventType":"e","messageId":"m","x":1e-400}')
@settings(max_examples=300)
def test_any_bytes_are_a_claim_or_unreadable(raw: bytes) -> None:
    try:
        claim = parse(raw)
    except UnreadableBody as error:
        str(error).encode()
    else:
        assert claim.message_id


@given(
    said=st.dictionaries(
        st.sampled_from(
            ["eventType", "messageId", "sequence", "externalReference", "occurredAt", "from", "to", "timestamp"]
        ),
        json_values | st.sampled_from(["message.sent", "message.inbound", "m", 2, "2024-11-23T24:00:00Z"]),
    )
)
@settings(max_examples=300)
def test_any_members_of_any_type_are_a_claim_or_unreadable(said: dict[str, object]) -> None:
    try:
        claim = parse(json.dumps(said).encode())
    except UnreadableBody:
        return
    texts = [claim.event_type, claim.external_reference, claim.sender, claim.recipient]
    assert all("\0" not in text and text.encode() for text in texts if text)
