"""`ledger serve`: starts in order or says in one line why not, and ends in order."""

import contextlib
import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE
from typing import Any

import httpx2
import pytest

from api.serving.one_server import claimed, refuse_network_file_system
from api.serving.server import DRAIN_S, listening
from ledger.errors import LedgerInUse, SettingRefused
from ledger.ledger import Ledger
from ledger.store.place import READ_MODELS, TRAIL
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.message_status import MESSAGE_STATUS
from projections.read_models import ReadModels
from projections.register import register_entry
from tests import forks
from tests.api.running import until
from tests.builders import body, signed_headers
from tests.command_line.conftest import Run, serving
from tests.damaging import damage_table
from tests.engines import PrivatePostgres
from tests.pages import ROOT, block
from tests.programs import FEW_OPEN_FILES
from tests.serving import Serving

PATIENCE_S = 10
LITTLE_PATIENCE = "tests.programs:main_with_little_patience"
PROJECTING_FAILS = "projecting fails with IntegrityError"
SECRETS = {"LEDGER_WEBHOOK_SECRETS": "main:secret"}

REFUSED = [
    ({}, "LEDGER_WEBHOOK_SECRETS: "),
    ({"LEDGER_WEBHOOK_SECRETS": "main:"}, "LEDGER_WEBHOOK_SECRETS: "),
    ({"LEDGER_WEBHOOK_SECRETS": "main:a,main:b"}, "LEDGER_WEBHOOK_SECRETS: "),
    ({**SECRETS, "LEDGER_ALLOW_UNSIGNED": "1"}, "LEDGER_ALLOW_UNSIGNED: "),
    ({**SECRETS, "LEDGER_ALLOW_UNSIGNED": "yes"}, "LEDGER_ALLOW_UNSIGNED: "),
    ({**SECRETS, "LEDGER_API_KEYS": "me:everything:k"}, "LEDGER_API_KEYS: "),
    ({**SECRETS, "LEDGER_PORT": "http"}, "LEDGER_PORT: "),
    ({**SECRETS, "LEDGER_PORT": "65536"}, "LEDGER_PORT: "),
    ({**SECRETS, "LEDGER_HOST": "no such host"}, "LEDGER_HOST: "),
    ({**SECRETS, "LEDGER_HOST": "192.0.2.1"}, "LEDGER_HOST, LEDGER_PORT: "),
    ({**SECRETS, "LEDGER_PARTITIONS": "0"}, "LEDGER_PARTITIONS: "),
    ({**SECRETS, "LEDGER_REPLAY_WINDOW_S": "-1"}, "LEDGER_REPLAY_WINDOW_S: "),
    ({**SECRETS, "LEDGER_LOG_LEVEL": "loud"}, "LEDGER_LOG_LEVEL: "),
    ({**SECRETS, "LEDGER_LOG_FORMAT": "xml"}, "LEDGER_LOG_FORMAT: "),
    ({**SECRETS, "LEDGER_ENV_FILE": "missing.env"}, "LEDGER_ENV_FILE: "),
    ({**SECRETS, "LEDGER_DATABASE_URL": "mysql://x/y"}, "LEDGER_DATABASE_URL: "),
    ({**SECRETS, "LEDGER_DATABASE_URL": "sqlite://"}, "LEDGER_DATABASE_URL: "),
    (
        {**SECRETS, "LEDGER_DATABASE_URL": "sqlite:////no/such/folder/ledger.db"},
        "LEDGER_DATABASE_URL: the folder /no/such/folder ",
    ),
    ({**SECRETS, "LEDGER_DATABASE_URL": "postgresql://u:pass@127.0.0.1:1/x"}, "LEDGER_DATABASE_URL: "),
]


@pytest.mark.parametrize("settings, named", REFUSED)
def test_a_setting_that_makes_no_sense_stops_the_start_with_one_line_that_names_it(
    run: Run, settings: dict[str, str], named: str
) -> None:
    ended = run("serve", **({"LEDGER_PORT": "0"} | settings))

    line = json.loads(ended.stderr.splitlines()[-1])
    assert (ended.status, ended.stdout) == (2, "")
    assert (line["level"], line["event"][: len(named)]) == ("critical", named)
    assert "pass" not in line["event"]


@pytest.mark.parametrize("command", ["serve", "project"])
def test_why_it_did_not_start_is_a_line_of_json_where_the_log_is_and_a_plain_one_for_people(
    run: Run, command: str
) -> None:
    nowhere = {**SECRETS, "LEDGER_DATABASE_URL": "mysql://x/y"}
    for_programs = run(command, **nowhere)
    traced = run(command, **nowhere, LEDGER_LOG_LEVEL="debug")
    for_people = run(command, **nowhere, LEDGER_LOG_FORMAT="text")

    line, with_traceback = json.loads(for_programs.stderr), json.loads(traced.stderr)
    assert for_people.stderr == f"ledger: {line['event']}\n"
    assert (for_programs.status, traced.status, for_people.status) == (2, 2, 2)
    assert (line["level"], with_traceback["event"], "traceback" in line) == ("critical", line["event"], False)
    assert any("SettingRefused" in each for each in with_traceback["traceback"])


def test_another_number_of_partitions_stops_the_start(run: Run) -> None:
    Ledger.open("sqlite:///ledger.db", partitions=2).close()

    ended = run("serve", **SECRETS, LEDGER_PARTITIONS="3", LEDGER_PORT="0")

    assert ended.status == 2
    assert "LEDGER_PARTITIONS is 3, but this ledger was created with 2" in ended.stderr


def test_a_database_that_is_not_sqlite_s_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"this is not a database, whatever its name says" * 100)

    ended = run("serve", **SECRETS, LEDGER_PORT="0")

    assert ended.status == 2
    assert "is not an SQLite database" in ended.stderr


def test_a_port_that_is_taken_is_refused_before_anything_starts(run: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run("serve", **SECRETS, LEDGER_PORT=str(taken.getsockname()[1]))

    assert ended.status == 2
    assert "Address already in use; stop what listens there" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_server_starts_answers_refuses_a_second_one_and_ends_in_order_on_sigterm(tmp_path: Path) -> None:
    fact = body("message.queued", "msg_1", sequence=1)
    headers = {name.decode(): value.decode() for name, value in signed_headers(fact)}
    with serving(tmp_path) as server:
        answer = httpx2.post(f"{server.url}/webhooks/red-cloud", content=fact, headers=headers, verify=False)
        second = forks.run("serve", folder=tmp_path, environment=forks.environment(**SECRETS, LEDGER_PORT="0"))
        streamed, following = [], threading.Event()

        def follow() -> None:
            with httpx2.stream("GET", f"{server.url}/feed/stream", verify=False) as stream:
                for line in stream.iter_lines():
                    streamed.append(line)
                    following.set()

        follower = threading.Thread(target=follow)
        follower.start()
        assert following.wait(10)
        status = server.stop()
        follower.join(10)

    assert answer.status_code == 202
    assert "server" not in answer.headers
    assert (second.returncode, second.stdout) == (2, b"")
    assert f"is held by process {server.process.pid} already" in second.stderr.decode().splitlines()[-1]
    assert status == 0
    assert not follower.is_alive()
    assert json.loads(server.log.read_text().splitlines()[-1])["event"].startswith("stopped")
    with Ledger.open_existing(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        assert [head.position for head in ledger.heads()] == [1]


def test_a_server_that_was_killed_leaves_its_ledger_to_the_next_one(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.process.kill()
        server.process.wait()
        with serving(tmp_path) as following:
            assert httpx2.get(f"{following.url}/readyz", verify=False).status_code == 200


@pytest.mark.parametrize("what", ["commits", "projects"])
def test_a_server_whose_worker_is_killed_ends_and_says_so(tmp_path: Path, what: str) -> None:
    with serving(tmp_path) as server:
        os.kill(server.writer_pid if what == "commits" else server.projector_pid, signal.SIGKILL)
        status = server.process.wait()

        said = server.said[-1]
        assert status == 2
        assert f"the process that {what} has ended" in said
        assert "Start it again" in said
    with serving(tmp_path) as following:
        assert httpx2.get(f"{following.url}/readyz", verify=False).status_code == 200


def test_a_server_of_two_partitions_ends_where_one_of_them_is_not_committed_for_any_more(tmp_path: Path) -> None:
    with serving(tmp_path, "tests.programs:main_with_a_thread_that_dies", LEDGER_PARTITIONS="2") as server:
        assert delivered(server, "msg_1") == 202

        assert server.process.wait(PATIENCE_S) == 2
        assert any("a thread that commits has died" in line for line in server.said)


def test_a_server_that_fails_at_its_start_ends_with_its_writer_and_leaves_its_ledger_to_the_next_one(
    tmp_path: Path,
) -> None:
    program = "from tests.programs import main_that_cannot_say_that_it_listens as main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", program, "serve"],
        env={**os.environ, **SECRETS, "LEDGER_DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db", "LEDGER_PORT": "0"},
        timeout=6 * PATIENCE_S,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert "nothing can be said" in ended.stderr
    with serving(tmp_path) as following:
        assert httpx2.get(f"{following.url}/readyz", verify=False).status_code == 200


def test_a_server_whose_projector_fails_says_with_what_until_it_succeeds(tmp_path: Path) -> None:
    with serving(tmp_path) as server, contextlib.closing(sqlite3.connect(tmp_path / f"ledger.db{READ_MODELS}")) as rows:
        rows.execute("CREATE TRIGGER refuse BEFORE UPDATE ON heartbeats BEGIN SELECT RAISE(FAIL, 'refused'); END")
        until(lambda: PROJECTING_FAILS in asked(server, "/readyz")["reasons"])
        rows.execute("DROP TRIGGER refuse")
        until(lambda: asked(server, "/readyz")["status"] == "ready")


def test_a_server_whose_read_models_are_deleted_takes_webhooks_and_names_the_file(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for file in tmp_path.glob(f"ledger.db{READ_MODELS}*"):
            file.unlink()
        gone = f"projecting fails with StoreUnavailable ({tmp_path}/ledger.db{READ_MODELS} is gone, or is another file"
        until(lambda: any(gone in reason for reason in asked(server, "/readyz")["reasons"]))

        assert delivered(server, "msg_1") == 202
    assert any("projecting failed" in line and "put it back, or restart" in line for line in server.said)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux shows the files of a process")
def test_a_ledger_that_was_deleted_is_copied_from_its_server_which_never_says_that_all_is_on_disk(
    tmp_path: Path,
) -> None:
    def done(script: str) -> str:
        script = script.replace("ledger verify", f"{sys.executable} -m api.command_line verify")
        environment = forks.environment(LEDGER_DATABASE_URL=f"sqlite:///{tmp_path}/ledger.db", PYTHONPATH=str(ROOT))
        ended = subprocess.run(
            ["bash", "-ec", script], cwd=tmp_path, env=environment, check=True, stdout=PIPE, text=True
        )
        return ended.stdout

    with serving(tmp_path) as server:
        assert delivered(server, "msg_1") == 202
        (tmp_path / "ledger.db").unlink()
        assert delivered(server, "msg_2") == 503
        (told,) = [line for line in server.said if "nothing more is written" in line and "ledger.db is gone" in line]
        assert f"copy it from process {server.writer_pid}, which has it open, before that ends" in told
        until(lambda: not (tmp_path / "ledger.db-wal").stat().st_size)  # a second after the last commit
        done(block("docs/RUNBOOK.md", "copy-a-deleted-ledger"))
        server.stop()

    assert "the ledger's file is gone from its path" in server.said[-1]
    assert not any("everything that was acknowledged is on disk" in line for line in server.said)
    put_back = block("docs/RUNBOOK.md", "put-a-deleted-ledger-back")
    assert done(put_back).startswith("Everything is as it was recorded (1 event in 1 partition")


def test_a_server_starts_although_its_read_models_cannot_be_opened(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert delivered(server, "msg_1") == 202
        server.stop()  # a writer that goes on for a moment would put the page back
    damage_table(tmp_path / f"ledger.db{READ_MODELS}", "read_models")

    with serving(tmp_path) as server:
        assert delivered(server, "msg_2") == 202
        until(lambda: len(asked(server, "/messages")["items"]) == 2)
        (line,) = [line for line in server.said if "damaged" in line]
        assert "and they are made again from the log" in line


def test_a_ledger_that_its_user_may_not_read_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    (tmp_path / "ledger.db").touch()
    monkeypatch.setattr(Path, "open", refuse)

    with (
        pytest.raises(SettingRefused, match=r"ledger\.db cannot be read \(Permission denied\)"),
        claimed(tmp_path / "ledger.db"),
    ):
        pass


def test_a_rebuild_is_ordered_from_the_writer_and_refused_where_it_cannot_begin(tmp_path: Path) -> None:
    with (
        serving(tmp_path) as server,
        Ledger.open_existing(f"sqlite:///{tmp_path}/ledger.db") as ledger,
        contextlib.closing(ReadModels.open(ledger)) as read_models,
    ):

        def ordered(name: str) -> int:
            return httpx2.post(f"{server.url}/projections/{name}/rebuild", verify=False).status_code

        def live() -> int:
            with read_models.stores.rows.reading() as connection:
                return register_entry(connection, MESSAGE_STATUS).live

        other = read_models.claim_rebuild(MESSAGE_STATUS)
        while_another_runs, unknown = ordered(MESSAGE_STATUS), ordered("nothing")
        other.run()
        before = live()
        after_it = ordered(MESSAGE_STATUS)
        until(lambda: live() > before)

        assert (while_another_runs, unknown, after_it) == (409, 404, 202)
        assert server.stop() == 0


def test_a_rebuild_that_is_asked_for_over_http_runs_in_the_projector(tmp_path: Path) -> None:
    with serving(tmp_path) as server, contextlib.closing(sqlite3.connect(tmp_path / f"ledger.db{READ_MODELS}")) as rows:
        rows.executescript(
            "CREATE TABLE seen (rebuilder TEXT);"
            "CREATE TRIGGER see AFTER UPDATE ON read_models WHEN NEW.rebuilder IS NOT NULL"
            " BEGIN INSERT INTO seen VALUES (NEW.rebuilder); END"
        )
        httpx2.post(f"{server.url}/projections/{MESSAGE_STATUS}/rebuild", verify=False).raise_for_status()
        rebuilders = {rebuilder.rpartition(":")[0] for (rebuilder,) in rows.execute("SELECT rebuilder FROM seen")}

        assert rebuilders == {f"{socket.gethostname()}:{server.projector_pid}"}


def test_a_projector_that_does_not_answer_holds_no_request_and_no_answer_is_taken_for_another(tmp_path: Path) -> None:
    with serving(tmp_path, LITTLE_PATIENCE) as server:

        def ordered(name: str) -> tuple[int, str]:
            answer = httpx2.post(f"{server.url}/projections/{name}/rebuild", verify=False)
            return answer.status_code, answer.json().get("type", "").partition("#problem-")[2]

        def is_answered() -> bool:
            later.append(ordered(INBOUND_CONVERSATIONS))
            return later[-1] != silent

        later: list[tuple[int, str]] = []
        silent = (503, "projector-silent")
        os.kill(server.projector_pid, signal.SIGSTOP)
        unknown, given, not_given = (ordered(each) for each in ("nothing", MESSAGE_STATUS, MESSAGE_STATUS))
        recorded = delivered(server, "msg_1")
        os.kill(server.projector_pid, signal.SIGCONT)
        until(is_answered)

        assert (unknown, given, not_given) == ((404, "not-found"), silent, silent)
        assert (recorded, later[-1]) == (202, (202, ""))
        assert server.stop() == 0


def test_a_delivery_to_a_writer_that_stands_still_is_answered_in_time_and_found_once_it_goes_on(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, LITTLE_PATIENCE) as server:
        os.kill(server.writer_pid, signal.SIGSTOP)
        meanwhile = [delivered(server, "msg_1"), delivered(server, "msg_2")]
        os.kill(server.writer_pid, signal.SIGCONT)
        until(lambda: delivered(server, "msg_1") == 200)  # the first one reached the writer, and no second

        assert (meanwhile, delivered(server, "msg_2")) == ([503, 503], 202)
        assert server.stop() == 0


@contextlib.contextmanager
def projected_by_us(folder: Path) -> Iterator[None]:
    """Somebody else projects, and shows that the read models are alive."""
    with Ledger.open_existing(f"sqlite:///{folder}/ledger.db") as ledger, ReadModels.open(ledger) as read_models:
        read_models.start()
        yield


def test_a_server_whose_writer_stands_still_is_not_ready_whoever_else_shows_signs_of_life(tmp_path: Path) -> None:
    with serving(tmp_path, LITTLE_PATIENCE) as server, projected_by_us(tmp_path):
        until(lambda: asked(server, "/readyz")["status"] == "ready")
        os.kill(server.writer_pid, signal.SIGSTOP)
        until(lambda: asked(server, "/readyz")["status"] == "not ready")
        reasons = asked(server, "/readyz")["reasons"]
        os.kill(server.writer_pid, signal.SIGCONT)
        until(lambda: asked(server, "/readyz")["status"] == "ready")

        assert any(reason.startswith("the store cannot be written: who commits ") for reason in reasons)


def test_a_server_whose_own_runner_is_dead_is_not_ready_whoever_else_projects(tmp_path: Path) -> None:
    with serving(tmp_path, "tests.programs:main_with_a_runner_that_dies") as server, projected_by_us(tmp_path):
        reason = "projecting fails with a runner that shows no sign of life"
        until(lambda: asked(server, "/readyz")["reasons"] == [reason])


@pytest.mark.parametrize("worker", ["writer_pid", "projector_pid"])
@pytest.mark.parametrize(
    "program, signals", [(LITTLE_PATIENCE, [signal.SIGTERM]), (forks.LEDGER, [signal.SIGINT, signal.SIGINT])]
)
def test_a_worker_that_stands_still_keeps_no_server_from_its_end(
    tmp_path: Path, program: str, signals: list[signal.Signals], worker: str
) -> None:
    fact = body("message.queued", "msg_1", sequence=1)
    with serving(tmp_path, program) as server, socket.create_connection(("127.0.0.1", server.port)) as delivery:
        pid: int = getattr(server, worker)
        stopped = os.pidfd_open(pid)
        os.kill(pid, signal.SIGSTOP)
        head = f"POST /webhooks/red-cloud HTTP/1.1\r\nHost: x\r\nContent-Length: {len(fact)}\r\n".encode()
        headers = b"".join(name + b": " + value + b"\r\n" for name, value in signed_headers(fact))
        delivery.sendall(head + headers + b"\r\n" + fact)
        for number in signals:
            server.process.send_signal(number)
            until(lambda: not is_listening(server))
        status = server.process.wait(DRAIN_S - 1)
        is_gone = bool(select.select([stopped], [], [], PATIENCE_S)[0])
        os.close(stopped)

        assert (status, is_gone) == (0, True)
        assert "Traceback" not in server.log.read_text()


def is_listening(server: Serving) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port)).close()
    except ConnectionRefusedError:
        return False
    return True


def delivered(server: Serving, message_id: str) -> int:
    fact = body("message.queued", message_id, sequence=1)
    headers = {name.decode(): value.decode() for name, value in signed_headers(fact)}
    return httpx2.post(f"{server.url}/webhooks/red-cloud", content=fact, headers=headers, verify=False).status_code


def test_of_several_orders_to_a_projector_that_does_not_answer_one_waits(tmp_path: Path) -> None:
    with serving(tmp_path) as server, ThreadPoolExecutor(5) as many:
        url = f"{server.url}/projections/{MESSAGE_STATUS}/rebuild"

        def ordered() -> int:
            return httpx2.post(url, verify=False, timeout=PATIENCE_S).status_code

        os.kill(server.projector_pid, signal.SIGSTOP)
        try:
            orders = [many.submit(ordered) for _ in range(5)]
            until(lambda: sum(order.done() for order in orders) == 4, at_most_s=PATIENCE_S / 2)
        finally:
            os.kill(server.projector_pid, signal.SIGCONT)

        assert sorted(order.result() for order in orders) == [202, 503, 503, 503, 503]


def asked(server: Serving, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx2.get(f"{server.url}{path}", verify=False).json()
    return answer


def test_a_start_says_that_the_trail_of_a_log_with_events_begins_anew(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert delivered(server, "msg_1") == 202
        server.stop()
        assert not any("an audit trail begins" in line for line in server.said)
    (tmp_path / f"ledger.db{TRAIL}").unlink()
    with serving(tmp_path) as server:  # and serves webhooks all the same
        server.stop()
        assert any("an audit trail begins, although the log has events" in line for line in server.said)


@pytest.mark.parametrize("worker", ["writer_pid", "projector_pid"])
def test_a_worker_does_not_outlive_its_server(tmp_path: Path, worker: str) -> None:
    with serving(tmp_path) as server:
        opened = os.pidfd_open(getattr(server, worker))
        server.kill()
        try:
            assert select.select([opened], [], [], PATIENCE_S)[0]  # it can be read once the process has ended
        finally:
            os.close(opened)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_every_process_of_a_group_leaves_the_workers_to_their_server(
    tmp_path: Path, number: signal.Signals
) -> None:
    fact = body("message.queued", "msg_1", sequence=1)
    with serving(tmp_path) as server:
        for worker in (server.writer_pid, server.projector_pid):
            os.kill(worker, number)
        headers = {name.decode(): value.decode() for name, value in signed_headers(fact)}
        answer = httpx2.post(f"{server.url}/webhooks/red-cloud", content=fact, headers=headers, verify=False)

        assert answer.status_code == 202
        assert server.stop() == 0


def test_several_servers_share_a_ledger_on_postgresql(tmp_path: Path, postgres: PrivatePostgres) -> None:
    with (
        postgres.fresh_database() as url,
        serving(tmp_path, LEDGER_DATABASE_URL=url) as one,
        serving(tmp_path, LEDGER_DATABASE_URL=url) as other,
    ):
        assert [httpx2.get(f"{each.url}/readyz", verify=False).status_code for each in (one, other)] == [200, 200]
        password = url.split(":")[2].split("@")[0]
        assert password not in other.log.read_text()
        assert [one.stop(), other.stop()] == [0, 0]


def test_a_server_has_as_many_files_open_as_the_system_allows_and_says_when_connections_need_more(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, "tests.programs:main_with_few_open_files") as server:
        limits = [resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in (server.pid, server.writer_pid)]
        (given, allowed), _ = limits
        assert limits == [(allowed, allowed)] * 2
        assert given > FEW_OPEN_FILES

        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (FEW_OPEN_FILES, allowed))
        with contextlib.ExitStack() as clients:
            for _ in range(FEW_OPEN_FILES):
                clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            until(lambda: any("no more files can be opened" in line for line in server.said))
        until(lambda: not Path(f"/proc/{server.pid}/fd/{FEW_OPEN_FILES - 1}").exists())

        assert delivered(server, "msg_1") == 202
        told = [json.loads(line) for line in server.said if "no more files can be opened" in line]
        assert [(line["reason"], line["open_files_max"]) for line in told] == [("Too many open files", FEW_OPEN_FILES)]


def test_what_is_open_or_spelled_wrongly_is_warned_of(tmp_path: Path) -> None:
    environment = forks.environment(
        LEDGER_ALLOW_UNSIGNED="1", LEDGER_PORT="1", LEDGER_HOST="127.0.0.1", LEDGER_API_KEY="me:read:key"
    )
    if os.geteuid() == 0:
        environment["LEDGER_PORT"] = "0"
    with forks.start("serve", folder=tmp_path, environment=environment, stderr=PIPE) as process:
        said = [json.loads(process.stderr.readline())["event"] for _ in range(3)]

    assert said[0] == "LEDGER_API_KEY is set, but is no setting and changes nothing: did you mean LEDGER_API_KEYS?"
    assert [line.split(" ")[0].rstrip(":") for line in said[1:]] == ["LEDGER_ALLOW_UNSIGNED=1", "LEDGER_API_KEYS"]
    assert "set keys before a proxy on this machine forwards to it" in said[2]


def test_a_ledger_is_claimed_by_one_server_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with claimed(file), pytest.raises(LedgerInUse, match=f"{file} is held by process {os.getpid()} already"):
        claimed(file).__enter__()
    with claimed(file):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_start_on_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("api.serving.one_server.os.write", full)
    told = r"ledger.db.lock cannot be written \(No space left on device\): make room on that disk"

    with pytest.raises(SettingRefused, match=told):
        claimed(tmp_path / "ledger.db").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_was_given_up_while_another_was_made_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, lock_file = tmp_path / "ledger.db", tmp_path / "ledger.db.lock"
    flock, locked = fcntl.flock, list[int]()

    def lock(descriptor: int, how: int) -> None:
        if not locked:
            lock_file.unlink()  # as its holder does at this moment
        locked.append(descriptor)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", lock)
    with claimed(file):
        assert lock_file.read_text() == f"{os.getpid()}\n"
        with pytest.raises(LedgerInUse):
            claimed(file).__enter__()


MOUNTS = """\
/dev/vda1 / ext4 rw 0 0
filer:/export /mnt/filer nfs4 rw 0 0
tmpfs /mnt/filer/scratch tmpfs rw 0 0
//box/share /mnt/with\\040space cifs rw 0 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/mounts is Linux's")
@pytest.mark.parametrize(
    "file, refused",
    [
        ("/mnt/filer/ledger.db", True),
        ("/mnt/filer/deep/ledger.db", True),
        ("/mnt/filer/scratch/ledger.db", False),
        ("/mnt/with space/ledger.db", True),
        ("/mnt/filer2/ledger.db", False),
        ("/srv/ledger.db", False),
    ],
)
def test_a_network_file_system_is_refused(tmp_path: Path, file: str, refused: bool) -> None:  # noqa: FBT001 - a table
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)

    if refused:
        with pytest.raises(SettingRefused, match="is on a network file system"):
            refuse_network_file_system(Path(file), mounts)
    else:
        refuse_network_file_system(Path(file), mounts)


def test_it_listens_on_ipv6_as_well() -> None:
    try:
        listener = listening("::1", 0)
    except SettingRefused:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert listener.family is socket.AF_INET6


def test_a_ledger_is_one_ledger_by_whatever_name(tmp_path: Path) -> None:
    file, link, second_name = tmp_path / "ledger.db", tmp_path / "link.db", tmp_path / "second.db"
    Ledger.open(f"sqlite:///{file}").close()
    link.symlink_to(file)
    with claimed(file), pytest.raises(LedgerInUse):
        claimed(link).__enter__()
    second_name.hardlink_to(file)
    with pytest.raises(SettingRefused, match="second name"):
        claimed(second_name).__enter__()


def test_whatever_belongs_to_a_ledger_stands_beside_its_file_and_not_beside_a_link_to_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "data" / "ledger.db")
    with serving(tmp_path, LEDGER_DATABASE_URL=f"sqlite:///{link}"):
        made = {each.name for each in (tmp_path / "data").iterdir()}
        beside_the_link = {each.name for each in tmp_path.glob("*.db*")}

    assert {"ledger.db", "ledger.db.audit", "ledger.db.read-models", "ledger.db.lock"} <= made
    assert beside_the_link == {"link.db"}


def test_a_claim_that_the_file_system_refuses_is_not_taken_for_another_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)

    with pytest.raises(SettingRefused, match=r"ledger.db.lock cannot be locked \(No locks available\)"):
        claimed(tmp_path / "ledger.db").__enter__()


def test_nothing_is_made_beside_a_file_of_something_else(tmp_path: Path) -> None:
    file = tmp_path / "passwd"
    file.write_bytes(b"root:x:0:0")
    with pytest.raises(SettingRefused, match="not an SQLite database"):
        claimed(file).__enter__()

    assert list(tmp_path.iterdir()) == [file]
