"""Attack 21 in the log output: whatever strangers write, a line is a line, and none of it is told."""

import json
from pathlib import Path

import pytest

from api.logs import configure_logs
from tests.api.running import running, settings_at, signed
from tests.api.wire import request
from tests.builders import body

HOSTILE = (
    "<script>alert(1)</script>",
    "{{7*7}}",
    "=cmd|'/c calc'!A1",
    "\x1b[31m",
    "a\r\nforged: 1",
    "\u202e",
    "\0",
    "\ud800",
)


def test_case_21_hostile_text_is_in_no_line_of_the_log(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    configure_logs("debug", as_json=True)
    with running(settings_at(tmp_path)) as server:
        for sequence, text in enumerate(HOSTILE):
            raw = body("message.failed", f"planted{text}", sequence=sequence, errorMessage=text, note="planted")
            assert server.deliver(raw).status_code == 202
            assert server.deliver(b"planted " + text.encode("utf-8", "surrogatepass")).status_code == 202
            refused = {**signed(raw), "X-RedCloud-Signature": "planted"}
            with server.wire() as wire:
                assert wire.send(request("POST", "/webhooks/red-cloud", refused, raw)).answer().status == 401
        server.get("/messages/planted%0D%0Aforged/history?planted=%1B%5B31m")
        server.get("/messages?phone=planted%0D%0A", **{"X-Request-Id": "planted<script>"})

    lines = capsys.readouterr().err.splitlines()
    assert {json.loads(line)["event"] for line in lines} >= {"a delivery was refused", "answered"}
    assert [line for line in lines if "planted" in line or "script" in line or "\x1b" in line] == []
