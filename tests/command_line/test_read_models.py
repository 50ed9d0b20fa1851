"""`ledger status`, `conversation`, `projections`, `rebuild`: the read models, beside a server or without one."""

import re
from contextlib import closing
from pathlib import Path
from subprocess import PIPE

import pytest

from api.command_line.opening import how_far_behind
from ledger.ledger import Ledger
from projections.errors import RebuildPaused
from projections.health import LIVE, STOPPED
from projections.heartbeats import Seen
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.message_status import MESSAGE_STATUS
from projections.read_models import ReadModels
from tests import forks
from tests.builders import append_unreadable, body
from tests.command_line.conftest import Run, in_a_terminal, record
from tests.damaging import BODIES, damage

QUEUED = body("message.queued", sequence=1, externalReference="order_789")
FAILED = body("message.failed", sequence=3, errorCode=30003, failure={"permanent": True})
PARTIES = {"conversationId": "conv_1", "numberId": "num_abc123", "from": "+15557654321", "to": "+15551234567"}
FIRST = body("message.inbound", "in_1", body="Where is my order?", occurredAt="2024-11-23T15:00:00Z", **PARTIES)
SECOND = body("message.inbound", "in_2", body="\x1b[2J", media=["https://x.example/1.jpg"], **PARTIES)
NAMES = [MESSAGE_STATUS, INBOUND_CONVERSATIONS]


def project(url: str) -> None:
    """Bring the read models up to date, as a server would."""
    with Ledger.open(url) as ledger, closing(ReadModels.open(ledger)) as read_models:
        read_models.catch_up()


@pytest.fixture(scope="module")
def projected_url(shared_store_url: str) -> str:
    """A ledger with one message, for orders that change nothing."""
    record(shared_store_url, QUEUED)
    project(shared_store_url)
    return shared_store_url


def test_a_status_is_what_the_read_model_says(run: Run, store_url: str) -> None:
    record(store_url, QUEUED, FAILED)
    project(store_url)

    ended = run("status", "msg_1", LEDGER_DATABASE_URL=store_url)
    as_json = run("status", "msg_1", "--json", LEDGER_DATABASE_URL=store_url).json

    assert (ended.status, ended.stderr) == (0, "")
    assert {
        ("status", "failed"),
        ("failureCode", "30003"),
        ("failure.failure.permanent", "true"),
        ("missingSequences", "[2]"),
        ("providerMessageRef", ""),
    } <= {tuple(line.split("\t")) for line in ended.stdout.splitlines()}
    assert (as_json["status"], as_json["failure"]) == ("failed", {"errorCode": 30003, "failure": {"permanent": True}})


def test_a_status_as_of_then_is_folded_from_the_log(run: Run, store_url: str) -> None:
    record(store_url, QUEUED, FAILED)

    by_position = run("status", "msg_1", "--as-of", "0-1", "--json", LEDGER_DATABASE_URL=store_url).json
    by_time = run("status", "msg_1", "--as-of", "2024-11-23T16:00:00.5Z", "--json", LEDGER_DATABASE_URL=store_url).json
    before = run("status", "msg_1", "--as-of", "2020-01-01T00:00:00Z", LEDGER_DATABASE_URL=store_url)
    nonsense = run("status", "msg_1", "--as-of", "yesterday", LEDGER_DATABASE_URL=store_url)
    elsewhere = run("status", "msg_1", "--as-of", "7-1", LEDGER_DATABASE_URL=store_url)

    assert by_position == by_time
    assert by_position["status"] == "accepted"
    assert (before.status, before.stdout) == (1, "")
    assert (nonsense.status, elsewhere.status) == (2, 2)
    assert nonsense.stderr.startswith("ledger: --as-of: expected a time with its zone")


def test_a_list_from_a_read_model_that_is_behind_says_so_and_a_status_is_from_the_log(run: Run, store_url: str) -> None:
    record(store_url, QUEUED)
    project(store_url)
    record(store_url, FAILED)

    status = run("status", "msg_1", "--json", LEDGER_DATABASE_URL=store_url)
    ended = run("messages", "--json", LEDGER_DATABASE_URL=store_url)

    assert (status.json["status"], status.stderr) == ("failed", "")
    assert [each["status"] for each in ended.json["items"]] == ["accepted"]
    assert ended.stderr == "message-status is 1 event behind the log, and nobody projects: start `ledger serve`\n"


def test_who_projected_last_is_named_where_nobody_does_any_more(projected_url: str) -> None:
    with Ledger.open(projected_url) as ledger, closing(ReadModels.open(ledger)) as read_models:
        status = read_models.projection_status(MESSAGE_STATUS)
    status = status._replace(state=STOPPED, lag_events=1, runner=Seen("app-1:4711", 61.0))

    assert how_far_behind(status) == (
        "message-status is 1 event behind the log, and nobody has projected for 1 min, the last was process 4711 on app-1:"
        " start `ledger serve`, or see whether that process stands still"
    )


def test_one_that_catches_up_is_not_said_to_be_left_alone(projected_url: str) -> None:
    with Ledger.open(projected_url) as ledger, closing(ReadModels.open(ledger)) as read_models:
        status = read_models.projection_status(MESSAGE_STATUS)._replace(state=LIVE, lag_events=12_345)

    assert how_far_behind(status) == "message-status is 12,345 events behind the log, and catches up"


def test_a_status_that_an_event_is_missing_from_says_so_and_where_to_look(run: Run, store_url: str) -> None:
    record(store_url, QUEUED)
    with Ledger.open_existing(store_url) as ledger:
        append_unreadable(ledger, "msg_1", version=2)
    project(store_url)

    ended = run("status", "msg_1", "--json", LEDGER_DATABASE_URL=store_url)

    assert (ended.status, ended.json["status"], ended.json["parkedFrom"]) == (0, "accepted", "0-2")
    assert ended.stderr == (
        "the event at 0-2 cannot be read, so this is the message as it was before it; `ledger history` shows all of them,"
        " and says what to do\n"
    )


def test_what_is_not_there_is_status_1(run: Run, store_url: str) -> None:
    record(store_url, QUEUED)
    project(store_url)

    for arguments in (
        ["status", "msg_2"],
        ["conversation", "conv_2"],
        ["rebuild", MESSAGE_STATUS, "--message", "msg_2"],
    ):
        ended = run(*arguments, LEDGER_DATABASE_URL=store_url)

        assert (ended.status, ended.stdout) == (1, "")
        assert len(ended.stderr.splitlines()) == 1


def test_a_conversation_is_what_a_customer_wrote_oldest_first(run: Run, store_url: str) -> None:
    record(store_url, SECOND, FIRST)
    project(store_url)

    ended = run("conversation", "conv_1", LEDGER_DATABASE_URL=store_url)
    as_json = run("conversation", "conv_1", "--json", LEDGER_DATABASE_URL=store_url).json

    assert [line[2:] for line in ended.lines] == [
        ["in_1", "+15557654321", "+15551234567", "Where is my order?", ""],
        ["in_2", "+15557654321", "+15551234567", "␛[2J", '["https://x.example/1.jpg"]'],
    ]
    assert (as_json["messageCount"], as_json["participants"]) == (2, ["+15551234567", "+15557654321"])
    assert [each["messageId"] for each in as_json["messages"]] == ["in_1", "in_2"]


def test_projections_are_listed(run: Run, store_url: str) -> None:
    record(store_url, QUEUED, FIRST)
    project(store_url)

    listed = run("projections", LEDGER_DATABASE_URL=store_url)
    as_json = run("projections", "--json", LEDGER_DATABASE_URL=store_url).json

    assert [(line[0], line[3], line[4], line[5], line[7]) for line in listed.lines] == [
        (name, "0-2", "0-2", "0", "0") for name in NAMES
    ]
    assert [each["name"] for each in as_json["items"]] == NAMES
    assert run("projections", "retry", MESSAGE_STATUS, "--json", LEDGER_DATABASE_URL=store_url).json == {
        "healed": 0,
        "parked": 0,
    }


def test_a_rebuild_gives_the_same_rows_and_says_so(run: Run, store_url: str) -> None:
    record(store_url, QUEUED, FAILED, FIRST)
    project(store_url)
    before = run("status", "msg_1", "--json", LEDGER_DATABASE_URL=store_url).json

    one = run("rebuild", MESSAGE_STATUS, LEDGER_DATABASE_URL=store_url)
    both = run("rebuild", "--json", LEDGER_DATABASE_URL=store_url)

    assert (one.status, one.stderr) == (0, "")
    assert one.stdout.startswith("message-status rebuilt from 3 events in ")
    assert "all 2 rows are as they were" in one.stdout
    assert [(each["name"], each["rowsDiffering"]) for each in both.json["items"]] == [(name, 0) for name in NAMES]
    assert run("status", "msg_1", "--json", LEDGER_DATABASE_URL=store_url).json == before
    assert run("rebuild", MESSAGE_STATUS, "--rollback", LEDGER_DATABASE_URL=store_url).status == 0
    assert run("status", "msg_1", "--json", LEDGER_DATABASE_URL=store_url).json == before


def test_a_rebuild_says_where_it_went_on_and_how_many_rows_are_as_they_were(run: Run, cut_off_url: str) -> None:
    resumed = run("rebuild", LEDGER_DATABASE_URL=cut_off_url)

    assert (resumed.status, resumed.stderr) == (0, "message-status: goes on where it was cut off, at 0 of 1 event\n")
    assert resumed.stdout.splitlines()[1::2] == ["  the one row is as it was", "  there were no rows to compare with"]


def test_a_rebuild_tells_which_rows_differed_and_that_this_is_no_failure(run: Run, store_url: str) -> None:
    record(store_url, QUEUED, FAILED, FIRST)
    project(store_url)
    with (
        Ledger.open(store_url) as ledger,
        closing(ReadModels.open(ledger)) as read_models,
        read_models.stores.rows.writing() as connection,
    ):
        connection.exec_driver_sql("UPDATE message_status_g1 SET status = 'sent' WHERE message_id = 'msg_1'")

    ended = run("rebuild", MESSAGE_STATUS, LEDGER_DATABASE_URL=store_url)

    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[1] == "  1 of 2 rows differed, and is now as the log says; for example"


def test_a_rebuild_says_what_it_had_to_park_and_what_to_do(run: Run, store_url: str) -> None:
    record(store_url, QUEUED)
    with Ledger.open_existing(store_url) as ledger:
        append_unreadable(ledger, "msg_1", version=2)
    project(store_url)

    ended = run("rebuild", MESSAGE_STATUS, "--json", LEDGER_DATABASE_URL=store_url)

    assert (ended.status, ended.json["items"][0]["parked"]) == (0, 1)
    assert ended.stderr.splitlines()[-1] == (
        "message-status: 1 event is parked: `ledger projections` says why,"
        " `ledger projections retry message-status` tries it again"
    )


def test_one_message_is_rebuilt_alone_in_each_read_model_that_has_a_row_of_it(run: Run, store_url: str) -> None:
    record(store_url, QUEUED, FIRST)
    project(store_url)

    told = [run("rebuild", "--message", each, LEDGER_DATABASE_URL=store_url) for each in ("msg_1", "in_1")]
    one = run("rebuild", MESSAGE_STATUS, "--message", "msg_1", "--json", LEDGER_DATABASE_URL=store_url)

    assert [(ended.status, ended.stdout.splitlines(), ended.stderr) for ended in told] == [
        (
            0,
            [
                "message-status: the row of msg_1 was right",
                "inbound-conversations: the row of msg_1 was not there, and is not now",
            ],
            "",
        ),
        (0, [f"{name}: the row of in_1 was right" for name in NAMES], ""),
    ]
    row = {"name": MESSAGE_STATUS, "messageId": "msg_1", "changed": False, "hasRow": True, "error": None}
    assert (one.status, one.json) == (0, {"items": [row]})


def test_a_message_with_an_event_that_cannot_be_read_keeps_its_row_and_the_event_is_named(
    run: Run, store_url: str
) -> None:
    record(store_url, QUEUED)
    with Ledger.open_existing(store_url) as ledger:
        append_unreadable(ledger, "msg_1", version=2)
    project(store_url)

    ended = run("rebuild", "--message", "msg_1", LEDGER_DATABASE_URL=store_url)
    as_json = run("rebuild", MESSAGE_STATUS, "--message", "msg_1", "--json", LEDGER_DATABASE_URL=store_url)

    assert (ended.status, as_json.status) == (1, 1)
    assert ended.stdout == "inbound-conversations: the row of msg_1 was not there, and is not now\n"
    told = ended.stderr.splitlines()[-1]
    assert told.startswith("message-status: the row of msg_1 stays as it was: the event at 0-2 cannot be read: unknown")
    assert ("`ledger history msg_1`" in told, "or its row is damaged (ledger verify)" in told) == (True, True)
    (item,) = as_json.json["items"]
    assert (item["changed"], item["hasRow"], item["error"][:15]) == (False, True, "the event at 0-")


@pytest.mark.parametrize(
    "arguments, status",
    [
        (["rebuild", "no-such"], 2),
        (["projections", "retry", "no-such"], 2),
        (["rebuild", "--rollback"], 2),
        (["rebuild", MESSAGE_STATUS, "--rollback", "--cancel"], 2),
        (["rebuild", MESSAGE_STATUS, "--rollback"], 1),
        (["rebuild", MESSAGE_STATUS, "--cancel"], 1),
    ],
)
def test_an_order_that_cannot_be_followed_is_refused(
    run: Run, projected_url: str, arguments: list[str], status: int
) -> None:
    ended = run(*arguments, LEDGER_DATABASE_URL=projected_url)

    assert ended.status == status


def test_a_second_rebuild_is_refused_while_one_runs(run: Run, store_url: str) -> None:
    record(store_url, QUEUED)
    with Ledger.open(store_url) as ledger, closing(ReadModels.open(ledger)) as read_models:
        read_models.claim_rebuild(MESSAGE_STATUS)

        ended = run("rebuild", MESSAGE_STATUS, LEDGER_DATABASE_URL=store_url)

    assert (ended.status, ended.stdout) == (1, "")
    assert len(ended.stderr.splitlines()) == 1


@pytest.fixture
def cut_off_url(run: Run, store_url: str) -> str:
    """A ledger whose read model was rebuilt once, and a second time not to its end."""
    record(store_url, QUEUED)
    project(store_url)
    assert run("rebuild", MESSAGE_STATUS, LEDGER_DATABASE_URL=store_url).status == 0
    with Ledger.open(store_url) as ledger, closing(ReadModels.open(ledger)) as read_models:
        rebuild = read_models.claim_rebuild(MESSAGE_STATUS)
        rebuild.pause()
        with pytest.raises(RebuildPaused):
            rebuild.run()
    return store_url


def test_a_rebuild_that_was_cut_off_is_listed_and_dropped_by_a_cancellation(run: Run, cut_off_url: str) -> None:
    listed = run("projections", LEDGER_DATABASE_URL=cut_off_url)
    dropped, nothing = (run("rebuild", MESSAGE_STATUS, "--cancel", LEDGER_DATABASE_URL=cut_off_url) for _ in range(2))

    assert [line[8] for line in listed.lines] == ["cut off at 0 of 1 event", ""]
    assert listed.stderr == (
        "The rebuild of message-status was cut off: `ledger rebuild message-status` goes on where it was,"
        " `ledger rebuild message-status --cancel` drops what it had built.\n"
    )
    told = "message-status: dropped what a cut-off rebuild had built; the live rows were never touched\n"
    assert (dropped.status, dropped.stdout) == (0, told)
    assert (nothing.status, nothing.stdout) == (1, "message-status: no rebuild runs, and none was cut off\n")
    assert run("projections", LEDGER_DATABASE_URL=cut_off_url).stderr == ""


def test_a_rollback_says_that_it_drops_what_a_cut_off_rebuild_had_built(run: Run, cut_off_url: str) -> None:
    ended = run("rebuild", MESSAGE_STATUS, "--rollback", LEDGER_DATABASE_URL=cut_off_url)

    assert (ended.status, ended.stderr) == (0, "message-status: dropped what a cut-off rebuild had built\n")
    assert run("rebuild", MESSAGE_STATUS, "--cancel", LEDGER_DATABASE_URL=cut_off_url).status == 1


def test_a_message_that_the_read_model_has_not_come_to_is_told(run: Run, store_url: str) -> None:
    record(store_url, QUEUED)

    ended = run("status", "msg_1", "--json", LEDGER_DATABASE_URL=store_url)

    assert (ended.status, ended.json["status"], ended.json["position"]) == (0, "accepted", "0-1")


@pytest.mark.parametrize("command", ["status", "explain"])
def test_no_word_of_a_failure_is_cut_off_in_a_terminal_of_80_columns(tmp_path: Path, command: str) -> None:
    code, address = "LONG_CODE_" * 12, f"https://status.example/{'incident' * 12}"
    record(f"sqlite:///{tmp_path / 'ledger.db'}", body("message.failed", sequence=2, errorCode=code, seeAlso=address))

    shown = in_a_terminal(tmp_path, command, "msg_1", columns=80)

    whole = re.sub(r"\x1b\[[0-9;]*m|\s", "", shown)
    assert "…" not in shown
    assert address in whole
    assert whole.count(code) == 2 + (command == "explain")


@pytest.mark.parametrize("when", ["tuesday", "2024-11-23T16:00:00", "2024-11-23 16:00"])
def test_a_moment_that_cannot_be_read_is_told_with_one_that_can(run: Run, store_url: str, when: str) -> None:
    record(store_url, body("message.sent", sequence=2))

    assert run("status", "msg_1", "--as-of", when, LEDGER_DATABASE_URL=store_url).stderr == (
        "ledger: --as-of: expected a time with its zone such as 2026-11-23T16:00:00Z, or a position such as 0-17,"
        f" got '{when}'\n"
    )


def test_in_a_terminal_a_status_and_a_conversation_are_for_people(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, QUEUED, FAILED, FIRST, SECOND)
    project(url)

    status = in_a_terminal(tmp_path, "status", "msg_1")
    conversation = in_a_terminal(tmp_path, "conversation", "conv_1")

    assert "Red Cloud gave up on it." in status
    assert "null" not in status
    assert "Where is my order?" in conversation
    assert "\x1b[2J" not in conversation


def test_projecting_once_brings_the_read_models_up_to_date(run: Run, store_url: str) -> None:
    record(store_url, QUEUED, FAILED)

    assert run("project", "--once", LEDGER_DATABASE_URL=store_url).status == 0
    assert run("status", "msg_1", "--json", LEDGER_DATABASE_URL=store_url).json["status"] == "failed"


def test_a_projecting_process_ends_in_order_on_sigterm(tmp_path: Path) -> None:
    record(f"sqlite:///{tmp_path}/ledger.db", QUEUED)
    with forks.start("project", folder=tmp_path, environment=forks.environment(), stderr=PIPE) as projecting:
        assert b"projecting" in projecting.stderr.readline()

        projecting.terminate()

        assert projecting.wait(timeout=20) == 0


def test_messages_are_found_without_their_id(run: Run, store_url: str) -> None:
    record(store_url, QUEUED, FAILED, FIRST)
    project(store_url)

    for arguments in (["--reference", "order_789"], ["--status", "failed"], ["--failure-code", "30003"]):
        listed = run("messages", *arguments, LEDGER_DATABASE_URL=store_url)

        assert listed.lines == [["msg_1", "failed", "2024-11-23 16:00:01", "order_789", "", "30003"]]
    by_phone = run("messages", "--phone", "+15557654321", "--json", LEDGER_DATABASE_URL=store_url).json
    assert [each["messageId"] for each in by_phone["items"]] == ["in_1"]
    assert run("messages", "--limit", "1", LEDGER_DATABASE_URL=store_url).stderr.startswith(
        "There are more than these 1"
    )
    assert run("messages", "--status", "lost", LEDGER_DATABASE_URL=store_url).status == 2


def test_what_is_stuck_is_listed_with_status_1(run: Run, store_url: str) -> None:
    record(store_url, QUEUED, FIRST)
    project(store_url)

    stuck = run("messages", "--stuck", LEDGER_DATABASE_URL=store_url)
    record(store_url, FAILED)
    project(store_url)
    none = run("messages", "--stuck", "--json", LEDGER_DATABASE_URL=store_url)

    assert (stuck.status, [line[0] for line in stuck.lines]) == (1, ["msg_1"])
    assert (none.status, none.json) == (0, {"items": [], "next": None, "hasMore": False})


def test_what_is_stuck_is_found_by_what_one_has_and_said_to_be_more_than_is_shown(run: Run, store_url: str) -> None:
    sent = [body("message.sent", f"msg_{number}", sequence=2) for number in (2, 3)]
    record(store_url, QUEUED, *sent)
    project(store_url)

    ours = run("messages", "--stuck", "--reference", "order_789", LEDGER_DATABASE_URL=store_url)
    assert ([line[0] for line in ours.lines], ours.stderr) == (["msg_1"], "")
    for how in ((), ("--json",), ("--status", "sent")):
        cut_off = run("messages", "--stuck", "--limit", "1", *how, LEDGER_DATABASE_URL=store_url)
        assert cut_off.stderr == "There are more than these 1; ask for more with --limit.\n"


def test_conversations_are_found_by_who_takes_part(run: Run, store_url: str) -> None:
    record(store_url, FIRST, SECOND)
    project(store_url)

    listed = run("conversations", "--participant", "+15557654321", LEDGER_DATABASE_URL=store_url)
    nobody = run("conversations", "--participant", "+1", "--json", LEDGER_DATABASE_URL=store_url)

    assert [(line[0], line[2], line[3]) for line in listed.lines] == [("conv_1", "2", "+15551234567 +15557654321")]
    assert nobody.json == {"items": [], "next": None}


@pytest.mark.parametrize("order", [["rebuild"], ["rebuild", MESSAGE_STATUS, "--message", "msg_130"]])
def test_a_rebuild_that_meets_damage_says_which_file_it_is_and_what_to_do(
    run: Run, tmp_path: Path, order: list[str]
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, *BODIES)
    project(url)
    damage(tmp_path / "ledger.db")

    refused = run(*order, LEDGER_DATABASE_URL=url)

    assert refused.status == 2
    assert (
        f"malformed; the damaged file is {tmp_path}/ledger.db; keep it, and restore" in refused.stderr.splitlines()[-1]
    )
    assert "should not happen" not in refused.stderr
