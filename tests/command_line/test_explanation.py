"""`ledger explain`: the history in plain English."""

import re
from pathlib import Path

import pytest

from api.explanation import MEANINGS, Explanation, explain, known_of
from api.promise import Promise
from ledger.events import MessageEvent
from ledger.ledger import Ledger
from ledger.log_entries import WHY_UNREADABLE
from ledger.provider import Status
from tests.builders import (
    NOW_US,
    accepted,
    append_unreadable,
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
            entries = list(ledger.whole_history("msg_1"))
            return explain(known_of("msg_1", entries), entries, now_us=NOW_US + hours * HOUR_US)


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


def test_a_failure_in_words_is_no_code_to_look_up(explained: Explained) -> None:
    found = explained(accepted(), failed(2, reason="Unknown destination handset"))

    assert found.next_steps[0].startswith("Ask Red Cloud what it means by “Unknown destination handset”; then correct")


@pytest.mark.parametrize(
    "details, step",
    [
        ({}, "Ask Red Cloud why, as it gave no details; "),
        ({"errorCode": ""}, "Read the failure above; "),
        ({"title": "Blocked"}, "Read the failure above; "),
    ],
)
def test_a_failure_without_a_code_is_read_where_there_is_something_to_read(
    explained: Explained, details: dict[str, str], step: str
) -> None:
    assert explained(failed(2, **details)).next_steps[0].startswith(step)


@pytest.mark.parametrize(
    "details, told",
    [
        ({}, "Red Cloud gave no details."),
        ({"errorCode": ""}, "Red Cloud said:"),
        ({"title": "Blocked"}, "Red Cloud said:"),
        ({"errorCode": "30007"}, "Failure code: 30007. Red Cloud said:"),
    ],
)
def test_the_command_names_a_code_where_there_is_one(
    run: Run, store_url: str, details: dict[str, str], told: str
) -> None:
    record(store_url, body("message.failed", sequence=2, **details))

    assert run("explain", "msg_1", LEDGER_DATABASE_URL=store_url).stdout.splitlines()[2] == f"  {told}"


def test_the_command_names_the_conversation_of_a_customer_s_message(run: Run, store_url: str) -> None:
    record(store_url, body("message.inbound", conversationId="conv_7", body="Hello"))

    assert "  Conversation: conv_7\n" in run("explain", "msg_1", LEDGER_DATABASE_URL=store_url).stdout


def test_holes_conflicts_and_repetitions_are_told(explained: Explained) -> None:
    found = explained(
        accepted(), queued(1), sent(4), failed(4, code="30008"), queued(1, providerMessageRef="SM1"), hours=5
    )

    assert found.remarks == (
        "Missing: sequence 2, 3 lie between others and have never come.",
        "Conflict: Red Cloud claimed sequence 4 as message.sent and as message.failed (code 30008). The first one recorded holds.",
        "Repeated: 1 of the events came with the kind and sequence of one before, in another body. The first one holds.",
    )
    assert "The missing webhooks will not come any more" in found.next_steps[1]


def test_a_failure_that_a_higher_sequence_superseded_is_told_with_its_reason_and_among_the_steps(
    explained: Explained,
) -> None:
    found = explained(accepted(), sent(2), failed(3, errorCode=30003), queued(2**63 - 1), inbound(), hours=0)

    assert found.message.status is Status.ACCEPTED
    assert found.remarks[1:] == (
        (
            "Superseded: Red Cloud reported message.failed at sequence 3 (code 30003), and message.queued at sequence"
            " 9223372036854775807, which holds as it is higher."
        ),
        (
            "Conflict: this was first heard of as an outbound message; event 5 (message.inbound) says otherwise, under the same"
            " messageId, and changed nothing."
        ),
    )
    assert [(step.status, step.at_us is not None, step.is_superseded, step.is_outstanding) for step in found.steps] == [
        (Status.ACCEPTED, True, False, False),
        (Status.SENT, True, True, False),
        (Status.FAILED, True, True, False),
        (Status.DELIVERED, False, False, True),
    ]
    assert found.next_steps[0] == (
        "Ask Red Cloud which is true: it reported that it failed, which should be the end, and message.queued at sequence"
        " 9223372036854775807 after it."
    )
    assert not any(step.startswith("Wait") for step in found.next_steps)
    assert "Ask Red Cloud which of the conflicting reports is true." in found.next_steps


def test_a_failure_after_a_confirmation_shows_both_and_warns_of_sending_twice(explained: Explained) -> None:
    found = explained(accepted(), delivered(3), failed(4, reason="no route"))

    assert [(step.status, step.is_superseded) for step in found.steps] == [
        (Status.ACCEPTED, False),
        (Status.DELIVERED, True),
        (Status.FAILED, False),
    ]
    assert found.next_steps[0] == "Before you send again, ask Red Cloud which is true: it confirmed the delivery, too."


def test_a_failure_and_a_confirmation_of_one_sequence_warn_of_sending_twice(explained: Explained) -> None:
    found = explained(accepted(), failed(3, errorCode=30003), delivered(3))

    assert found.message.status is Status.FAILED
    assert found.next_steps == (
        "Before you send again, ask Red Cloud which is true: it confirmed the delivery, too.",
        "Look up the code 30003 with Red Cloud; then correct the cause, and send a new message: this one is over.",
        "Ask Red Cloud which of the conflicting reports is true.",
    )


def test_a_failure_before_a_confirmation_is_told_though_it_came_too_late(explained: Explained) -> None:
    found = explained(accepted(), delivered(3), failed(2, reason="no route"))

    assert [(step.status, step.is_superseded) for step in found.steps][-2:] == [
        (Status.FAILED, True),
        (Status.DELIVERED, False),
    ]
    assert found.remarks == (
        (
            "Superseded: Red Cloud reported message.failed at sequence 2 (“no route”), and message.delivery at sequence 3,"
            " which holds as it is higher."
        ),
    )


def test_what_contradicts_a_customer_s_message_is_told(explained: Explained) -> None:
    found = explained(inbound(), sent(2), inbound(text="Another"))

    assert found.remarks == (
        (
            "Conflict: this was first heard of as a message from a customer; event 2 (message.sent) says otherwise, under the"
            " same messageId, and changed nothing."
        ),
        (
            "Conflict: event 3 (message.inbound) says something else under the same messageId. The first one recorded holds, and"
            " no conversation shows another."
        ),
    )
    assert [each.remark for each in found.happenings] == [
        "created: received",
        "changed nothing: it contradicts what the message was when it was first heard of",
        "changed nothing: it had come before, in another body, and the first one holds",
    ]


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


def test_a_message_of_which_nothing_has_come_is_called_stuck_as_soon_as_it_is_counted_so(explained: Explained) -> None:
    told = "It is stuck: the last word is 1 hour old. Look whether Red Cloud's deliveries reach this ledger (docs/RUNBOOK.md)"
    assert explained(accepted(), hours=1).next_steps[0].startswith(told)


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


def test_a_promise_is_told_with_when_each_step_became_true(explained: Explained) -> None:
    found = explained(accepted(), queued(1, occurredAt="2024-11-23T16:00:02.5Z"), sent(2), hours=3)

    assert found.promise == Promise(NOW_US, "QUEUED", "idem_1", waiting_us=3 * HOUR_US)
    assert [(step.status, step.at_us, step.after_us) for step in found.steps] == [
        (Status.ACCEPTED, NOW_US + 2_500_000, 2_500_000),
        (Status.SENT, NOW_US, 0),
        (Status.DELIVERED, None, None),
    ]
    assert [(step.is_told_time, step.is_now, step.is_outstanding) for step in found.steps] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]


def test_a_promise_waits_for_nothing_once_there_is_an_end(explained: Explained) -> None:
    found = explained(accepted(), delivered(3), hours=3)

    assert found.promise is not None
    assert found.promise.waiting_us is None
    assert [(step.status, step.at_us, step.is_outstanding) for step in found.steps] == [
        (Status.ACCEPTED, None, False),
        (Status.SENT, None, False),
        (Status.DELIVERED, NOW_US, False),
    ]


def test_what_is_told_of_a_time_before_the_promise_took_no_time(explained: Explained) -> None:
    found = explained(queued(1, occurredAt="2024-11-23T15:00:00Z"), accepted())

    assert (found.steps[0].at_us, found.steps[0].after_us) == (NOW_US - HOUR_US, None)


def test_a_failure_without_a_sending_has_two_steps_and_an_inbound_message_none(explained: Explained) -> None:
    assert [step.status for step in explained(queued(1), failed(2)).steps] == [Status.ACCEPTED, Status.FAILED]


def test_where_nobody_handed_the_request_over_nothing_is_promised(explained: Explained) -> None:
    found = explained(queued(1))

    assert found.promise is None
    assert [step.is_outstanding for step in found.steps] == [False, True, True]


def test_a_customer_s_message_was_promised_by_nobody(explained: Explained) -> None:
    found = explained(inbound())

    assert (found.promise, found.steps) == (None, ())


def test_the_command_prints_it_and_gives_json(run: Run, store_url: str) -> None:
    record(store_url, body("message.queued", sequence=1), body("message.failed", sequence=2, reason="no route"))

    ended = run("explain", "msg_1", LEDGER_DATABASE_URL=store_url)
    as_json = run("explain", "msg_1", "--json", LEDGER_DATABASE_URL=store_url).json
    missing = run("explain", "msg_2", LEDGER_DATABASE_URL=store_url)

    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith("msg_1  failed\n  Red Cloud gave up on it.")
    assert "Failure: no route." in ended.stdout
    assert "  16:00:01.000  Red Cloud gave up on it. (applied: failed)\n" in ended.stdout
    assert (as_json["status"], as_json["failure"]) == ("failed", {"reason": "no route"})
    assert as_json["events"][0]["what"] == "Red Cloud took it into its queue."
    assert (missing.status, missing.stdout) == (1, "")
    assert "promised: not known here" in ended.stdout
    assert "2024-11-23 16:00:00.000  accepted (as received)\n" in ended.stdout
    assert as_json["promise"] is None
    assert as_json["steps"][1] == {
        "status": "failed",
        "at": "2024-11-23T16:00:01.000000Z",
        "isTimeOfRedCloud": False,
        "secondsAfterPromise": None,
        "isOutstanding": False,
        "isSuperseded": False,
    }


def test_the_command_says_of_a_step_that_it_lies_before_the_recording_of_the_promise(run: Run, tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        commit_each(ledger, facts([queued(1, occurredAt="2024-11-23T15:00:00Z"), accepted()]))

    assert "  accepted, before the promise was recorded (as Red Cloud told)\n" in run("explain", "msg_1").stdout


def test_the_command_tells_what_was_promised_and_is_outstanding(run: Run, tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        commit_each(ledger, facts([accepted(), sent(2)]))

    ended = run("explain", "msg_1")
    as_json = run("explain", "msg_1", "--json").json

    promised = ended.stdout.partition("What was promised, and when it became true (UTC)\n")[2].splitlines()[:4]
    assert promised[0].endswith("promised: Red Cloud answered QUEUED to the request idem_1")
    assert promised[1].strip() == "accepted: never heard of"
    assert promised[2].endswith("  sent, 0.0 s after the promise was recorded (as received)")
    assert "\n  To: +15551234567\n" in ended.stdout
    assert (as_json["from"], as_json["to"]) == (None, "+15551234567")
    assert re.fullmatch("delivered: outstanding for [0-9]+ days", promised[3].strip())
    assert (as_json["promise"]["answer"], as_json["promise"]["idempotencyKey"]) == ("QUEUED", "idem_1")
    assert as_json["promise"]["outstandingSeconds"] > 0


@pytest.mark.parametrize("came_as_meant", [True, False])
def test_the_command_says_why_the_times_of_the_steps_are_not_in_order(
    run: Run,
    store_url: str,
    came_as_meant: bool,  # noqa: FBT001 - both ways
) -> None:
    steps = [body("message.sent", sequence=2), body("message.failed", sequence=3)]
    record(store_url, *(steps if came_as_meant else reversed(steps)))

    told = run("explain", "msg_1", LEDGER_DATABASE_URL=store_url).stdout

    assert ("  The steps stand in the order that was meant, whatever their times say" in told) == (not came_as_meant)


def test_the_command_marks_a_step_that_does_not_hold_any_more(run: Run, store_url: str) -> None:
    record(store_url, body("message.failed", sequence=3, reason="no route"), body("message.queued", sequence=4))

    told = run("explain", "msg_1", LEDGER_DATABASE_URL=store_url).stdout

    assert "  failed (as received); superseded by a higher sequence\n" in told
    assert "those that are superseded were told, and do not hold any more" in told


def test_a_message_with_an_event_that_cannot_be_read_is_told_without_it_and_says_so(run: Run, store_url: str) -> None:
    record(store_url, body("message.queued", "msg_1", sequence=1))
    with Ledger.open_existing(store_url) as ledger:
        append_unreadable(ledger, "msg_1", version=2)
        append_unreadable(ledger, "msg_2", version=1)
    record(store_url, body("message.delivery", "msg_1", sequence=3))

    told = run("explain", "msg_1", LEDGER_DATABASE_URL=store_url)
    shown = run("explain", "msg_1", "--json", LEDGER_DATABASE_URL=store_url).json
    unknown_whole = run("explain", "msg_2", LEDGER_DATABASE_URL=store_url)

    caution = (
        "The event at 0-2 cannot be read: a newer version wrote it (upgrade), or its row is damaged (ledger verify)."
        " All of this is told without it."
    )
    assert (told.status, shown["status"], shown["caution"]) == (0, "delivered", caution)
    assert told.stdout.splitlines()[:2] == ["msg_1  delivered", f"  {caution}"]
    assert [each["effect"] for each in shown["events"]] == ["applied", "unreadable", "applied"]
    assert shown["remarks"][:2] == [
        "Behind: GET /messages, ledger status and lists are without the event at 0-2 and all after it.",
        "Missing: sequence 2 lies between others and was never read.",
    ]
    assert shown["nextSteps"] == [
        f"Tell the operator of this ledger that the event at 0-2 cannot be read: {WHY_UNREADABLE}."
    ]
    assert "Something was recorded, and stored as 'message.of-the-future'." in told.stdout
    assert (unknown_whole.status, unknown_whole.stdout.splitlines()[0]) == (0, "msg_2  unknown")
