"""The examples of docs/INTEGRATING.md do what it says, against a real server and a provider that answers over HTTP."""

import json
import re
import runpy
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ledger.ledger import Ledger
from ledger.provider import Status
from ledger.reception import Reception
from ledger.signatures import Secret
from tests.builders import SECRET, body, signed_headers
from tests.command_line.conftest import record, serving

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"
Example = dict[str, Any]


@pytest.fixture
def order_texts() -> Example:
    """The example application."""
    return runpy.run_path(str(EXAMPLES / "order_texts.py"), run_name="order_texts")


@pytest.fixture
def red_cloud() -> Iterator[str]:
    """A provider that accepts every request to send, and gives the same key the same answer."""

    class SendApi(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = self.headers["Idempotency-Key"]
            results = [{"to": to, "messageId": f"msg_{key}", "status": "QUEUED"} for to in request["to"]]
            answer = json.dumps({"results": results, "errors": []}).encode()
            self.send_response(202)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            """Says nothing: tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), SendApi)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_application_sends_hands_over_and_acts_on_each_failure_once(
    order_texts: Example, red_cloud: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with serving(tmp_path, LEDGER_DATABASE_URL=url) as server, closing(sqlite3.connect(":memory:")) as orders:
        provider, ledger = order_texts["Service"](red_cloud), order_texts["Service"](server.url)
        sent = order_texts["send"](provider, "789", "+15551234567", "Your order is on its way.")
        first, again = order_texts["hand_over"](ledger, *sent), order_texts["hand_over"](ledger, *sent)
        before = order_texts["follow_failures"](ledger, orders)
        record(url, body("message.failed", "msg_order-789", sequence=2, externalReference="789", errorCode="30005"))
        found, then = order_texts["follow_failures"](ledger, orders), order_texts["follow_failures"](ledger, orders)
        tasks = orders.execute("SELECT * FROM tasks").fetchall()

    assert (first["outcome"], again["outcome"]) == ("recorded", "duplicate")
    assert (before, found, then) == (0, 1, 0)
    assert tasks == [("msg_order-789", 2, "call the customer of order 789: the text failed")]


def python_blocks(document: str) -> list[str]:
    """The Python code in a document."""
    return re.findall(r"^```python\n(.*?)^```", (DOCS / document).read_text(), re.DOTALL | re.MULTILINE)


def test_the_feed_code_in_the_text_is_that_of_the_example() -> None:
    in_the_text = [line.strip() for line in python_blocks("INTEGRATING.md")[0].splitlines()]
    in_the_example = [line.strip() for line in (EXAMPLES / "order_texts.py").read_text().splitlines()]

    assert [line for line in in_the_text if line not in in_the_example] == []


def test_the_library_code_in_the_text_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    raw = body("message.sent", "msg_1", sequence=2)
    names = {"Ledger": Ledger, "Reception": Reception, "Secret": Secret, "time": time}
    names |= {"secret": SECRET.key, "headers": signed_headers(raw), "body": raw}

    exec(python_blocks("INTEGRATING.md")[1], names)  # noqa: S102 - our own document

    with Ledger.open_existing("sqlite:///ledger.db") as ledger:
        assert ledger.message("msg_1").status is Status.SENT


def test_the_ledger_can_be_used_as_a_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own_program = runpy.run_path(str(EXAMPLES / "own_program.py"), run_name="own_program")
    url = f"sqlite:///{tmp_path}/ledger.db"
    queued, sent = body("message.queued", "msg_1", sequence=1), body("message.sent", "msg_1", sequence=2)

    with Ledger.open(url) as ledger:
        new = own_program["take_in"](ledger, SECRET.key, [(signed_headers(raw), raw) for raw in (queued, sent, sent)])
    own_program["main"](url)

    assert new == 2
    assert capsys.readouterr().out == "msg_1: sent after 2 events\n"
