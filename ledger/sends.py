"""Layer one of the state: what the user's own application hands over after Red Cloud accepted its request to send.

`POST /sends` brings an idempotency key, the request and the response. The key is registered first; then each result of
the response is recorded on its message as a request acceptance. Both steps find what an earlier, interrupted try stored,
so the sender simply hands the same content over again until it is answered.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast
from uuid import NAMESPACE_URL, UUID, uuid5

from ledger.errors import MalformedSend, UnreadableBody
from ledger.events import Receipt, RequestAccepted
from ledger.facts import Fact, Send, fact_of, partition_of
from ledger.json_values import JSONObject, canonical, legible, parse_object
from ledger.mapper import EventCodec
from ledger.webhooks import fact_key, read_identifier, text_or_none

SEND_NAMESPACE = uuid5(NAMESPACE_URL, "urn:lifecycle-ledger:send")
RESULTS_MAX = 1_000


class Result(NamedTuple):
    """One recipient's result in the provider's response, with everything it said."""

    recipient: str
    message_id: str
    status: str
    said: JSONObject


@dataclass(frozen=True, slots=True)
class AcceptedRequest:
    """A request to send and what the provider answered. `rejected` are the entries of `errors`, verbatim.

    `digest` (32 bytes) is that of the whole content: the same JSON value has the same.
    """

    digest: bytes
    idempotency_key: str
    request: JSONObject
    results: Sequence[Result]
    rejected: Sequence[object]


def parse_send(body: bytes) -> AcceptedRequest:
    """What the body of `POST /sends` says, or MalformedSend naming the member that is wrong."""
    try:
        said = parse_object(body)
        response = _object(said.get("response"), "response")
        results = _list(response.get("results"), "response.results")
        if len(results) > RESULTS_MAX:
            raise MalformedSend(f"response.results has {len(results)} entries, expected at most {RESULTS_MAX}")
        return AcceptedRequest(
            digest=hashlib.sha256(canonical(said)).digest(),
            idempotency_key=read_identifier(said.get("idempotencyKey"), "idempotencyKey"),
            request=_object(said.get("request"), "request"),
            results=[_result(result, f"response.results[{index}]") for index, result in enumerate(results)],
            rejected=_list(response.get("errors", []), "response.errors"),
        )
    except UnreadableBody as error:
        raise MalformedSend(str(error)) from None


def send_of(accepted: AcceptedRequest, body: bytes, *, partitions: int, now_us: int) -> Send:
    """The entry in the register of idempotency keys. `body` is what `accepted` was read from."""
    send_id = send_id_of(accepted.idempotency_key).bytes
    partition = partition_of(send_id, partitions)
    return Send(partition, send_id, accepted.digest, body, now_us)


def send_id_of(idempotency_key: str) -> UUID:
    """The id of an idempotency key: a deterministic UUID (version 5) of it."""
    return uuid5(SEND_NAMESPACE, idempotency_key)


def acceptances_of(accepted: AcceptedRequest, codec: EventCodec, *, partitions: int, now_us: int) -> list[Fact]:
    """The request acceptance of each result, in the order of the response."""
    return [_acceptance(accepted, result, codec, partitions, now_us) for result in accepted.results]


def _acceptance(accepted: AcceptedRequest, result: Result, codec: EventCodec, partitions: int, now_us: int) -> Fact:
    said: JSONObject = {
        "idempotencyKey": accepted.idempotency_key,
        "request": accepted.request,
        "result": result.said,
    }
    event = RequestAccepted(
        message_id=result.message_id,
        idempotency_key=accepted.idempotency_key,
        status=result.status,
        recipient=result.recipient,
        number_id=text_or_none(accepted.request.get("sendFrom")),
        external_reference=text_or_none(accepted.request.get("externalReference")),
        receipt=Receipt(now_us, canonical(said)),
    )
    return fact_of(event, fact_key("acceptance", said), codec, partitions)


def _result(value: object, member: str) -> Result:
    said = _object(value, member)
    return Result(
        recipient=_text(said.get("to"), f"{member}.to"),
        message_id=read_identifier(said.get("messageId"), f"{member}.messageId"),
        status=_text(said.get("status"), f"{member}.status"),
        said=said,
    )


def _object(value: object, member: str) -> JSONObject:
    if not isinstance(value, dict):
        raise MalformedSend(f"{member} is missing or not an object")
    return cast("JSONObject", value)


def _list(value: object, member: str) -> list[object]:
    if not isinstance(value, list):
        raise MalformedSend(f"{member} is missing or not an array")
    return value


def _text(value: object, member: str) -> str:
    if not isinstance(value, str):
        raise MalformedSend(f"{member} is missing or not text")
    return legible(value)
