"""docs/INTEGRATING.md, word for word; and its examples where something is away, refuses, or is killed."""

import importlib.util
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ledger.ledger import Ledger
from ledger.provider import Status
from ledger.reception import Reception
from ledger.signatures import Secret
from tests.api.running import SECRETS, Running, key_of, running, settings_at, until
from tests.builders import SECRET, body, signed_headers
from tests.deploy.host import host
from tests.pages import ROOT, block, replaced
from tests.ports import free_port
from tests.requirements import program
from tests.serving import LISTENING_WITHIN_S

PAGE = "docs/INTEGRATING.md"
EXAMPLES = ROOT / "docs" / "examples"


def example(name: str) -> ModuleType:
    """An example as a module of its own."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as dataclasses want it
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def app() -> ModuleType:
    return example("order_texts")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Running]:
    with running(settings_at(tmp_path, api_keys=())) as server:
        yield server


@pytest.fixture
def red_cloud(ledger: Running, tmp_path: Path) -> Iterator[str]:
    """The pretended provider."""
    server = pretended(f"{url_of(ledger)}/webhooks/red-cloud", tmp_path)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    close(server)


def pretended(webhooks: str, folder: Path) -> Any:  # noqa: ANN401 - of a module that is loaded by its path
    return example("pretend_red_cloud").RedCloud(0, webhooks, SECRETS["main"].decode(), str(folder / "red-cloud.db"))


def close(server: Any) -> None:  # noqa: ANN401 - as above
    server.server_close()
    server.database.close()


@pytest.fixture
def orders(app: ModuleType, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(app.opened(str(tmp_path / "orders.db"))) as database:
        yield database


def url_of(server: Running) -> str:
    return f"http://127.0.0.1:{server.port}"


def want(app: ModuleType, orders: sqlite3.Connection, order: str, *, to: str = "+15551234560") -> None:
    with orders:
        app.want(orders, order, to, "Your order is on its way.")


def states(orders: sqlite3.Connection) -> list[str]:
    return [state for (state,) in orders.execute("SELECT state FROM texts ORDER BY rowid")]


def tasks(orders: sqlite3.Connection) -> list[str]:
    return [what for (what,) in orders.execute("SELECT what FROM tasks ORDER BY rowid")]


def test_the_page_s_commands_send_and_act_on_the_failure(tmp_path: Path) -> None:
    program("curl")
    ports = {"8080": str(free_port()), "9090": str(free_port())}
    in_the_background = {"serve &": "serve 2>serve.log &", "orders.db &": "orders.db >said 2>away &"}
    with host(tmp_path, "sqlite:///unused.db") as machine:
        del machine.settings["LEDGER_API_KEYS"]
        machine.settings["LEDGER_PORT"] = ports["8080"]
        (tmp_path / "docs").symlink_to(ROOT / "docs")
        (tmp_path / ".venv").symlink_to(tmp_path)
        script = replaced(block(PAGE, "try-it"), {**in_the_background, **ports})
        machine.run(f"exec >/dev/null 2>&1\n{script}\njobs -p >pids")
        pids = (tmp_path / "pids").read_text().split()
        try:
            machine.run(block(PAGE, "order"))  # pasted with the three: the ledger may listen last of all
            until(lambda: (tmp_path / "said").read_text() != "", at_most_s=LISTENING_WITHIN_S)
            asked = machine.run(replaced(block(PAGE, "ask"), {"8080": ports["8080"]}))
            said = (tmp_path / "said").read_text()
            played = machine.run(replaced(block(PAGE, "play"), {"8080": ports["8080"]}))
            listed = machine.run(replaced(block(PAGE, "own-program"), {".venv/bin/python": sys.executable}))
        finally:
            for pid in pids:
                os.kill(int(pid), signal.SIGKILL)

    assert said == "call the customer of order 790: the text failed\n"
    assert '"status":"failed"' in asked
    assert "30005" in asked
    assert "50 messages" in played
    assert "msg_order-790_0: failed after 4 events\n" in listed


def test_the_pretended_red_cloud_delivers_again_what_nobody_took_and_is_the_same_after_a_restart(
    ledger: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = b'{"to": ["+15551234567"], "externalReference": "789"}'
    nobody = pretended("http://127.0.0.1:9/", tmp_path)
    answer = nobody.accept("order-789", request)
    nobody.deliver_due(1_000.0)
    close(nobody)
    again = pretended(f"{url_of(ledger)}/webhooks/red-cloud", tmp_path)
    answers = [again.accept("order-789", request), again.accept("order-789", b'{"to": []}')]
    again.deliver_due(1_000.9)
    too_early = len(ledger.stored())
    again.deliver_due(1_001.0)
    again.deliver_due(9_999.0)
    close(again)

    assert answers == [answer, None]
    assert capsys.readouterr().err.count("a webhook was not taken, again in 1 s: ") == 3
    assert (too_early, [event["eventType"] for event in ledger.stored()]) == (
        0,
        ["message.queued", "message.sent", "message.delivery"],
    )


def test_the_pretended_red_cloud_gives_up_after_the_fifth_refusal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = pretended("http://127.0.0.1:9/", tmp_path)
    nobody.accept("order-789", b'{"to": ["+15551234567"]}')
    for at_s in range(0, 1_000, 100):
        nobody.deliver_due(at_s)
    close(nobody)

    told = re.findall("a webhook was not taken, (.*?): ", capsys.readouterr().err)
    assert told[::3] == ["again in 1 s", "again in 5 s", "again in 15 s", "again in 60 s", "given up"]


def test_killed_between_acting_and_checkpointing_it_acts_once_and_loses_nothing(
    ledger: Running, tmp_path: Path
) -> None:
    failed = [body("message.failed", f"msg_{number}", sequence=1) for number in range(6)]
    for fact in failed:
        assert ledger.deliver(fact).status_code == 202
    # Pages of two; killed by kill -9 when it has acted on the third, sixth and so on of each life.
    life = """
import os, signal, sys
sys.path.append(sys.argv[1])
import order_texts as app
act, acted, app.PAGE_EVENTS = app.put_down, [], 2
def act_and_die(*given):
    act(*given)
    acted.append(given)
    if len(acted) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
app.put_down = act_and_die
app.follow_failures(app.Service(sys.argv[2]), app.opened(sys.argv[3]))
"""
    ended = [
        subprocess.run(
            [sys.executable, "-S", "-c", life, EXAMPLES, url_of(ledger), tmp_path / "orders.db"],
            check=False,
            stdout=subprocess.DEVNULL,
        ).returncode
        for _ in range(3)
    ]

    assert ended == [-signal.SIGKILL, -signal.SIGKILL, 0]
    with closing(sqlite3.connect(tmp_path / "orders.db")) as orders:
        acted = orders.execute("SELECT about FROM tasks ORDER BY about").fetchall()
    assert acted == [(f"msg_{number}",) for number in range(6)]


def test_reading_the_feed_again_from_the_beginning_changes_nothing(
    app: ModuleType, ledger: Running, orders: sqlite3.Connection
) -> None:
    ledger.deliver(body("message.failed", "msg_1", sequence=1, externalReference="789"))
    service = app.Service(url_of(ledger))
    first = app.follow_failures(service, orders)
    with orders:
        orders.execute("UPDATE feed SET checkpoint = NULL")

    assert (first, app.follow_failures(service, orders)) == (1, 1)
    assert tasks(orders) == ["call the customer of order 789: the text failed"]


def test_while_the_feed_is_away_nothing_is_lost(app: ModuleType, ledger: Running, orders: sqlite3.Connection) -> None:
    ledger.deliver(body("message.failed", "msg_1", sequence=1))
    with pytest.raises(app.Away, match="did not answer"):
        app.follow_failures(app.Service("http://127.0.0.1:9"), orders)

    assert app.follow_failures(app.Service(url_of(ledger)), orders) == 1


def test_an_acceptance_that_could_not_be_recorded_is_handed_over_later_and_the_text_is_sent_once(
    app: ModuleType, ledger: Running, red_cloud: str, orders: sqlite3.Connection
) -> None:
    want(app, orders, "789")
    with pytest.raises(app.Away):
        app.settle(app.Service(red_cloud), app.Service("http://127.0.0.1:9"), orders)
    then = states(orders)
    # Killed before it could note the answer, it asks Red Cloud again, under the same key.
    with orders:
        orders.execute("UPDATE texts SET state = 'wanted', response = NULL")
    for _ in range(2):
        app.settle(app.Service(red_cloud), app.Service(url_of(ledger)), orders)

    assert (then, states(orders)) == (["sent"], ["settled"])
    assert ledger.get("/sends/order-789").json()["messages"][0]["messageId"] == "msg_order-789_0"
    assert [event["eventType"] for event in ledger.stored()].count("request.accepted") == 1


def test_while_red_cloud_is_away_a_text_stays_wanted(
    app: ModuleType, ledger: Running, orders: sqlite3.Connection
) -> None:
    want(app, orders, "789")
    with pytest.raises(app.Away):
        app.settle(app.Service("http://127.0.0.1:9"), app.Service(url_of(ledger)), orders)

    assert states(orders) == ["wanted"]


def test_what_either_side_refuses_is_a_task_and_stops_nothing_else(
    app: ModuleType, ledger: Running, red_cloud: str, orders: sqlite3.Connection
) -> None:
    used = {"idempotencyKey": "order-409", "request": {}, "response": {"results": []}}
    ledger.http.post("/sends", json=used)
    for order in ("409", "422", "789"):
        want(app, orders, order)
    with orders:  # what Red Cloud would never answer
        orders.execute("UPDATE texts SET response = '{\"errors\": []}' WHERE idempotency_key = 'order-422'")
    app.settle(app.Service(red_cloud), app.Service(url_of(ledger)), orders)

    assert states(orders) == ["refused", "refused", "settled"]
    assert [re.findall(r"under (\S+):.* answered (\d+)", what)[0] for what in tasks(orders)] == [
        ("order-409", "409"),
        ("order-422", "422"),
    ]


def test_a_recipient_that_red_cloud_does_not_accept_is_a_task(
    app: ModuleType, ledger: Running, red_cloud: str, orders: sqlite3.Connection
) -> None:
    want(app, orders, "789", to="call me")
    app.settle(app.Service(red_cloud), app.Service(url_of(ledger)), orders)

    assert states(orders) == ["settled"]
    assert [json.loads(what.partition(": ")[2])["code"] for what in tasks(orders)] == ["INVALID_REQUEST"]


@pytest.mark.parametrize("response", ['{"results": [], "errors": ["+1555 is no number", null]}', '{"results": []}'])
def test_whatever_an_error_of_red_cloud_looks_like_it_stops_nothing(
    app: ModuleType, orders: sqlite3.Connection, response: str
) -> None:
    want(app, orders, "789")
    app.note(orders, "order-789", "sent", response)

    assert states(orders) == ["sent"]
    assert tasks(orders) == [
        f"not accepted under order-789: {json.dumps(error)}" for error in json.loads(response).get("errors", [])
    ]


@pytest.mark.parametrize("key, status", [("expired", 401), (key_of("reader"), 403)])
def test_a_key_that_is_wrong_or_lacks_the_scope_refuses_no_text(
    app: ModuleType, red_cloud: str, orders: sqlite3.Connection, tmp_path: Path, key: str, status: int
) -> None:
    want(app, orders, "789")
    (tmp_path / "with-keys").mkdir()
    with running(settings_at(tmp_path / "with-keys")) as ledger:
        with pytest.raises(app.Away, match=f"answered {status}"):
            app.settle(app.Service(red_cloud), app.Service(url_of(ledger), key), orders)
        then = states(orders)
        app.settle(app.Service(red_cloud), app.Service(url_of(ledger), key_of("writer")), orders)

        with pytest.raises(app.Away, match="answered 403"):
            app.follow_failures(app.Service(url_of(ledger), key_of("writer")), orders)

    assert (then, states(orders), tasks(orders)) == (["sent"], ["settled"], [])


def test_the_request_in_the_text_is_recorded_and_found_again(ledger: Running) -> None:
    head, _, content = block(PAGE, "send").partition("\n\n")
    method, path = head.splitlines()[0].split()
    answers = [ledger.http.request(method, path, content=content.encode()).json()["outcome"] for _ in range(2)]

    assert answers == ["recorded", "duplicate"]
    until(lambda: all(each.lag_events == 0 for each in ledger.service.read_models.projections()))
    found = ledger.get("/messages?externalReference=789&phone=%2B15551234567").json()["items"]
    assert [message["messageId"] for message in found] == ["msg_abc123"]


def test_the_feed_code_in_the_text_is_that_of_the_example() -> None:
    in_the_text = [line.strip() for line in block(PAGE, "follow").splitlines()]
    in_the_example = [line.strip() for line in (EXAMPLES / "order_texts.py").read_text().splitlines()]

    assert [line for line in in_the_text if line not in in_the_example] == []


def test_the_library_code_in_the_text_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    raw = body("message.sent", "msg_1", sequence=2)
    headers = signed_headers(raw, secret=Secret("main", b"my-secret"))

    exec(block(PAGE, "library"), {"headers": headers, "body": raw})  # noqa: S102 - our own document
    headers = signed_headers(b"?", secret=Secret("main", b"my-secret"))
    exec(block(PAGE, "library"), {"headers": headers, "body": b"?"})  # noqa: S102 - as above

    with Ledger.open_existing("sqlite:///ledger.db") as ledger:
        assert ledger.message("msg_1").status is Status.SENT
        assert [each.receipt.body for each in ledger.quarantined(limit=5)] == [b"?"]


def test_the_program_of_one_s_own_says_how_it_is_called() -> None:
    ended = subprocess.run([sys.executable, EXAMPLES / "own_program.py"], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "usage: own_program.py DATABASE_URL, such as sqlite:///ledger.db\n"


def test_the_ledger_can_be_used_as_a_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, url = example("own_program"), f"sqlite:///{tmp_path}/ledger.db"
    queued, sent = body("message.queued", "msg_1", sequence=1), body("message.sent", "msg_1", sequence=2)

    with Ledger.open(url) as ledger:
        reception = Reception([SECRET], ledger.partitions, codec=ledger.codec)
        answers = [own.take_in(ledger, reception, signed_headers(raw), raw) for raw in (queued, sent, sent)]
        answers.append(own.take_in(ledger, reception, signed_headers(queued), sent))
        ledger.database.close()
        (tmp_path / "ledger.db").rename(tmp_path / "elsewhere.db")
        (tmp_path / "ledger.db").mkdir()
        answers.append(own.take_in(ledger, reception, signed_headers(queued), queued))
    own.main(f"sqlite:///{tmp_path}/elsewhere.db")

    taken, not_genuine, later = own.Answer
    assert answers == [taken, taken, taken, not_genuine, later]
    assert capsys.readouterr().out == "msg_1: sent after 2 events\n"
