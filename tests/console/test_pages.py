"""What the pages say, and what they never let through, without a browser."""

import csv
import io
import re
from functools import partial
from html import escape, unescape
from pathlib import Path

import pytest

from api.console import WAYS
from api.console.doorway import Page
from api.console.messages import inert
from api.console.rendering import CONTENT_SECURITY_POLICY, HERE, static_files, templates
from api.console.written import link
from ledger.clock import now_us
from ledger.durations import DAY_US
from ledger.times import read_rfc3339
from tests.api.running import Running, running, settings_at, until
from tests.benchmarks.subjects.console import EXPORT
from tests.benchmarks.subjects.console import PAGES as MEASURED
from tests.builders import NOW_US, append_unreadable, body, kept_unread, send_body
from tests.console.visitors import (
    CUSTOMER,
    NASTY_TEXTS,
    ORDER,
    PHONE,
    Visitor,
    deliver,
    message_path,
    signed_in,
    words_of,
)

LONG_AGO = "1732377600"

PAGES = (
    "/console",
    "/console/search?q=order_789",
    "/console/messages",
    "/console/messages?status=failed&code=30007&age=7d&number=%2B15551234567&reference=order_789",
    message_path("msg_sent"),
    message_path("msg_delivered"),
    message_path("msg_failed"),
    message_path("msg_in_0"),
    message_path("<script>/%2F 🙂"),
    "/console/message?id=..",
    "/console/event?id=..&version=1",
    message_path("msg_failed") + "/events/1",
    message_path("msg_failed") + "/events/3",
    message_path("msg_in_0") + "/events/1",
    "/console/sends/idem_789",
    "/console/stuck",
    "/console/failures?since=ever",
    "/console/conversations",
    "/console/conversations/conv_nasty",
    "/console/operations",
)


@pytest.mark.parametrize(
    "path", [*PAGES, "/console/sign-in?next=/console", "/console/nowhere", "/console/messages?age=x"]
)
def test_every_answer_forbids_what_a_page_could_be_abused_for(reader: Visitor, path: str) -> None:
    headers = reader.get(path).headers

    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_style_or_script_of_its_own(reader: Visitor, path: str) -> None:
    html = reader.get(path).text

    assert re.findall(r"\sstyle=|\son[a-z]+=\"|<style|<script(?! src=\"/console/static/)", html) == []
    assert re.findall(r"(?:src|href|action)=\"(?!/console|#|https://media\.example)", html) == []


@pytest.mark.parametrize("path", PAGES)
def test_a_masked_key_sees_no_whole_number_and_no_text(masked: Visitor, path: str) -> None:
    answer = masked.get(path)
    asked = "15551234567" if "15551234567" in path else "nothing"

    assert answer.status_code == 200
    numbers = answer.text.replace(f'value="+{asked}"', "").replace(f"%2B{asked}", "")
    assert [number for number in (PHONE, CUSTOMER) if number in numbers or number[1:] in numbers] == []
    assert [text for text in ("7*7", "owned", "txt.exe", "media.example", "photo.jpg") if text in answer.text] == []


def test_a_masked_key_gets_no_exact_bytes(masked: Visitor, reader: Visitor) -> None:
    path = message_path("msg_failed") + "/events/3/body"

    assert masked.get(path).status_code == 403
    answer = reader.get(path)
    assert (answer.status_code, answer.headers["content-disposition"]) == (200, "attachment")
    assert answer.content.startswith(b'{"eventType": "message.failed"')


@pytest.mark.parametrize(
    "text, path",
    [
        ("msg_sent", message_path("msg_sent")),
        ("  msg_sent ", message_path("msg_sent")),
        ("<script>/%2F 🙂", message_path("<script>/%2F 🙂")),
        ("..", "/console/message?id=.."),
        ("SM_delivered", message_path("msg_delivered")),
        ("SM_failed", message_path("msg_failed")),
        ("conv_nasty", "/console/conversations/conv_nasty"),
        ("idem_789", "/console/sends/idem_789"),
        ("", "/console"),
    ],
)
def test_what_only_one_thing_answers_to_is_gone_to(reader: Visitor, text: str, path: str) -> None:
    answer = reader.get("/console/search", q=text)

    assert (answer.status_code, answer.headers.get("location")) == (303, path)


@pytest.mark.parametrize(
    "text, found",
    [
        (ORDER, ["As external reference", "msg_sent", "msg_delivered", "msg_failed"]),
        (CUSTOMER, ["As phone number", "conv_nasty", "msg_in_0"]),
        ("+1 (555) 765-4321", ["As phone number", "conv_nasty"]),
        ("1 555 765 4321", ["conv_nasty"]),
    ],
)
def test_what_several_things_answer_to_is_listed(reader: Visitor, text: str, found: list[str]) -> None:
    answer = reader.get("/console/search", q=text)

    assert [each for each in found if each not in answer.text] == []


@pytest.mark.parametrize("text", ["nothing", "' OR 1=1 --", "%00", "x" * 5_000, "\ufffe"])
def test_what_nothing_answers_to_is_told_with_what_was_tried(reader: Visitor, text: str) -> None:
    answer = reader.get("/console/search", q=text)

    assert answer.status_code == 200
    assert "Nothing found" in answer.text


def test_a_status_says_what_it_means_and_what_not(reader: Visitor) -> None:
    words = reader.text(message_path("msg_sent"))

    assert "Sent : taken into Red Cloud's send path; no delivery confirmation has come" in words
    assert "It does not mean that the handset has it" in words


def test_the_two_layers_are_told_apart(reader: Visitor) -> None:
    words = reader.text(message_path("msg_sent"))

    assert "Layer 1 Request acceptance Red Cloud answered QUEUED" in words
    assert "Layer 2 Delivery lifecycle Accepted taken into Red Cloud's queue" in words
    assert "Delivered outstanding" in words


def test_a_step_before_the_promise_was_recorded_says_so_and_a_failure_in_words_is_no_code(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        deliver(
            server, "message.failed", "msg_1", sequence=2, reason="Unknown handset", occurredAt="2024-11-23T15:00:00Z"
        )
        assert server.post("/sends", send_body(["msg_1"])).is_success
        words = signed_in(server, "reader").text(message_path("msg_1"))

    assert "Failed given up by Red Cloud before the promise was recorded" in words
    assert "Why it failed Unknown handset" in words
    assert "Ask Red Cloud what it means by “Unknown handset”" in words


def test_a_failure_that_does_not_hold_any_more_is_told_with_its_reason(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        deliver(server, "message.sent", "msg_1", sequence=2)
        deliver(server, "message.failed", "msg_1", sequence=3, errorCode="30003")
        deliver(server, "message.queued", "msg_1", sequence=4)
        words = signed_in(server, "reader").text(message_path("msg_1"))

    assert "Accepted : taken into Red Cloud's queue; it had been told as sent and failed before, by a lower" in words
    assert "message.failed at sequence 3 (code 30003), and message.queued at sequence 4, which holds" in words
    assert words.count("superseded by a higher sequence") == 2


def test_the_page_of_a_customer_s_message_shows_what_they_wrote_once(reader: Visitor, masked: Visitor) -> None:
    words, withheld = (visitor.text(message_path("msg_in_0")) for visitor in (reader, masked))

    assert f"What they wrote {NASTY_TEXTS[0]}" in words
    assert "What they wrote The text is withheld." in withheld
    assert "Received : a customer wrote this It is a message of its own, not an answer within the lifecycle" in words


def test_both_orders_are_told_with_every_mark(reader: Visitor) -> None:
    words = reader.text(message_path("msg_delivered"))

    assert "Meant as 1, 3, 4; came as 4, 3, 1." in words
    assert "2 never came" in words
    assert [each for each in ("superseded", "repeated", "conflicting", "applied", "noted") if each not in words] == []


def test_what_was_signed_outside_the_replay_window_is_marked_late(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        for sequence in (1, 2):
            assert server.deliver(body("message.sent", "msg_late", sequence=sequence), timestamp=LONG_AGO).is_success
            deliver(server, "message.sent", "msg_in_time", sequence=sequence)
        visitor = signed_in(server, "reader")
        late, in_time = (visitor.text(message_path(message_id)) for message_id in ("msg_late", "msg_in_time"))

    # Both of them, in the picture of the order and in the table of events.
    assert (late.count(" late "), in_time.count(" late ")) == (4, 0)


def test_a_failure_shows_its_code_and_details(reader: Visitor) -> None:
    words = reader.text(message_path("msg_failed"))

    assert "Why it failed code 30007" in words
    assert f"errorMessage {PHONE} filtered" in words


def test_times_of_several_days_are_told_with_their_day_in_the_picture_of_the_order_as_well(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        for day, kind, sequence in ((24, "sent", 2), (25, "delivery", 3)):
            server.service.now_us = partial(int, read_rfc3339(f"2026-11-{day}T14:20:00Z") or 0)
            deliver(server, f"message.{kind}", "msg_1", sequence=sequence)
        html = signed_in(server, "reader").get(message_path("msg_1")).text

    order = html[html.index('<ol class="came">') :].partition("</ol>")[0]
    assert re.findall(r"<time[^>]*>([^<]*)</time>", order) == [
        "24 Nov 2026, 14:20:00 UTC",
        "25 Nov 2026, 14:20:00 UTC",
    ]


def test_a_failure_without_details_is_asked_after_and_not_read(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        deliver(server, "message.failed", "msg_1", sequence=2)
        words = signed_in(server, "reader").text(message_path("msg_1"))

    assert "Red Cloud gave no details." in words
    assert "Ask Red Cloud why, as it gave no details; then correct the cause" in words


def test_what_was_replayed_is_shown_with_when_it_was_received_and_when_it_was_recorded(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        server.service.ledger.commit([kept_unread(body("message.sent", sequence=1))])
        server.service.ledger.replay_quarantine(now_us=NOW_US + 90_000_000)
        visitor = signed_in(server, "reader")
        page, event = (visitor.text(message_path("msg_1") + path) for path in ("", "/events/1"))

    assert "16:00:00.000 replayed 16:01:30.000" in page
    assert "Replayed: event 1 had been received before, and waited in quarantine" in page
    assert "Received 23 Nov 2024, 16:00:00 UTC Replayed 23 Nov 2024, 16:01:30 UTC" in event


def test_an_event_shows_its_bytes_its_signature_and_its_place_in_the_chain(
    reader: Visitor, ledger_with_messages: Running
) -> None:
    words = reader.text(message_path("msg_failed") + "/events/3")
    entry = ledger_with_messages.service.ledger.entry("msg_failed", 3)

    assert '"errorCode": "30007"' in words
    assert "Signature Holds Checked again just now" in words
    assert f"Position {entry.position} , its hash {entry.hash.hex()}" in words
    assert "Place in the hash chain Holds" in words


def test_the_events_of_a_send_say_that_the_provider_did_not_sign_them(reader: Visitor) -> None:
    assert "Signature No signature Your own application handed this over" in reader.text(
        message_path("msg_sent") + "/events/1"
    )


def test_failures_are_grouped_by_code_and_lead_to_their_messages(reader: Visitor) -> None:
    html = reader.get("/console/failures?since=7d").text
    (path,) = re.findall(r'href="(/console/messages\?[^"]*code=30007[^"]*)"', html)

    assert "msg_failed" in reader.text(path.replace("&amp;", "&"))


def test_the_front_page_leads_to_the_failures_that_it_counts(reader: Visitor) -> None:
    html = reader.get("/console").text

    assert re.search(r'href="/console/failures\?since=24h"><b>Why did it fail\?', html)
    assert 'href="/console/failures?since=24h" aria-current="true"' in reader.get("/console/failures?since=24h").text


def test_failures_that_no_filter_finds_lead_nowhere(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        deliver(server, "message.failed", "msg_1", sequence=3)
        deliver(server, "message.failed", "msg_2", sequence=3, code="30007")
        until(lambda: all(each.lag_events == 0 for each in server.service.read_models.projections()))
        html = signed_in(server, "reader").get("/console/failures").text

    assert ">no code was told</td>" in html
    assert len(re.findall(r'href="/console/messages\?', html)) == 1


@pytest.mark.parametrize(
    "code, shown", [("", "an empty code was told"), ("   ", "an empty code was told"), ("no ", "<bdi>no </bdi>")]
)
def test_a_code_that_no_filter_can_be_asked_for_leads_nowhere(tmp_path: Path, code: str, shown: str) -> None:
    with running(settings_at(tmp_path)) as server:
        deliver(server, "message.failed", "msg_1", sequence=3, errorCode=code)
        until(lambda: all(each.lag_events == 0 for each in server.service.read_models.projections()))
        html = signed_in(server, "reader").get("/console/failures").text

    assert f">{shown}</td>" in html
    assert re.findall(r'href="/console/messages\?', html) == []


@pytest.mark.parametrize(
    "path", [message_path("msg_failed"), "/console/sends/idem_789", "/console/conversations/conv_nasty"]
)
def test_an_administrator_is_led_to_who_looked_at_it_and_back(admin: Visitor, reader: Visitor, path: str) -> None:
    (way,) = re.findall(r'<dt>Who looked</dt><dd><a href="([^"]+)"', admin.get(path).text)
    trail = admin.get(way)

    assert re.search(r"admin console read-(message|send|conversation) ", words_of(trail.text))
    (back,) = re.findall(r'href="([^"]+)">Find what this is about', trail.text)
    assert admin.get(back).headers["location"] == path
    assert "Who looked" not in reader.get(path).text


@pytest.mark.parametrize(
    "path, title",
    [
        ("/console/search?q=nothing+%3Cb%3E", "Search: nothing <b>"),
        ("/console/conversations/conv_nasty", "Conversation conv_nasty"),
        ("/console/sends/idem_789", "Request to send idem_789"),
    ],
)
def test_a_title_tells_one_page_from_another(reader: Visitor, path: str, title: str) -> None:
    assert f"<title>{escape(title)} · Lifecycle ledger</title>" in reader.get(path).text


def test_what_was_searched_for_can_be_corrected(reader: Visitor) -> None:
    assert 'value="nothing &#34;&lt;b&gt;" data-slash' in reader.get("/console/search", q='nothing "<b>').text


def test_an_administrator_finds_the_quarantine_and_the_audit_trail_beside_the_operations(
    admin: Visitor, reader: Visitor
) -> None:
    for path in ("operations", "quarantine", "audit"):
        html = admin.get(f"/console/{path}").text
        tabs = html[html.index('<nav class="tabs" aria-label="Operations">') :].partition("</nav>")[0]
        assert re.findall(r'href="/console/(\w+)"( aria-current="page")?', tabs) == [
            (each, ' aria-current="page"' if each == path else "") for each in ("operations", "quarantine", "audit")
        ]
        assert re.search(r'<a href="/console/operations" aria-current="(page|true)">Operations</a>', html)
    assert 'aria-label="Operations"' not in reader.get("/console/operations").text


@pytest.mark.parametrize(
    "query, found",
    [
        ("status=sent", {"msg_sent"}),
        ("code=30007", {"msg_failed"}),
        ("number=num_abc123&status=delivered", {"msg_delivered"}),
        (f"number={PHONE.replace('+', '%2B')}&status=failed", {"msg_failed"}),
        ("age=over-24h", set()),
        ("reference=order_789&age=1h", {"msg_sent", "msg_delivered", "msg_failed"}),
    ],
)
def test_messages_are_filtered(reader: Visitor, query: str, found: set[str]) -> None:
    html = reader.get(f"/console/messages?{query}").text

    assert set(re.findall(r"msg_(?:sent|delivered|failed)(?=</code>)", html)) == found


@pytest.mark.parametrize("query", ["status=eaten", "age=x", "cursor=x", "status=sent&status=sent", "reference=%00"])
def test_a_question_that_makes_no_sense_is_refused_as_a_page(reader: Visitor, query: str) -> None:
    answer = reader.get(f"/console/messages?{query}")

    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    "path",
    [
        "/console/messages/unknown",
        "/console/conversations/unknown",
        "/console/sends/unknown",
        "/console/x/y",
        message_path("msg_sent") + "/events/9",
        message_path("msg_sent") + "/events/x",
    ],
)
def test_what_is_not_there_is_told_as_a_page(reader: Visitor, path: str) -> None:
    answer = reader.get(path)

    assert (answer.status_code, "<main" in answer.text) == (404, True)


def test_case_21_csv_has_no_formulas(reader: Visitor) -> None:
    answer = reader.get("/console/messages.csv")
    cells = [cell for row in csv.reader(io.StringIO(answer.text)) for cell in row]

    assert "'=cmd|' /C calc'!A0" in cells
    assert f"'{PHONE}" in cells
    assert [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")] == []


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", " =1", "\uff1d1"])
def test_a_cell_that_begins_a_formula_is_quoted(cell: str) -> None:
    assert inert(cell) == f"'{cell}"
    assert inert(f"x{cell}") == f"x{cell}"


@pytest.mark.parametrize("cell", ["\t=1", "\r=1", "msg_\x1b[31m"])
def test_a_cell_obeys_no_control_character(cell: str) -> None:
    assert inert(cell).isprintable()


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "https://",
        "http://[",
        "ftp://x/y",
        "https://exаmple.com/",
        " https://x.example",
    ],
)
def test_only_plain_web_addresses_become_links(address: str) -> None:
    assert link(address) is None
    assert link("https://media.example/a?b=c") == "https://media.example/a?b=c"


def test_case_21_what_customers_write_is_shown_as_text(reader: Visitor) -> None:
    html = reader.get("/console/conversations/conv_nasty").text

    assert "&lt;script&gt;document.title" in html
    assert "{{7*7}} ${7*7}" in html
    assert "&lt;U+202E&gt;txt.exe and a bell ␇" in html
    assert 'href="https://media.example/photo.jpg" rel="noreferrer noopener nofollow external"' in html
    assert 'href="javascript' not in html
    assert len(re.findall(r'<p class="text"><bdi>', html)) == len(NASTY_TEXTS)


def test_a_request_shows_what_has_become_of_each_promise(reader: Visitor) -> None:
    words = reader.text("/console/sends/idem_789")

    assert "Promised, and what became of it 3 messages" in words
    now = (("msg_sent", "Sent"), ("msg_delivered", "Delivered"), ("msg_failed", "Failed 30007"))
    for message_id, status in now:
        assert re.search(rf"{message_id} \{PHONE} QUEUED {status} [0-9]+ \w+ [0-9]+, [0-9:]+ UTC [0-9.]+ s", words)


def test_a_request_counts_its_messages_by_status_and_lists_those_of_one(reader: Visitor) -> None:
    html = reader.get("/console/sends/idem_789").text
    tabs = dict(re.findall(r'<a href="([^"]+)"[^>]*>(\w+ <b>[0-9]+</b>)</a>', html))

    assert tabs == {
        "/console/sends/idem_789": "All <b>3</b>",
        "/console/sends/idem_789?status=sent": "Sent <b>1</b>",
        "/console/sends/idem_789?status=delivered": "Delivered <b>1</b>",
        "/console/sends/idem_789?status=failed": "Failed <b>1</b>",
    }
    failed = reader.get("/console/sends/idem_789?status=failed").text
    assert re.findall(r'class="key"><a href="/console/messages/(\w+)"', failed) == ["msg_failed"]
    assert 'status=failed" aria-current="true">Failed' in failed
    assert reader.get("/console/sends/idem_789?status=eaten").status_code == 400


def test_a_request_to_many_is_shown_a_page_at_a_time(tmp_path: Path) -> None:
    many = [f"msg_{number}" for number in range(250)]
    with running(settings_at(tmp_path)) as server:
        assert server.post("/sends", send_body([*many, "msg_sent"], "idem many/?")).status_code == 202
        deliver(server, "message.sent", "msg_sent", sequence=2)
        until(lambda: all(each.lag_events == 0 for each in server.service.read_models.projections()))
        visitor, path, shown = (
            signed_in(server, "reader"),
            "/console/sends/idem%20many%2F%3F?status=submitted",
            list[str](),
        )
        while path:
            html = visitor.get(path).text
            shown += re.findall(r'href="/console/messages/(msg_[0-9]+)"', html)
            assert html.count('status s-submitted"') == html.count("QUEUED")
            path = unescape(next(iter(re.findall(r'href="([^"]+)" rel="next"', html)), ""))
        refused = visitor.get("/console/sends/idem%20many%2F%3F", **{"from": "-1"})

    assert (shown, refused.status_code) == (many, 400)


def test_a_customer_s_number_is_told_from_ours(reader: Visitor, masked: Visitor) -> None:
    row = r'data-label="Who" class="number">([^<]*)</td>\s*<td role="cell" data-label="Our number"><span class="number">([^<]*)<'

    assert re.findall(row, reader.get("/console/conversations").text) == [(CUSTOMER, PHONE)]
    assert re.findall(row, masked.get("/console/conversations").text) == [
        tuple(f"…{each[-4:]}" for each in (CUSTOMER, PHONE))
    ]
    assert f"{CUSTOMER} Conversation" in reader.text("/console/conversations/conv_nasty")


def test_the_quarantine_is_listed_and_tried_again(admin: Visitor) -> None:
    assert "this is not JSON <script>" in admin.text("/console/quarantine")

    answer = admin.post("/console/quarantine/replay")

    assert (answer.status_code, answer.headers["location"]) == (303, "/console/quarantine?replayed=0")
    assert "Tried: none of them can be read yet, and all of them are kept." in admin.text(
        "/console/quarantine?replayed=0"
    )


def test_stuck_messages_are_those_that_wait_too_long(reader: Visitor) -> None:
    words = reader.text("/console/stuck")

    assert "Submitted for more than 15 min 0" in words
    assert "Quarantine 1 delivery could not be read yet" in words


def test_what_is_dated_after_now_and_so_never_called_stuck_is_told(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        server.service.now_us = lambda: now_us() + DAY_US
        server.deliver(body("message.sent", "msg_1", sequence=1))
        server.service.now_us = now_us
        reader = signed_in(server, "reader")

        until(lambda: "Dates 1 message is dated after now" in reader.text("/console/stuck"))


def test_files_are_kept_by_browsers_and_change_their_address_with_their_content(reader: Visitor) -> None:
    addresses = re.findall(r'(?:href|src)="(/console/static/[^"]+)"', reader.get("/console").text)

    assert {address.partition("?")[0].rpartition("/")[2] for address in addresses} == set(static_files())
    for address in addresses:
        answer = Visitor(reader.server).get(address)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")


@pytest.mark.parametrize("name", ["nothing.css", "..%2Frendering.py", "%2e%2e/x"])
def test_nothing_else_is_served_as_a_file(reader: Visitor, name: str) -> None:
    assert reader.get(f"/console/static/{name}").status_code == 404


def test_every_template_escapes() -> None:
    sources = {path.name: path.read_text() for path in (HERE / "templates").iterdir()}

    assert templates().autoescape is True
    assert [name for name, source in sources.items() if re.search(r"\|\s*safe|autoescape|Markup", source)] == []


def test_no_two_ways_into_the_console_are_the_same() -> None:
    paths = [(type(way).__name__, way.path, getattr(way, "method", "")) for way in WAYS]

    assert len(paths) == len(set(paths))


def test_every_page_is_measured_by_the_benchmark() -> None:
    pages = [way.path for way in WAYS if isinstance(way, Page) and "{rest" not in way.path]
    twice = {"/console/message", "/console/event", "/console/event/body", "/console/conversation", "/console/send"}
    unmeasured = {"/console/operations/stream", "/console/quarantine/{quarantineId}/body"}
    measured = [path.partition("?")[0] for path in [*MEASURED.values(), *EXPORT.values()]]

    assert [
        path
        for path in pages
        if path not in twice | unmeasured
        and not any(re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), each) for each in measured)
    ] == []


def test_pages_tell_how_long_they_took(reader: Visitor) -> None:
    assert re.fullmatch(r"app;dur=[0-9.]+", reader.get("/console").headers["server-timing"])


def test_a_page_that_ends_before_its_message_does_has_the_status_of_all_of_it(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        visitor = signed_in(server, "reader")
        for sequence in range(1, 41):
            deliver(server, "message.sent", "msg_long", sequence=sequence, text="x" * 250_000)
        deliver(server, "message.delivery", "msg_long", sequence=41)
        told = visitor.text(message_path("msg_long"))

    assert told.lstrip().startswith("Messages Delivered : delivery was confirmed")
    assert re.search(r"the first [0-9]{2} of 41 ", told)
    assert re.search(r"Delivered a delivery confirmation came [0-9]", told)


def test_a_message_with_an_event_that_cannot_be_read_is_shown_without_it_and_says_so(tmp_path: Path) -> None:
    with running(settings_at(tmp_path)) as server:
        server.deliver(body("message.queued", "msg_1", sequence=1))
        append_unreadable(server.service.ledger, "msg_1", version=2)
        server.deliver(body("message.delivery", "msg_1", sequence=3))
        append_unreadable(server.service.ledger, "msg_2", version=1)

        page = signed_in(server, "reader").text(message_path("msg_1"))
        alone = signed_in(server, "reader").text(message_path("msg_2"))
        event = signed_in(server, "reader").get(message_path("msg_1") + "/events/2")

    assert (
        "Delivered : delivery was confirmed The event at 0-2 cannot be read: a newer version wrote it (upgrade), or"
        in page
    )
    assert "message.of-the-future unreadable at 0-2: this version of the ledger cannot read it" in page
    assert "Tell the operator of this ledger that the event at 0-2 cannot be read" in page
    assert "Behind: GET /messages, ledger status and lists are without the event at 0-2" in page
    assert page.count("Body & proof") == 2
    assert "message.of-the-future unreadable at 0-4" in alone
    assert "ago" not in alone
    assert event.status_code == 503
    assert "the event at 0-2 cannot be read" in words_of(event.text)
