"""What the user's own application hands over: read, or refused with the member that is wrong."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import MalformedSend
from ledger.events import RequestAccepted
from ledger.json_values import canonical
from ledger.sends import AcceptedRequest, Result, parse_send, send_id_of, send_of
from tests.builders import CODEC, NOW_US, acceptances, send_body

DOCUMENTED = b"""
{"idempotencyKey": "idem_order_789",
 "request": {"sendFrom": "num_abc123", "to": ["+15551234567", "+1555"], "messageType": "SMS", "text": "Hi",
             "externalReference": "order_789"},
 "response": {"results": [{"to": "+15551234567", "messageId": "msg_abc123", "status": "QUEUED"}],
              "errors":  [{"to": "+1555", "code": "INVALID_REQUEST", "message": "not an E.164 number"}]}}
"""


def changed(**members: object) -> bytes:
    """The documented body with other members; None leaves one out."""
    said = json.loads(DOCUMENTED) | members
    return json.dumps({name: value for name, value in said.items() if value is not None}).encode()


def with_result(**members: object) -> bytes:
    result = {"to": "+1", "messageId": "m", "status": "QUEUED"} | members
    return changed(response={"results": [{name: value for name, value in result.items() if value is not None}]})


def test_a_request_and_its_partial_answer_are_read_with_the_rejected_verbatim() -> None:
    said = json.loads(DOCUMENTED)

    assert parse_send(DOCUMENTED) == AcceptedRequest(
        digest=hashlib.sha256(canonical(said)).digest(),
        idempotency_key="idem_order_789",
        request=said["request"],
        results=[Result("+15551234567", "msg_abc123", "QUEUED", said["response"]["results"][0])],
        rejected=[{"to": "+1555", "code": "INVALID_REQUEST", "message": "not an E.164 number"}],
    )


@pytest.mark.parametrize(
    "raw, reason",
    [
        (b"", "not JSON"),
        (b"[]", "expected an object"),
        (changed(idempotencyKey=None), "idempotencyKey is missing"),
        (changed(idempotencyKey=""), "idempotencyKey has 0 characters"),
        (changed(idempotencyKey="k" * 513), "idempotencyKey has 513 characters"),
        (changed(idempotencyKey="\0"), "idempotencyKey contains NUL"),
        (changed(idempotencyKey=7), "idempotencyKey is missing or not text"),
        (changed(request=None), "request is missing"),
        (changed(request=[]), "request is missing or not an object"),
        (changed(response=None), "response is missing"),
        (changed(response={}), "response.results is missing"),
        (changed(response={"results": {}}), "response.results is missing or not an array"),
        (changed(response={"results": [1]}), r"response.results\[0\] is missing or not an object"),
        (changed(response={"results": [], "errors": 1}), "response.errors is missing or not an array"),
        (changed(response={"results": [{}] * 1001}), "response.results has 1001 entries, expected at most 1000"),
        (with_result(messageId=None), r"response.results\[0\].messageId is missing"),
        (with_result(messageId="\ud800"), r"response.results\[0\].messageId contains"),
        (with_result(to=None), r"response.results\[0\].to is missing"),
        (with_result(status=5), r"response.results\[0\].status is missing or not text"),
    ],
)
def test_what_is_wrong_with_a_send_is_named(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedSend, match=reason):
        parse_send(raw)


def test_each_result_is_the_acceptance_of_its_message() -> None:
    raw = send_body(["msg_1", "msg_2"])
    events = [CODEC.decode(each.topic, each.state) for each in acceptances(raw)]

    assert [type(each) for each in events] == [RequestAccepted, RequestAccepted]
    assert [each.message_id for each in events] == ["msg_1", "msg_2"]
    assert json.loads(events[0].receipt.body) == {
        "idempotencyKey": "idem_1",
        "request": json.loads(raw)["request"],
        "result": json.loads(raw)["response"]["results"][0],
    }


def test_the_same_send_gives_the_same_facts_and_another_key_gives_others() -> None:
    first, spaced = acceptances(send_body(["msg_1"])), acceptances(send_body(["msg_1"]).replace(b": ", b" :  "))
    other = acceptances(send_body(["msg_1"], idempotency_key="idem_2"))

    assert first == spaced
    assert first[0].fact_key != other[0].fact_key


def test_the_same_json_value_is_the_same_content_of_a_send() -> None:
    raw = send_body(["msg_1"])
    spaced = raw.replace(b": ", b" :  ")
    one, other = (send_of(parse_send(each), each, partitions=4, now_us=NOW_US) for each in (raw, spaced))

    assert (one.send_id, one.partition, one.digest) == (other.send_id, other.partition, other.digest)
    assert one.send_id == send_id_of("idem_1").bytes
    assert one.body == raw


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_a_send_or_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedSend):
        parse_send(raw)


@given(
    response=st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["results", "errors", "to", "messageId", "status"]), inner, max_size=5)
        ),
    )
)
def test_any_response_is_a_send_or_malformed(response: object) -> None:
    try:
        accepted = parse_send(changed(response=response))
    except MalformedSend:
        return
    assert len(accepted.results) == len(acceptances(changed(response=response)))
