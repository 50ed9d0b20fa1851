"""Finding what one has no messageId of, and what is stuck or lost: `ledger messages`, `ledger stuck`, and hints elsewhere."""

import re
import time
from contextlib import closing
from pathlib import Path

import pytest

from api.phones import phone_in
from ledger.audit.entries import AuditEntry
from ledger.audit.trail import AuditTrail
from ledger.ledger import Ledger
from ledger.reception import Reception
from ledger.sends import parse_send, send_of
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.message_status import MESSAGE_STATUS
from projections.read_models import ReadModels
from tests.builders import NOW_US, SECRET, accepted, body, commit_each, facts, send_body, signed_headers
from tests.command_line.conftest import Run, in_a_terminal, record
from tests.new_ledgers import new_ledger

LONG_ID = "msg_01JD8ZQ4X7K3M5N9P2R6T8V0WY"
MINUTE_US = 60_000_000
SENT = body("message.sent", "msg_1", sequence=2, externalReference="order 789", providerMessageRef="SM9")
INBOUND = body(
    "message.inbound",
    "in_1",
    conversationId="conv_1",
    numberId="num_1",
    **{"from": "+15557654321", "to": "+15551234567"},
)


def receive(url: str, minutes_ago: int, *bodies: bytes) -> None:
    """Receive bodies some time ago, and project them."""
    now_us = time.time_ns() // 1_000 - minutes_ago * MINUTE_US
    new_ledger(url)
    with Ledger.open(url) as ledger, ReadModels.open(ledger) as read_models:
        reception = Reception([SECRET], ledger.partitions)
        for raw in bodies:
            ledger.commit([reception.receive(signed_headers(raw), raw, now_us=now_us)])
        read_models.catch_up()


@pytest.fixture
def url(store_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LEDGER_DATABASE_URL", store_url)
    return store_url


@pytest.fixture(scope="module")
def of_two_messages(shared_store_url: str) -> str:
    """A ledger that holds two messages, for whoever only looks."""
    receive(shared_store_url, 0, SENT, INBOUND)
    return shared_store_url


@pytest.mark.parametrize(
    "known, told",
    [
        ("order 789", "as an external reference it names 1 message: ledger messages --reference 'order 789'"),
        ("SM9", "as Red Cloud's own reference it names 1 message: ledger messages --provider-reference SM9"),
        ("(1) 555 765-4321", "as a number it names 1 message: ledger messages --phone +15557654321"),
        ("conv_1", "it is a conversation: ledger conversation conv_1"),
    ],
)
def test_what_is_no_message_id_is_told_what_it_is(run: Run, of_two_messages: str, known: str, told: str) -> None:
    for command in ("status", "explain", "history"):
        ended = run(command, known, LEDGER_DATABASE_URL=of_two_messages)

        assert (ended.status, ended.stdout) == (1, "")
        assert ended.stderr.endswith(f"; {told}\n"), ended.stderr
        assert len(ended.stderr.splitlines()) == 1


def test_an_idempotency_key_is_told_with_the_messages_of_its_send(run: Run, url: str) -> None:
    receive(url, 0)
    with Ledger.open(url) as ledger:
        raw = send_body(["msg_1", "msg_2", "msg_3", "msg_4"], "order-7")
        ledger.commit([send_of(parse_send(raw), raw, partitions=ledger.partitions, now_us=1)])

    told = "it is the idempotency key of a request to send 4 messages: msg_1, msg_2, msg_3, …: ledger messages --send order-7"
    assert run("explain", "order-7").stderr.endswith(f"; {told}\n")


def test_which_messages_of_a_request_failed_and_why(run: Run, url: str) -> None:
    failed = [
        body("message.failed", f"msg_{number}", sequence=3, errorCode=code)
        for number, code in ((2, "30007"), (3, "30008"))
    ]
    receive(url, 0, body("message.sent", "msg_1", sequence=2), *failed, body("message.failed", "other", sequence=1))
    raw = send_body(["msg_1", "msg_3", "msg_2", "msg_4"], "order-7")
    with Ledger.open(url) as ledger:
        ledger.commit([send_of(parse_send(raw), raw, partitions=ledger.partitions, now_us=1)])

    def listed(*options: str) -> list[str]:
        ended = run("messages", "--send", "order-7", *options, "--json")
        assert ended.status == 0
        return [each["messageId"] for each in ended.json["items"]]

    assert listed() == ["msg_1", "msg_3", "msg_2"]
    assert listed("--status", "failed") == ["msg_3", "msg_2"]
    assert listed("--status", "failed", "--failure-code", "30007") == ["msg_2"]
    assert listed("--limit", "1") == ["msg_1"]
    refused = run("messages", "--send", "order-7", "--phone", "+15551234567")
    unknown = run("messages", "--send", "order-8")
    assert (refused.status, refused.stderr) == (2, "ledger: --send: goes with --status and --failure-code alone\n")
    assert (unknown.status, unknown.stdout) == (1, "")


def test_what_nothing_is_known_of_is_told_as_that_alone(run: Run, url: str) -> None:
    receive(url, 0, SENT)

    assert run("explain", "msg_2").stderr == "ledger: the ledger holds nothing of message 'msg_2'\n"


@pytest.mark.parametrize(
    "option, found",
    [
        (["--reference", "order 789"], ["msg_1"]),
        (["--provider-reference", "SM9"], ["msg_1"]),
        (["--phone", "+15557654321"], ["in_1"]),
        (["--phone", "1 (555) 765-4321"], ["in_1"]),
        (["--direction", "inbound"], ["in_1"]),
        (["--direction", "outbound"], ["msg_1"]),
        (["--number", "num_1"], ["in_1"]),
        (["--status", "failed"], []),
        (["--status", "sent", "--updated-after", "2020-01-01T00:00:00Z"], ["msg_1"]),
        (["--updated-after", "2120-01-01T00:00:00Z"], []),
        (["--updated-before", "2020-01-01T00:00:00+01:00"], []),
    ],
)
def test_messages_are_found_by_what_one_has(
    run: Run, of_two_messages: str, option: list[str], found: list[str]
) -> None:
    listed = run("messages", *option, LEDGER_DATABASE_URL=of_two_messages)

    assert [line[0] for line in listed.lines] == found


@pytest.mark.parametrize("option", ["--updated-after", "--updated-before"])
def test_what_is_no_time_is_refused(run: Run, of_two_messages: str, option: str) -> None:
    ended = run("messages", option, "yesterday", LEDGER_DATABASE_URL=of_two_messages)

    expected = f"ledger: {option}: expected a time with its zone such as 2026-11-23T16:00:00Z, got 'yesterday'\n"
    assert (ended.status, ended.stdout, ended.stderr) == (2, "", expected)


def test_a_page_is_gone_on_with(run: Run, of_two_messages: str) -> None:
    first = run("messages", "--limit", "1", "--json", LEDGER_DATABASE_URL=of_two_messages)
    second = run(
        "messages", "--limit", "1", "--cursor", first.json["next"], "--json", LEDGER_DATABASE_URL=of_two_messages
    )

    pages = [[item["messageId"] for item in each.json["items"]] for each in (first, second)]
    assert sorted(pages) == [["in_1"], ["msg_1"]]
    assert second.json["next"] is None
    for command in ("messages", "conversations"):
        refused = run(command, "--cursor", "msg_1", LEDGER_DATABASE_URL=of_two_messages)
        assert (refused.status, refused.stdout) == (2, "")
        assert "cursor" in refused.stderr
    assert "--cursor" in run("messages", "--stuck", "--cursor", "x", LEDGER_DATABASE_URL=of_two_messages).stderr


def test_conversations_are_found_by_a_number_as_it_is_typed(run: Run, of_two_messages: str) -> None:
    listed = run("conversations", "--participant", "1 555 765 4321", LEDGER_DATABASE_URL=of_two_messages)

    assert [line[0] for line in listed.lines] == ["conv_1"]


def test_nothing_is_stuck_or_lost(run: Run, url: str) -> None:
    receive(url, 89, SENT)

    ended = run("stuck")

    assert (ended.status, {line[0] for line in ended.lines}) == (0, {"0"})
    assert ended.stderr == "Nothing is stuck or lost.\n"


def test_what_waits_too_long_is_stuck(run: Run, url: str) -> None:
    receive(url, 91, SENT, body("message.queued", "msg_2", sequence=1), body("message.queued", "msg_3", sequence=1))

    ended, as_json = run("stuck"), run("stuck", "--json")

    assert (ended.status, as_json.status, ended.stderr) == (1, 1, "")
    assert ["2", "messages accepted for more than 90 min", "ledger messages --stuck --status accepted"] in ended.lines
    assert as_json.json["stuck"] == [
        {"status": "submitted", "messages": 0, "olderThanSeconds": 900},
        {"status": "accepted", "messages": 2, "olderThanSeconds": 5_400},
        {"status": "sent", "messages": 1, "olderThanSeconds": 5_400},
    ]


def test_what_is_dated_after_now_never_waits_too_long_and_is_told_by_itself(run: Run, url: str) -> None:
    receive(url, -24 * 60, SENT)

    ended, as_json = run("stuck"), run("stuck", "--json")

    assert (ended.status, ended.stderr, as_json.json["datedAhead"]) == (1, "", 1)
    (line,) = (each for each in ended.lines if "dated after now" in each[1])
    assert line[0] == "1"
    found = run(*line[2].split()[1:], "--json").json
    assert [each["messageId"] for each in found["items"]] == ["msg_1"]


def test_of_all_that_is_stuck_the_newest_update_comes_first(run: Run, url: str) -> None:
    receive(url, 3 * 24 * 60, body("message.queued", "msg_old", sequence=1))
    receive(url, 95, body("message.sent", "msg_newest", sequence=2))
    receive(url, 100, body("message.queued", "msg_newer", sequence=1))

    listed, two = run("messages", "--stuck", "--json").json, run("messages", "--stuck", "--limit", "2", "--json").json

    assert [each["messageId"] for each in listed["items"]] == ["msg_newest", "msg_newer", "msg_old"]
    assert [each["messageId"] for each in two["items"]] == ["msg_newest", "msg_newer"]
    assert (listed["hasMore"], two["hasMore"]) == (False, True)
    assert two["next"] is None


def test_what_could_not_be_read_may_be_lost(run: Run, url: str) -> None:
    receive(url, 0, b"?")
    receive(url, 25 * 60, b"!")

    ended, as_json = run("stuck"), run("stuck", "--json").json

    assert (ended.status, as_json["quarantined"], as_json["quarantinedSinceYesterday"]) == (1, 2, 1)
    told = "deliveries that could not be read, 1 of them in the last 24 hours"
    assert ["2", told, "ledger quarantine list"] in ended.lines


def test_what_could_not_be_read_long_ago_is_told_and_alarms_nobody_every_hour(run: Run, url: str) -> None:
    receive(url, 25 * 60, b"!")

    ended = run("stuck")

    told = "deliveries that could not be read, 0 of them in the last 24 hours"
    assert ["1", told, "ledger quarantine list"] in ended.lines
    assert ended.stderr == "Nothing is stuck or lost. What could not be read before the last 24 hours is kept: 1.\n"
    assert (ended.status, run("stuck", "--json").status) == (0, 0)


def test_what_nobody_projects_may_be_further_on(run: Run, url: str) -> None:
    receive(url, 0, SENT)
    record(url, body("message.delivery", "msg_1", sequence=3))

    ended = run("stuck")

    assert (ended.status, [each["lagEvents"] for each in run("stuck", "--json").json["projections"]]) == (1, [1, 1])
    behind = [
        f"{name} is 1 event behind the log, and nobody projects: start `ledger serve`"
        for name in (MESSAGE_STATUS, INBOUND_CONVERSATIONS)
    ]
    assert ended.stderr.splitlines() == [f"Messages may be further on than this says: {each}" for each in behind]


@pytest.mark.parametrize(
    "typed, number",
    [
        ("+15551234567", "+15551234567"),
        ("1 (555) 123-4567", "+15551234567"),
        ("(1) 555.123.4567", "+15551234567"),
        ("+1\u00a0555\u2011123\u20134567", "+15551234567"),
        ("order_789", None),
        ("12", None),
        ("１５５５１２３", None),
        ("+1555123456789012345678901234567890", None),
    ],
)
def test_a_number_is_read_however_it_is_set_apart(typed: str, number: str | None) -> None:
    assert phone_in(typed) == number


def test_no_command_is_cut_in_two_in_a_terminal_of_80_columns(tmp_path: Path) -> None:
    record(f"sqlite:///{tmp_path}/ledger.db", body("message.sent", "msg_1", sequence=2))

    shown = in_a_terminal(tmp_path, "stuck", columns=80)

    assert "ledger messages --stuck --status submitted" in shown
    assert shown.count("ledger projections") == 4


def test_a_refusal_never_looks_like_something_that_was_done_in_a_terminal_of_80_columns(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger, closing(AuditTrail.open(ledger)) as trail:
        trail.append([AuditEntry(NOW_US, "support", "http", "read-message", LONG_ID, {"asOf": "0-1"}, "forbidden")])

    shown = in_a_terminal(tmp_path, "audit", columns=80)

    assert ("read-message:" in shown, "forbidden" in shown, LONG_ID in shown) == (True, True, True)


@pytest.mark.parametrize(
    "arguments, whole",
    [
        (["messages"], [LONG_ID, "failed", "order_789012", "+15551234567"]),
        (["history", LONG_ID], [LONG_ID, "0-1", "request.accepted", "superseded", "2024-11-23 16:00:01.000"]),
        (["audit"], [LONG_ID, "read-history"]),
    ],
)
def test_no_id_and_no_number_is_cut_in_two_in_a_terminal_of_80_columns(
    tmp_path: Path, arguments: list[str], whole: list[str]
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger.open(url) as ledger:
        commit_each(ledger, facts([accepted(LONG_ID, reference="order_789012")]))
    failure = body("message.failed", LONG_ID, sequence=3, reason="Unknown destination handset")
    record(url, failure, body("message.sent", LONG_ID, sequence=2))
    with Ledger.open(url) as ledger, ReadModels.open(ledger) as read_models:
        read_models.catch_up()
    in_a_terminal(tmp_path, "history", LONG_ID)

    shown = in_a_terminal(tmp_path, *arguments, columns=80)

    assert [each for each in whole if each not in shown] == []
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in shown.split("\r\n")) <= 80
    assert "Too narrow for: " in shown


def test_failures_keep_their_code_in_a_terminal_of_80_columns_rather_than_what_was_asked_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger.open(url) as ledger:
        commit_each(ledger, facts([accepted(LONG_ID, reference="order_789012")]))
    record(url, body("message.failed", LONG_ID, sequence=3, reason="Unknown destination handset"))
    with Ledger.open(url) as ledger, ReadModels.open(ledger) as read_models:
        read_models.catch_up()

    shown = in_a_terminal(tmp_path, "messages", "--status", "failed", "--reference", "order_789012", columns=80)

    assert [each for each in (LONG_ID, "Unknown destination handset") if each not in shown] == []
    assert "Too narrow for: status, reference" in shown


def test_what_was_asked_for_is_shown_where_there_is_room(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, body("message.failed", "msg_1", sequence=3, reason="Blocked"))
    with Ledger.open(url) as ledger, ReadModels.open(ledger) as read_models:
        read_models.catch_up()

    shown = in_a_terminal(tmp_path, "messages", "--status", "failed", columns=80)

    assert [each for each in ("msg_1", "failed", "Blocked") if each not in shown] == []
    assert "Too narrow for" not in shown
