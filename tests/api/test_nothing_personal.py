"""Planted numbers, texts, keys and secrets are found again in none of the places that must not hold them.

A server as a process, at its most talkative, through every kind of request and refusal; then its log, its audit trail, its
metrics and its problems are searched to the byte.
"""

from pathlib import Path

import httpx2

from api.http.problems import PROBLEM_MEDIA_TYPE
from tests.api.program import Program, program
from tests.api.running import KEYS, SECRETS, as_json, key_of, signed, until
from tests.builders import body

CUSTOMER, OUR_NUMBER = "+15557654321", "+15551234567"
WORDS = "planted words of a customer"
FORGOTTEN = "ledger_planted-in-a-wrong-place-0000000000000000000"
PLANTED = [
    "5557654321",
    "5551234567",
    WORDS,
    FORGOTTEN,
    *map(key_of, KEYS),
    *(secret.decode() for secret in SECRETS.values()),
]


def deliver(http: httpx2.Client, raw: bytes, **headers: str) -> httpx2.Response:
    return http.post("/webhooks/red-cloud", content=raw, headers=signed(raw) | headers)


def everything(server: Program) -> list[httpx2.Response]:
    """Deliveries, sends, questions, forms and refusals of every kind, full of what is planted."""
    send = {
        "idempotencyKey": "idem_1",
        "request": {"sendFrom": "num_abc123", "to": [OUR_NUMBER], "text": WORDS},
        "response": {"results": [{"to": OUR_NUMBER, "messageId": "msg_out", "status": "QUEUED"}], "errors": []},
    }
    parties = {"from": CUSTOMER, "to": OUR_NUMBER, "conversationId": "conv_1", "numberId": "num_abc123", "body": WORDS}
    own = {"Origin": f"http://127.0.0.1:{server.port}"}
    wrong = {"Authorization": f"Bearer {FORGOTTEN}"}
    writer = {"Authorization": f"Bearer {key_of('writer')}"}
    with server.http as http:
        inbound = body("message.inbound", "msg_in", **parties)
        answers = [
            http.post("/sends", content=as_json(send)),
            http.post("/sends", content=as_json(send | {"request": {"text": WORDS, "to": [CUSTOMER]}})),
            http.post("/sends", content=as_json({"idempotencyKey": WORDS, "request": WORDS})),
            deliver(http, inbound),
            deliver(http, inbound),
            deliver(http, body("message.failed", "msg_out", sequence=2, errorMessage=f"{CUSTOMER} is off: {WORDS}")),
            deliver(http, f"{CUSTOMER} {WORDS}".encode()),
            http.post("/webhooks/red-cloud", content=inbound, headers=signed(inbound) | {"Content-Encoding": "gzip"}),
            http.post("/webhooks/red-cloud", content=inbound),
            http.post("/webhooks/red-cloud", content=inbound, headers=signed(WORDS.encode())),
        ]
        until(lambda: http.get("/conversations/conv_1").is_success)
        for path in (
            "/messages?phone=%2B15557654321",
            "/messages?externalReference=%2B1%20(555)%20765-4321",
            f"/messages?failureCode={FORGOTTEN}",
            f"/messages?cursor={CUSTOMER[1:]}",
            f"/messages/msg_in?key={FORGOTTEN}",
            "/messages/msg_in/history",
            "/messages/msg_in/history/1/body",
            "/messages/msg_out",
            "/conversations?participant=%2B15557654321",
            "/conversations/conv_1/messages",
            "/sends/idem_1",
            "/feed",
            "/quarantine",
            "/nowhere/%2B15557654321",
            "/audit?subject=%2B15557654321",
            "/projections",
        ):
            answers += [http.get(path), http.get(path, headers=wrong), http.get(path, headers=writer)]
        answers += [
            http.post(f"/projections/{CUSTOMER}/rebuild", headers=writer),
            http.post("/quarantine/replay"),
            http.post("/console/sign-in", data={"key": FORGOTTEN}, headers=own),
            http.post("/console/sign-in", data={"key": key_of("reader")}, headers=own),
            http.post("/console/sign-in", data={"key": key_of("reader")}, headers={"Origin": "http://evil.example"}),
        ]
        for path in (
            "search?q=%2B15557654321",
            f"search?q={FORGOTTEN}",
            "messages?number=%2B15557654321",
            "messages/msg_in",
        ):
            answers.append(http.get(f"/console/{path}"))
    return answers


def test_planted_numbers_texts_keys_and_secrets_are_nowhere_they_must_not_be(tmp_path: Path) -> None:
    with program(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "log", LEDGER_LOG_LEVEL="debug") as server:
        answers = everything(server)
        with server.http as http:
            metrics, asked = http.get("/metrics").text, http.get("/audit?limit=1000").text
        assert server.stop() == 0
    log = server.log.read_text()
    trail = b"".join(file.read_bytes() for file in tmp_path.glob("ledger.db.audit*"))
    problems = [answer for answer in answers if answer.headers.get("content-type") == PROBLEM_MEDIA_TYPE]

    assert {answer.status_code for answer in problems} >= {400, 401, 403, 404, 409, 415, 422}
    assert {answer.status_code for answer in answers} >= {200, 202, 303}
    assert log.count('"event": "answered"') > 50
    assert asked.count('"act"') > 15
    assert b"read-history" in trail
    for planted in PLANTED:
        assert planted not in log
        assert planted.encode() not in trail
        assert planted not in asked
        assert planted not in metrics
        assert [answer.text for answer in problems if planted in answer.text] == []
    # What is searched for is there where it belongs, so the search can find it.
    assert any("5557654321" in answer.text for answer in answers)
    assert WORDS.encode() in b"".join(file.read_bytes() for file in tmp_path.glob("ledger.db*"))
