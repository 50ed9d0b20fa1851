"""Requests made up from `GET /openapi.json`, good ones and bad ones, and every answer held to what it says.

    with running(settings_at(place)) as server:
        answers = fuzz(server, requests_an_operation=5_000)

A short run is in `test_openapi.py`; the campaign `fuzz-sqlite` makes 100,000 requests, with those of `fuzzing_bytes.py`.
"""

import hashlib
import json
from collections import Counter
from typing import Any

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.specs.openapi import checks

from tests.api.running import WEBHOOKS, Running, key_of
from tests.builders import body, send_body
from tests.surrogates import HALF

NOT_READABLE = b"?"
KNOWN = {
    "messageId": "msg_known",
    "version": "1",
    "conversationId": "conv_known",
    "idempotencyKey": "idem_known",
    "id": hashlib.sha256(NOT_READABLE).hexdigest()[:32],
    "name": "message-status",
}
"""Values of path parameters that mean something here."""
ENDLESS = "/feed/stream"
WAIT_FOR_S_MAX = 0.02
HEALTHY = frozenset(range(200, 500)) | {504}
"""A 504 is what `waitFor` documents; every other 5xx is a failure of ours."""

Operation = APIOperation[Any, Any, Any, Any]
AnyCase = Case[Operation]
Answers = Counter[tuple[str, int]]


def fuzz(server: Running, *, requests_an_operation: int, seed: int | None = None) -> Answers:
    """Asks every operation with about as many requests; how often which status came. AssertionError names what was wrong.

    Without a seed the requests are the same each time.
    """
    server.service.wait_for_s_max = WAIT_FOR_S_MAX
    stock(server)
    answers: Answers = Counter()
    schema = schemathesis.openapi.from_dict(server.get("/openapi.json").json())
    with requests.Session() as session:
        for found in schema.get_all_operations():
            operation = found.ok()  # type: ignore[union-attr]  # the document is valid: another test sees to it
            if operation.path != ENDLESS:
                _ask_all(server, session, operation, answers, requests_an_operation, seed)
    return answers


def stock(server: Running) -> None:
    """Something to ask about."""
    server.post("/sends", send_body([KNOWN["messageId"]], KNOWN["idempotencyKey"]))
    server.deliver(body("message.failed", KNOWN["messageId"], sequence=1, errorCode=30003, note=HALF))
    server.deliver(body("message.inbound", "msg_in", conversationId=KNOWN["conversationId"], body=f"Hi {HALF}"))
    server.deliver(NOT_READABLE)


def _ask_all(
    server: Running,
    session: requests.Session,
    operation: Operation,
    answers: Answers,
    examples: int,
    seed: int | None,
) -> None:
    good = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    bad = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=seed is None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=good | bad if _can_be_bad(operation) else good, about_what_is_there=st.booleans())
    def ask(case: AnyCase, *, about_what_is_there: bool) -> None:
        if about_what_is_there:
            case.path_parameters.update({name: KNOWN[name] for name in KNOWN if name in case.path_parameters})
        status = _ask(server, session, case)
        answers[f"{operation.method.upper()} {operation.path}", status] += 1
        assert status in HEALTHY, f"{case.as_curl_command()} was answered {status}"

    hypothesis.seed(seed)(ask)() if seed is not None else ask()


def _can_be_bad(operation: Operation) -> bool:
    return bool(operation.path_parameters or operation.query or operation.headers or operation.body)


def _ask(server: Running, session: requests.Session, case: AnyCase) -> int:
    if case.path == WEBHOOKS:
        raw = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
        answer = server.deliver(raw)
        case.validate_response(answer, checks=_CHECKS)
        return answer.status_code
    response = case.call(
        base_url=str(server.http.base_url).rstrip("/"),
        session=session,
        headers={"Authorization": f"Bearer {key_of('admin')}"},
    )
    case.validate_response(response, checks=_CHECKS)
    return response.status_code


_CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
