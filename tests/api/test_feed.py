"""GET /feed and GET /feed/stream: every committed event once, in order, for a reader that keeps its place."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from api.http.feed import STREAMS_MAX
from api.service import ASKING_AT_ONCE_MAX
from api.shapes import HistoryEvent
from ledger.ledger import Ledger
from ledger.log_entries import Entry
from ledger.positions import Cursor
from tests.api.running import Running, key_of, running, settings_at, until
from tests.api.wire import Wire, request
from tests.builders import append_unreadable, body

KEY = {"Authorization": f"Bearer {key_of('reader')}"}
PATIENCE_S = 20.0


def deliver_some(server: Running, count: int, prefix: str = "msg") -> None:
    for number in range(count):
        assert server.deliver(body("message.sent", f"{prefix}_{number}", sequence=1)).status_code == 202


def read_to_the_end(server: Running, *, limit: int, is_done: threading.Event) -> list[str]:
    """The positions that a polling reader sees, until it is told that nothing more will come and finds nothing."""
    positions: list[str] = []
    after = ""
    while True:
        was_done = is_done.is_set()
        page = server.get(f"/feed?limit={limit}&after={after}").json()
        positions += [event["position"] for event in page["events"]]
        after = page["next"]
        if was_done and not page["events"]:
            return positions


class Stream:
    """A reader of server-sent events."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def line(self) -> str:
        """The next line that is not part of the chunked framing."""
        while (line := self.wire.line(b"\n").rstrip(b"\r\n")) == b"" or _is_chunk_size(line):
            pass
        return line.decode()

    def event(self) -> tuple[str, dict[str, Any]]:
        """The id and the data of the next event."""
        while (first := self.line()).startswith(":"):
            pass
        name, _, cursor = first.partition(": ")
        field, _, data = self.line().partition(": ")
        assert (name, field) == ("id", "data")
        return cursor, json.loads(data)


def _is_chunk_size(line: bytes) -> bool:
    return all(character in b"0123456789abcdef" for character in line)


@contextmanager
def stream(server: Running, path: str = "/feed/stream", **headers: str) -> Iterator[Stream]:
    """An open stream."""
    with server.wire() as wire:
        head = wire.send(request("GET", path, KEY | {name.replace("_", "-"): v for name, v in headers.items()})).head()
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert "text/event-stream" in head
        yield Stream(wire)


def test_the_feed_shows_each_event_as_its_history_does(fresh: Running) -> None:
    fresh.deliver(body("message.queued", "msg_1", sequence=1))
    fresh.deliver(body("message.inbound", "msg_2", body="Hello"))

    answer = fresh.get("/feed")

    histories = [fresh.get(f"/messages/{each}/history").json() for each in ("msg_1", "msg_2")]
    expected = [{"messageId": history["messageId"], **history["events"][0]} for history in histories]
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.json() == {"events": expected, "next": answer.json()["next"]}
    assert fresh.get(f"/feed?after={answer.json()['next']}").json() == {"events": [], "next": answer.json()["next"]}


def test_an_empty_ledger_has_a_cursor_to_poll_with(fresh: Running) -> None:
    page = fresh.get("/feed").json()
    deliver_some(fresh, 1)

    assert page["events"] == []
    assert [event["position"] for event in fresh.get(f"/feed?after={page['next']}").json()["events"]] == ["0-1"]


def test_a_page_has_fifty_events_unless_asked_otherwise(fresh: Running) -> None:
    deliver_some(fresh, 60)

    assert [len(fresh.get(f"/feed{query}").json()["events"]) for query in ("", "?limit=7")] == [50, 7]


def test_the_effect_of_an_event_does_not_depend_on_the_page(fresh: Running) -> None:
    for sequence in (3, 1, 2):
        fresh.deliver(body("message.sent", "msg_1", sequence=sequence))

    effects, after = [], ""
    for _ in range(3):
        page = fresh.get(f"/feed?limit=1&after={after}").json()
        effects += [event["effect"] for event in page["events"]]
        after = page["next"]

    assert effects == ["applied", "superseded", "superseded"]


@pytest.mark.parametrize("partitions", [1, 4])
def test_pages_neither_skip_nor_repeat_while_events_arrive(store_url: str, partitions: int) -> None:
    is_done = threading.Event()
    with running(settings_at(store_url, partitions=partitions)) as server:
        writers = [threading.Thread(target=deliver_some, args=(server, 30, f"w{number}")) for number in range(4)]
        for writer in writers:
            writer.start()
        found: list[str] = []
        reader = threading.Thread(target=lambda: found.extend(read_to_the_end(server, limit=7, is_done=is_done)))
        reader.start()
        for writer in writers:
            writer.join()
        is_done.set()
        reader.join()

    numbers: dict[str, list[int]] = {}
    for position in found:
        partition, _, number = position.partition("-")
        numbers.setdefault(partition, []).append(int(number))
    assert sum(map(len, numbers.values())) == 120
    assert all(each == list(range(1, len(each) + 1)) for each in numbers.values())
    assert len(numbers) == partitions


def test_a_busy_partition_does_not_keep_a_reader_from_the_others(tmp_path: Path) -> None:
    with running(settings_at(tmp_path, partitions=2)) as server:
        deliver_some(server, 40)
        seen, after = [], ""
        for _ in range(10):
            page = server.get(f"/feed?limit=2&after={after}").json()
            seen += [event["position"].partition("-")[0] for event in page["events"]]
            after = page["next"]

    assert {seen.count("0"), seen.count("1")} == {10}


def test_a_stream_sends_what_is_there_and_what_comes(fresh: Running) -> None:
    deliver_some(fresh, 3, "early")
    with stream(fresh) as events:
        early = [events.event() for _ in range(3)]
        deliver_some(fresh, 2, "later")
        later = [events.event() for _ in range(2)]

    assert [event for _, event in early + later] == fresh.stored()
    cursors = [cursor for cursor, _ in early + later]
    assert fresh.get(f"/feed?after={cursors[2]}&limit=1").json()["events"] == [later[0][1]]


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_stream_resumes_after_the_last_event_id(tmp_path: Path, partitions: int) -> None:
    with running(settings_at(tmp_path, partitions=partitions)) as server:
        deliver_some(server, 9)
        seen, cursor = [], None
        for _ in range(3):
            with stream(server, **({} if cursor is None else {"Last_Event_ID": cursor})) as events:
                for _ in range(3):
                    cursor, event = events.event()
                    seen.append(event["messageId"])

    assert sorted(seen) == [f"msg_{number}" for number in range(9)]


def test_a_stream_can_begin_at_a_cursor_of_the_feed(fresh: Running) -> None:
    deliver_some(fresh, 3)
    cursor = fresh.get("/feed?limit=2").json()["next"]

    with stream(fresh, f"/feed/stream?after={cursor}") as events:
        assert events.event()[1]["messageId"] == "msg_2"


def test_line_ends_between_the_tokens_of_a_body_do_not_end_an_event(fresh: Running) -> None:
    raw = b'{\r\n"eventType":\r"message.read"\n,\n\n"messageId":"msg_1"\r\n,"x":"data: y\\n\\nid: 7"\n}\n\n'
    fresh.deliver(raw)

    with stream(fresh) as events:
        _, event = events.event()

    assert event["body"] == {"eventType": "message.read", "messageId": "msg_1", "x": "data: y\n\nid: 7"}
    assert fresh.get("/messages/msg_1/history/1/body").content == raw


def test_the_scope_masked_follows_without_bodies(fresh: Running) -> None:
    deliver_some(fresh, 1)
    with stream(fresh, Authorization=f"Bearer {key_of('masked')}") as events:
        event = events.event()[1]
    assert (event["body"], event["bodySha256"]) == (None, None)


def test_a_stream_ends_when_its_client_goes_away(fresh: Running) -> None:
    with stream(fresh) as events:
        assert events.line() == ": connected"
        assert fresh.service.open_streams == 1

    until(lambda: fresh.service.open_streams == 0)


def test_streams_are_bounded_and_a_place_becomes_free(fresh: Running) -> None:
    wires = [fresh.wire().send(request("GET", "/feed/stream", KEY)) for _ in range(STREAMS_MAX)]
    until(lambda: fresh.service.open_streams == STREAMS_MAX)

    refused = fresh.get("/feed/stream")
    assert fresh.service.open_streams == STREAMS_MAX
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert refused.json() == {
        "type": "docs/HTTP.md#problem-too-many-streams",
        "title": "Too many streams are open",
        "status": 503,
        "detail": "64 streams are open already; use GET /feed, or try again",
    }

    for wire in wires:
        wire.close()
    until(lambda: fresh.service.open_streams == 0)
    with stream(fresh) as events:
        assert events.line() == ": connected"


def test_streams_that_are_asked_for_at_once_are_bounded_as_well(fresh: Running) -> None:
    """They are counted when they are allowed, and not only when they begin."""
    wires = [fresh.wire() for _ in range(2 * STREAMS_MAX)]
    for wire in wires:
        wire.send(request("GET", "/feed/stream", KEY))
    statuses = Counter(wire.head().split()[1] for wire in wires)
    for wire in wires:
        wire.close()

    assert statuses == {"200": STREAMS_MAX, "503": STREAMS_MAX}
    until(lambda: fresh.service.open_streams == 0)


def test_a_stream_that_the_audit_trail_refuses_keeps_no_place(fresh: Running) -> None:
    with fresh.service.trail.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE audit_entries RENAME TO elsewhere")

    assert fresh.get("/feed/stream").json()["type"] == "docs/HTTP.md#problem-store-unavailable"
    until(lambda: fresh.service.open_streams == 0)


def test_an_event_of_a_newer_version_is_shown_as_unreadable_and_what_follows_goes_on(fresh: Running) -> None:
    fresh.deliver(body("message.queued", "msg_1", sequence=1))
    append_unreadable(fresh.service.ledger, "msg_1", version=2)
    fresh.deliver(body("message.delivery", "msg_1", sequence=3))

    with stream(fresh) as events:
        streamed = [events.event()[1] for _ in range(3)]

    unreadable = {
        "messageId": "msg_1",
        "version": 2,
        "position": "0-2",
        "eventType": None,
        "sequence": None,
        "effect": "unreadable",
        "late": None,
        "receivedAt": None,
        "occurredAt": None,
        "signature": None,
        "body": None,
        "bodySha256": None,
        "hash": streamed[1]["hash"],
        "topic": "message.of-the-future",
    }
    assert streamed == fresh.stored() == fresh.get("/feed").json()["events"]
    assert (streamed[1], streamed[2]["effect"]) == (unreadable, "applied")
    history = fresh.get("/messages/msg_1/history").json()["events"]
    assert history == [{name: value for name, value in event.items() if name != "messageId"} for event in streamed]
    assert msgspec.convert(history, list[HistoryEvent])
    assert fresh.get("/messages/msg_1/history/2/body").json()["type"] == "docs/HTTP.md#problem-unreadable-event"
    warning = "the log: 1 events cannot be read, the first of them at 0-2"
    until(lambda: warning in fresh.get("/readyz").json()["warnings"])


@pytest.mark.parametrize("path", ["/feed", "/feed/stream"])
def test_a_cursor_beyond_the_end_of_the_log_is_refused(fresh: Running, path: str) -> None:
    deliver_some(fresh, 1)

    refused = fresh.get(f"{path}?after={Cursor((2,))}")

    assert refused.status_code == 400
    assert refused.json()["detail"].startswith("the cursor is beyond the end of the log: it stands after 0-2")


def test_a_stream_that_the_store_ends_is_told_to_the_operator(fresh: Running) -> None:
    with stream(fresh) as events:
        assert events.line() == ": connected"
        with fresh.service.ledger.database.writing() as connection, capture_logs() as told:
            connection.exec_driver_sql("ALTER TABLE partition_heads RENAME TO elsewhere")
            connection.commit()
            until(lambda: fresh.service.open_streams == 0)

    assert ("a stream of the feed ended early", "store-unavailable") in [
        (each["event"], each.get("problem")) for each in told
    ]


def test_pages_of_streams_take_no_thread_from_questions_however_many_clients_come_and_go(
    server: Running, message_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.deliver(body("message.sent", message_id, sequence=1))
    goes_on, feed = threading.Event(), Ledger.feed

    def slow(ledger: Ledger, cursor: Cursor, limit: int) -> tuple[list[Entry], Cursor]:
        goes_on.wait(PATIENCE_S)
        return feed(ledger, cursor, limit)

    monkeypatch.setattr(Ledger, "feed", slow)
    try:
        for _ in range(2 * ASKING_AT_ONCE_MAX):
            with server.wire() as wire:
                wire.send(request("GET", "/feed/stream", KEY)).head()
        assert server.get(f"/messages/{message_id}").status_code == 200
    finally:
        goes_on.set()
