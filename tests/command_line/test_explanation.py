"""`ledger explain`: the history in plain English."""

from pathlib import Path

import pytest

from api.explanation import MEANINGS, Explanation, explain
from ledger.events import MessageEvent
from ledger.ledger import Ledger
from ledger.provider import Status
from tests.builders import (
    NOW_US,
    accepted,
    body,
    commit_each,
    delivered,
    facts,
    failed,
    inbound,
    queued,
    sent,
    unknown,
)
from tests.command_line.conftest import Run, record

HOUR_US = 3_600_000_000


@pytest.fixture
def explained(tmp_path: Path) -> "Explained":
    return Explained(tmp_path)


class Explained:
    """What is said of a message after these events, some hours later."""

    def __init__(self, folder: Path) -> None:
        self._url = f"sqlite:///{folder}/ledger.db"

    def __call__(self, *events: MessageEvent, hours: int = 0) -> Explanation:
        with Ledger.open(self._url) as ledger:
            commit_each(ledger, facts(events))
            return explain(list(ledger.whole_history("msg_1")), now_us=NOW_US + hours * HOUR_US)


def test_every_status_has_a_meaning_and_says_what_it_does_not_mean() -> None:
    assert MEANINGS.keys() == set(Status)
    assert [status for status, meaning in MEANINGS.items() if meaning.does_not_mean is None] == [Status.FAILED]


def test_what_came_too_late_says_why_it_changed_nothing(explained: Explained) -> None:
    found = explained(queued(1), delivered(3), sent(2))

    assert [each.remark for each in found.happenings] == [
        "applied: accepted",
        "applied: delivered",
        "changed nothing: sequence 3 had come before",
    ]
    assert found.order == "Meant as 1, 2, 3; came as 1, 3, 2. Only the order that was meant counts."
    assert found.message.status is Status.DELIVERED


def test_a_failure_gives_its_code_its_details_and_what_to_do(explained: Explained) -> None:
    found = explained(
        accepted(), queued(1), failed(2, errorCode=30003, errorMessage="Unreachable", providerMessageRef="SM9")
    )

    assert found.failure_code == "30003"
    assert found.failure == {"errorCode": 30003, "errorMessage": "Unreachable"}
    assert found.order is None
    assert found.remarks == ()
    assert found.next_steps == (
        "Look up the code 30003 with Red Cloud; then correct the cause, and send a new message: this one is over.",
        "When you ask Red Cloud, quote its reference SM9.",
    )


def test_holes_conflicts_and_repetitions_are_told(explained: Explained) -> None:
    found = explained(accepted(), queued(1), sent(4), failed(4), queued(1, providerMessageRef="SM1"), hours=5)

    assert found.remarks == (
        "Missing: sequence 2, 3 lies between others and has never come.",
        "Conflict: Red Cloud claimed sequence 4 as message.sent and as message.failed. The first one recorded holds.",
        "Repeated: 1 of the events said again what had been said before, in another body.",
    )
    assert "The missing webhooks will not come any more" in found.next_steps[1]


@pytest.mark.parametrize(
    "hours, told",
    [
        (0, "Wait: the last word is less than a minute old, and webhooks may be retried for 81 minutes."),
        (1, "Wait: the last word is 1 hour old, and webhooks may be retried for 81 minutes."),
        (2, "Nothing has come for 2 hours, and Red Cloud's retries of a webhook end after 81 minutes"),
        (24 * 9, "Nothing has come for 9 days, and Red Cloud's retries of a webhook end after 81 minutes"),
    ],
)
def test_a_message_that_is_under_way_is_waited_for_only_as_long_as_retries_last(
    explained: Explained, hours: int, told: str
) -> None:
    assert explained(accepted(), queued(1), hours=hours).next_steps[0].startswith(told)


def test_inbound_and_unknown_are_explained_as_what_they_are(explained: Explained) -> None:
    found = explained(inbound(), unknown("message.read", sequence=7), sent(2))

    assert [(each.what, each.remark) for each in found.happenings] == [
        ("A customer (+15557654321) wrote it.", "created: received"),
        (
            "Red Cloud reported 'message.read', a kind that this version does not know.",
            "noted; no step of the delivery",
        ),
        (
            "Red Cloud took it into its send path.",
            "changed nothing: it contradicts what the message was when it was first heard of",
        ),
    ]


def test_the_command_prints_it_and_gives_json(run: Run, store_url: str) -> None:
    record(store_url, body("message.queued", sequence=1), body("message.failed", sequence=2, reason="no route"))

    ended = run("explain", "msg_1", LEDGER_DATABASE_URL=store_url)
    as_json = run("explain", "msg_1", "--json", LEDGER_DATABASE_URL=store_url).json
    missing = run("explain", "msg_2", LEDGER_DATABASE_URL=store_url)

    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith("msg_1  failed\n  Red Cloud gave up on it.")
    assert "Failure code: no route." in ended.stdout
    assert "  16:00:01.000  Red Cloud gave up on it. (applied: failed)\n" in ended.stdout
    assert (as_json["status"], as_json["failure"]) == ("failed", {"reason": "no route"})
    assert as_json["events"][0]["what"] == "Red Cloud took it into its queue."
    assert (missing.status, missing.stdout) == (1, "")
