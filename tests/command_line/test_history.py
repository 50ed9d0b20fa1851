"""`ledger history` and `ledger tail`: what the log itself says."""

import hashlib
import json
from pathlib import Path
from subprocess import PIPE

from api.command_line.history import COLUMNS
from ledger.ledger import Ledger
from tests import forks
from tests.builders import NOW_US, append_unreadable, body, kept_unread
from tests.command_line.conftest import Run, in_a_terminal, record

QUEUED = body("message.queued", sequence=1)
FAILED = body("message.failed", sequence=3, errorCode=30003)
SENT = b'{ "eventType":"message.sent",\n "messageId":"msg_1", "sequence":2 }'


def test_a_history_is_every_event_in_the_order_of_recording(run: Run, store_url: str) -> None:
    record(store_url, QUEUED, FAILED, SENT)

    ended = run("history", "msg_1", LEDGER_DATABASE_URL=store_url)

    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.split("\n", 1)[0].split("\t")[: len(COLUMNS)] == list(COLUMNS)
    assert [line[: len(COLUMNS)] for line in ended.lines] == [
        ["1", "0-1", "message.queued", "1", "applied", "2024-11-23 16:00:00.000", "main", ""],
        ["2", "0-2", "message.failed", "3", "applied", "2024-11-23 16:00:01.000", "main", ""],
        ["3", "0-3", "message.sent", "2", "superseded", "2024-11-23 16:00:02.000", "main", ""],
    ]
    assert [line[len(COLUMNS)] for line in ended.lines] == [
        hashlib.sha256(each).hexdigest() for each in (QUEUED, FAILED, SENT)
    ]


def test_what_was_replayed_is_shown_with_when_it_was_received_and_when_it_was_recorded(
    run: Run, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED)
    with Ledger.open_existing(url) as ledger:
        ledger.commit([kept_unread(SENT)])
        ledger.replay_quarantine(now_us=NOW_US + 90_000_000)

    history = run("history", "msg_1", LEDGER_DATABASE_URL=url)
    as_json = run("history", "msg_1", "--json", LEDGER_DATABASE_URL=url).json["events"]
    tail = run("tail", "--no-follow", LEDGER_DATABASE_URL=url)
    explained = run("explain", "msg_1", LEDGER_DATABASE_URL=url)

    assert history.stdout.split("\n", 1)[0].split("\t")[-1] == "replayed (UTC)"
    assert [(line[5], line[-1]) for line in history.lines] == [
        ("2024-11-23 16:00:00.000", ""),
        ("2024-11-23 16:00:00.000", "2024-11-23 16:01:30.000"),
    ]
    assert [(each["receivedAt"], each.get("replayedAt")) for each in as_json] == [
        ("2024-11-23T16:00:00.000000Z", None),
        ("2024-11-23T16:00:00.000000Z", "2024-11-23T16:01:30.000000Z"),
    ]
    assert tail.stdout.splitlines()[1].split("\t")[0] == "2024-11-23 16:01:30.000"
    assert "  16:01:30.000  Red Cloud took it into its send path." in explained.stdout
    assert "Replayed: event 2 had been received before, and waited in quarantine" in explained.stdout
    assert "2024-11-23 16:01:30.000" in in_a_terminal(tmp_path, "history", "msg_1", columns=160)


def test_json_has_the_shape_of_http(run: Run, store_url: str) -> None:
    record(store_url, QUEUED, SENT)

    shown = run("history", "msg_1", "--json", LEDGER_DATABASE_URL=store_url).json

    assert (shown["messageId"], shown["next"]) == ("msg_1", None)
    second = shown["events"][1]
    assert second["body"] == {"eventType": "message.sent", "messageId": "msg_1", "sequence": 2}
    assert second["signature"] == {"timestamp": "1732377600", "secretId": "main", "verified": True}
    assert second.keys() == {
        *("version", "position", "eventType", "sequence", "effect", "late", "receivedAt", "occurredAt"),
        *("signature", "body", "bodySha256", "hash"),
    }


def test_a_history_of_long_bodies_is_shown_and_explained_to_its_end(run: Run, store_url: str) -> None:
    long = [body("message.sent", sequence=each, text="x" * 250_000) for each in range(1, 41)]
    record(store_url, *long, body("message.delivery", sequence=41))

    shown = run("history", "msg_1", "--json", LEDGER_DATABASE_URL=store_url).json
    explained = run("explain", "msg_1", "--json", LEDGER_DATABASE_URL=store_url).json

    assert [each["version"] for each in shown["events"]] == list(range(1, 42))
    assert (explained["status"], len(explained["events"])) == ("delivered", 41)


def test_the_exact_bytes_of_one_event_go_into_a_pipe(tmp_path: Path) -> None:
    record(f"sqlite:///{tmp_path}/ledger.db", QUEUED, SENT)

    ended = forks.run("history", "msg_1", "--body", "2", folder=tmp_path, environment=forks.environment())

    assert ended == (0, SENT, b"")


def test_what_is_not_there_is_status_1_with_one_line(run: Run, store_url: str) -> None:
    record(store_url, QUEUED)

    nobody = run("history", "msg_\x1b[2J2", LEDGER_DATABASE_URL=store_url)
    no_version = run("history", "msg_1", "--body", "7", LEDGER_DATABASE_URL=store_url)

    assert (nobody.status, nobody.stdout) == (1, "")
    assert nobody.stderr == "ledger: the ledger holds nothing of message 'msg_\\x1b[2J2'\n"
    assert (no_version.status, no_version.stderr) == (1, "ledger: message 'msg_1' has no event of version 7\n")


def test_a_ledger_that_is_not_there_is_not_made(run: Run, tmp_path: Path) -> None:
    ended = run("history", "msg_1")

    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"ledger: LEDGER_DATABASE_URL: there is no ledger in {tmp_path}/ledger.db;")
    assert list(tmp_path.iterdir()) == []


def test_no_control_character_of_a_message_reaches_a_terminal(tmp_path: Path) -> None:
    hostile = body("message.\x1b]0;owned\x07\u202e", "msg_\x1b[31m", text="\x9b2J")
    record(f"sqlite:///{tmp_path}/ledger.db", hostile)

    tail = in_a_terminal(tmp_path, "tail", "--no-follow")
    as_json = in_a_terminal(tmp_path, "history", "msg_\x1b[31m", "--json")

    assert "message.␛]0;owned␇<U+202E>" in tail
    for shown in (tail, as_json):
        assert not {"\x07", "\x9b", "\u202e"} & set(shown)
        assert "\x1b]0;" not in shown


def test_tail_ends_with_the_latest_events_and_goes_on_only_if_it_is_to(run: Run, store_url: str) -> None:
    record(store_url, QUEUED, SENT, FAILED)

    plain = run("tail", "--no-follow", "-n", "2", LEDGER_DATABASE_URL=store_url)
    as_json = run("tail", "--no-follow", "--json", LEDGER_DATABASE_URL=store_url)

    assert [line.split("\t")[1:] for line in plain.stdout.splitlines()] == [
        ["0-2", "message.sent", "2", "applied", "msg_1"],
        ["0-3", "message.failed", "3", "applied", "msg_1"],
    ]
    assert [json.loads(line)["position"] for line in as_json.stdout.splitlines()] == ["0-1", "0-2", "0-3"]


def test_tail_shows_an_event_that_is_recorded_while_it_runs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED)
    with forks.start("tail", "--json", folder=tmp_path, environment=forks.environment(), stdout=PIPE) as following:
        first = json.loads(following.stdout.readline())
        record(url, SENT)
        second = json.loads(following.stdout.readline())

    assert [first["version"], second["version"]] == [1, 2]


def test_a_body_with_a_lone_surrogate_is_shown_as_json_too(run: Run, store_url: str) -> None:
    record(store_url, b'{"eventType":"message.queued","messageId":"odd","sequence":1,"u":"\\ud800"}')

    (event,) = run("history", "odd", "--json", LEDGER_DATABASE_URL=store_url).json["events"]

    assert event["body"]["u"] == "\ud800"


def test_an_event_that_cannot_be_read_has_its_line(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED)
    with Ledger.open_existing(url) as ledger:
        append_unreadable(ledger, "msg_1", version=2)

    history = run("history", "msg_1", LEDGER_DATABASE_URL=url)
    tail = run("tail", "--no-follow", LEDGER_DATABASE_URL=url)

    unreadable = ["2", "0-2", "(message.of-the-future)", "", "unreadable", "", "", ""]
    assert (history.status, history.lines[1][: len(COLUMNS)]) == (0, unreadable)
    assert tail.stdout.splitlines()[1].split("\t")[1:] == ["0-2", "(message.of-the-future)", "", "unreadable", "msg_1"]
    assert "the event at 0-2 cannot be read" in tail.stderr
