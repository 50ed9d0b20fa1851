"""The questions that people have are each answered by one command: those of docs/QUESTIONS.md, word for word."""

import re
import shlex
from pathlib import Path

import pytest

from ledger.ledger import Ledger
from ledger.sends import parse_send, send_of
from projections.read_models import ReadModels
from tests.builders import acceptances, body, commit_each, send_body
from tests.command_line.conftest import Run, record

DOCUMENT = Path(__file__).parents[2] / "docs" / "QUESTIONS.md"
CUSTOMER = "+15557654321"
ANSWERS = {
    "Where is my message?": (0, "msg_abc123  failed"),
    "… and I have no messageId": (0, "msg_abc123\tfailed"),
    "Why did it fail?": (0, "Failure code: 30007"),
    "What did we promise, and when did it become true?": (0, "promised: Red Cloud answered QUEUED"),
    "What did this customer write us?": (0, "Where is my order?"),
    "… and I have their number only": (0, "conv_abc123"),
    "Is anything stuck or lost?": (1, "1\tmessages sent for more than 90 min"),
    "What happened to yesterday's campaign?": (0, "msg_abc123\tfailed"),
    "What was it on Saturday at four?": (0, "status\tfailed"),
    "Did Red Cloud tell us twice?": (0, "message.failed\t3\tapplied"),
    "Who looked at it?": (0, "read-message\tmsg_abc123"),
}


@pytest.fixture
def ledger_of_the_document(tmp_path: Path, run: Run) -> None:
    """A ledger that holds what the document asks for, and that somebody has asked already."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger.open(url) as ledger:
        raw = send_body(["msg_abc123"], "campaign-2026-11")
        ledger.commit([send_of(parse_send(raw), raw, partitions=1, now_us=1)])
        commit_each(ledger, acceptances(raw))
    record(
        url,
        body("message.failed", "msg_abc123", sequence=3, errorCode="30007"),
        body("message.sent", "msg_2", sequence=2),
        body(
            "message.inbound",
            "in_1",
            conversationId="conv_abc123",
            body="Where is my order?",
            **{"from": CUSTOMER, "to": "+15550000000"},
        ),
    )
    with Ledger.open(url) as ledger, ReadModels.open(ledger) as read_models:
        read_models.catch_up()
    run("explain", "msg_abc123")


def rows() -> dict[str, str]:
    """The command that each row of the document names."""
    cells = [line.strip("| ").split(" | ") for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    return {row[0]: found[1] for row in cells if (found := re.fullmatch("`(ledger .*)`", row[-1]))}


def test_the_document_asks_all_of_them() -> None:
    assert rows().keys() == ANSWERS.keys()


@pytest.mark.usefixtures("ledger_of_the_document")
@pytest.mark.parametrize("question", ANSWERS)
def test_one_command_answers(run: Run, question: str) -> None:
    ended = run(*shlex.split(rows()[question])[1:])

    status, said = ANSWERS[question]
    assert (ended.status, said in ended.stdout) == (status, True), ended
