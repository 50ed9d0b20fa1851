"""The console in a real browser: the five questions, hostile text, the keyboard, a phone, and what is live."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from tests.api.running import Running, key_of, running, settings_at, until
from tests.builders import send_body
from tests.console.test_pages import PAGES
from tests.console.visitors import CUSTOMER, GOOD_LINK, ORDER, PHONE, Visitor, deliver, feed, message_path

PHONE_SIZE: ViewportSize = {"width": 360, "height": 740}
CLICKS_MAX = 3
COUNT_CLICKS = "addEventListener('click', () => sessionStorage.clicks = Number(sessionStorage.clicks ?? 0) + 1, true)"
"""Enter in a form counts as well: browsers click its button."""
WATCH = "window.violations = []; addEventListener('securitypolicyviolation', (event) => violations.push(event.violatedDirective))"


@pytest.fixture(scope="module")
def only_page(browser: Browser, reader: Visitor) -> Iterator[Page]:
    """The one page of a browser in which a reader has signed in: a process for each test would cost most of its time."""
    with browser_of(browser, reader) as context:
        context.add_init_script(COUNT_CLICKS)
        yield context.new_page()


@pytest.fixture
def page(only_page: Page) -> Iterator[Page]:
    """That page, which fails the test for an error of a script, or a violation of its own policy."""
    complaints: list[str] = []
    listeners: dict[Any, Callable[[Any], None]] = {
        "pageerror": lambda error: complaints.append(str(error)),
        "console": lambda message: complaints.append(message.text) if message.type == "error" else None,
        "request": lambda request: complaints.append(request.url) if "127.0.0.1" not in request.url else None,
    }
    for event, listener in listeners.items():
        only_page.on(event, listener)
    yield only_page
    assert only_page.evaluate("window.violations") == []
    for event, listener in listeners.items():
        only_page.remove_listener(event, listener)
    assert complaints == []


@pytest.fixture
def asking(page: Page) -> Iterator[Page]:
    """The front page, on which somebody has a question: three clicks from here it must be answered."""
    page.goto("/console")
    page.evaluate("sessionStorage.clicks = 0")
    yield page
    assert 1 <= int(page.evaluate("sessionStorage.clicks")) <= CLICKS_MAX


@contextmanager
def browser_of(browser: Browser, visitor: Visitor, **options: Any) -> Iterator[BrowserContext]:  # noqa: ANN401 - as Playwright takes them
    """A browser in which a visitor has signed in, if anybody."""
    with closing(browser.new_context(base_url=visitor.server.url, **options)) as context:
        context.add_init_script(WATCH)
        context.set_default_timeout(10_000)
        if visitor.cookie:
            name, _, value = visitor.cookie.partition("=")
            context.add_cookies([{"name": name, "value": value, "url": visitor.server.url}])
        yield context


def test_where_is_my_message(asking: Page) -> None:
    asking.get_by_role("link", name="Where is my message?").click()
    asking.get_by_role("link", name="msg_sent").click()

    expect(asking.get_by_role("heading", level=1)).to_have_text(
        "Sent: taken into Red Cloud's send path; no delivery confirmation has come"
    )


@pytest.mark.parametrize("known", ["msg_sent", "SM_sent"])
def test_where_is_my_message_by_what_is_known_of_it(asking: Page, known: str) -> None:
    asking.get_by_label("Search by").fill(known)
    asking.keyboard.press("Enter")

    asking.wait_for_url(f"**{message_path('msg_sent')}")


@pytest.mark.parametrize("known", [ORDER, PHONE, "(1) 555 123-4567"])
def test_where_is_my_message_by_what_names_several(asking: Page, known: str) -> None:
    asking.get_by_label("Search by").fill(known)
    asking.keyboard.press("Enter")
    asking.get_by_role("link", name="msg_sent").click()

    asking.wait_for_url(f"**{message_path('msg_sent')}")


def test_why_did_it_fail(asking: Page) -> None:
    asking.get_by_role("link", name="Why did it fail?").click()
    asking.get_by_role("link", name="30007").click()
    asking.get_by_role("link", name="msg_failed").click()

    expect(asking.get_by_role("region", name="Why it failed")).to_contain_text(f"{PHONE} filtered")


def test_what_did_we_promise_and_when_did_it_become_true(asking: Page) -> None:
    asking.get_by_role("link", name="What did we promise").click()
    asking.get_by_role("link", name="msg_delivered").click()

    region = asking.get_by_role("region", name="Promised, and what became of it")
    expect(region).to_contain_text("from the promise to the confirmation")
    expect(region.get_by_role("region", name="Request acceptance")).to_contain_text("Red Cloud answered QUEUED")
    steps = region.get_by_role("region", name="Delivery lifecycle")
    expect(steps.locator("[aria-current=step]")).to_contain_text(re.compile(r"Delivered .*\+[0-9.]+ s"))


def test_what_is_outstanding_of_a_promise(asking: Page) -> None:
    asking.get_by_label("Search by").fill("idem_789")
    asking.keyboard.press("Enter")
    sent = asking.get_by_role("row", name="msg_sent")
    expect(sent).to_contain_text(re.compile("QUEUED.*Sent"))
    sent.get_by_role("link").click()

    region = asking.get_by_role("region", name="Promised, and what became of it")
    expect(region).to_contain_text("outstanding for")
    expect(region.get_by_role("listitem").filter(has_text="Delivered")).to_contain_text("outstanding")


def test_what_did_this_customer_write_us(asking: Page) -> None:
    asking.get_by_role("link", name="What did this customer write us?").click()
    asking.get_by_role("row", name=CUSTOMER).get_by_role("link").click()

    expect(asking.get_by_role("listitem").filter(has_text="{{7*7}}")).to_be_visible()


def test_what_did_this_customer_write_us_by_their_number(asking: Page) -> None:
    asking.get_by_label("Search by").fill(CUSTOMER)
    asking.keyboard.press("Enter")
    asking.get_by_role("link", name="Conversation conv_nasty").click()

    expect(asking.get_by_role("listitem").filter(has_text="{{7*7}}")).to_be_visible()


def test_is_anything_stuck_or_lost(asking: Page) -> None:
    asking.get_by_role("link", name="Is anything stuck or lost?").click()

    expect(asking.get_by_role("heading", name="What else could be lost")).to_be_visible()
    expect(asking.get_by_text("1 delivery")).to_be_visible()


def test_the_proof_of_an_event_is_one_click_away(page: Page) -> None:
    page.goto(message_path("msg_failed"))
    page.get_by_role("link", name="Body & proof of event 3").click()

    expect(page.get_by_role("region", name="Signature")).to_contain_text("Checked again just now")
    expect(page.get_by_role("region", name="Place in the hash chain")).to_contain_text("Previous hash")


def test_hostile_text_is_only_text(page: Page) -> None:
    for path in ("/console/conversations/conv_nasty", message_path("msg_in_0") + "/events/1", "/console/messages"):
        page.goto(path)
        assert "owned" not in page.title()
        assert page.evaluate("window.violations") == []
    page.goto("/console/conversations/conv_nasty")
    assert page.locator(".bubble").locator("script, svg, img, iframe, b").count() == 0
    assert page.locator(".bubble a").evaluate_all("links => links.map(link => [link.href, link.rel])") == [
        [GOOD_LINK, "noreferrer noopener nofollow external"]
    ]


def test_no_page_violates_its_policy_nor_scrolls_sideways_on_a_phone(browser: Browser, admin: Visitor) -> None:
    too_wide: list[tuple[str, int]] = []
    with browser_of(browser, admin, viewport=PHONE_SIZE) as context:
        page = context.new_page()
        for path in (*PAGES, "/console/quarantine", "/console/search?q=nothing"):
            page.goto(path, wait_until="domcontentloaded")
            width = page.evaluate("document.documentElement.scrollWidth")
            if width > PHONE_SIZE["width"]:
                too_wide.append((path, width))
            assert page.evaluate("window.violations") == [], path

    assert too_wide == []


@pytest.mark.parametrize("width", [360, 390])
def test_no_section_of_the_menu_stands_alone_on_a_line_of_a_phone(
    browser: Browser, reader: Visitor, width: int
) -> None:
    with browser_of(browser, reader, viewport={"width": width, "height": 740}) as context:
        page = context.new_page()
        page.goto("/console/messages")
        tops = page.locator(".sections a").evaluate_all(
            "all => all.map(a => Math.round(a.getBoundingClientRect().top))"
        )

    assert min(Counter(tops).values()) > 1


def test_the_order_of_huge_sequences_fits_a_phone(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(settings_at(tmp_path_factory.mktemp("huge"), api_keys=())) as server:
        deliver(server, "message.failed", "msg_1", sequence=3)
        deliver(server, "message.queued", "msg_1", sequence=2**63 - 1)
        page = browser.new_page(base_url=server.url, viewport=PHONE_SIZE)
        page.goto(message_path("msg_1"))
        widths = page.locator(".order ol").evaluate_all("lists => lists.map(each => each.clientWidth)")
        page.close()

    assert min(widths) > 100


def test_no_words_leave_their_card_on_a_phone(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(settings_at(tmp_path_factory.mktemp("phone"), api_keys=())) as server:
        for kind, sequence in (("queued", 1), ("sent", 2), ("delivery", 3)):
            deliver(server, f"message.{kind}", "msg_1", sequence=sequence, occurredAt="2024-11-23T15:00:00Z")
        assert server.http.post("/sends", content=send_body(["msg_1"])).is_success
        page = browser.new_page(base_url=server.url, viewport=PHONE_SIZE)
        page.goto(message_path("msg_1"))
        expect(page.get_by_text("before the promise was recorded")).to_have_count(3)

        cards = page.locator(".layer").evaluate_all("cards => cards.map(card => card.scrollWidth - card.clientWidth)")
        page.close()

    assert cards == [0, 0]


@pytest.fixture(scope="module")
def long_words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose messages have words that are wider than a page, and texts that are higher."""
    with running(settings_at(tmp_path_factory.mktemp("long"), api_keys=())) as server:
        reference = "R" * 300
        assert server.http.post("/sends", content=send_body(["msg_1"], reference=reference)).is_success
        deliver(server, "message.queued", "msg_1", sequence=1, externalReference=reference)
        why = {"errorCode": "CODE_" * 40, "errorMessage": "not delivered " * 400}
        deliver(server, "message.failed", "msg_1", sequence=2**63 - 1, externalReference=reference, **why)
        deliver(server, "message.inbound", "msg_2", conversationId="conv_1", body="word " * 1_000)
        until(lambda: all(each.lag_events == 0 for each in server.service.read_models.projections()))
        yield server


@pytest.mark.parametrize(
    "path",
    [
        "/console",
        "/console/messages",
        "/console/failures",
        message_path("msg_1"),
        "/console/sends/idem_1",
        "/console/audit",
    ],
)
def test_no_page_scrolls_sideways_however_wide_it_is_and_its_words_are(
    browser: Browser, long_words: Running, path: str
) -> None:
    page = browser.new_page(base_url=long_words.url)
    page.goto(path)
    wider = {}
    for width in (320, 740, 853, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        wider[width] = page.evaluate("document.documentElement.scrollWidth") - width
    page.close()

    assert max(wider.values()) <= 0, wider


@pytest.mark.parametrize(
    "path, place", [(message_path("msg_1"), ".failure dd"), ("/console/conversations/conv_1", ".bubble .text")]
)
def test_a_long_text_is_scrolled_with_the_keyboard_and_printed_whole(
    browser: Browser, long_words: Running, path: str, place: str
) -> None:
    page = browser.new_page(base_url=long_words.url)
    page.goto(path)
    cut = "all => all.filter(each => each.scrollHeight > each.clientHeight + 1).map(each => each.tabIndex)"
    on_a_screen = page.locator(place).evaluate_all(cut)
    page.emulate_media(media="print")
    on_paper = page.locator(place).evaluate_all(cut)
    page.close()

    assert (on_a_screen, on_paper) == ([0], [])


def test_paper_tells_when_and_not_how_long_ago(browser: Browser, long_words: Running) -> None:
    page = browser.new_page(base_url=long_words.url)
    page.goto("/console/messages")
    page.emulate_media(media="print")
    size, on_paper = page.locator("time.ago").first.evaluate(
        "time => [getComputedStyle(time).fontSize, getComputedStyle(time, '::after').content]"
    )
    page.close()

    assert size == "0px"
    assert re.fullmatch(r'"[0-9]{1,2} \w{3} [0-9]{4}, [0-9:]{8} UTC"', on_paper)


def test_every_way_is_open_to_the_keyboard(page: Page) -> None:
    page.goto("/console/messages")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Search by")).to_be_focused()
    page.keyboard.type("conv_nasty")
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/conversations/conv_nasty")


def test_where_the_focus_is_can_be_seen(page: Page) -> None:
    page.goto("/console/messages")
    widths = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        widths.add(page.evaluate("getComputedStyle(document.activeElement).outlineWidth"))

    assert widths == {"3px"}


def test_every_field_has_a_name_and_every_table_headers(page: Page) -> None:
    for path in ("/console", "/console/messages", message_path("msg_delivered"), "/console/conversations"):
        page.goto(path)
        unnamed = page.evaluate(
            "[...document.querySelectorAll('input:not([type=hidden]), select')].filter(f => !f.labels.length).length"
        )
        bare = page.evaluate(
            "[...document.querySelectorAll('table')].filter(t => !t.querySelector('th[scope]') || !t.caption).length"
        )
        landmarks = page.evaluate(
            "['header', 'main', 'footer'].filter(n => document.querySelectorAll('body > ' + n).length !== 1)"
        )
        assert (unnamed, bare, landmarks, page.locator("h1").count()) == (0, 0, [], 1), path


def test_a_masked_key_sees_no_number_in_a_browser_either(browser: Browser, masked: Visitor) -> None:
    with browser_of(browser, masked) as context:
        page = context.new_page()
        for path in ("/console/messages", message_path("msg_failed"), "/console/conversations/conv_nasty"):
            page.goto(path)
            text = page.locator("body").inner_text()
            assert (PHONE in text, CUSTOMER in text, "7*7" in text) == (False, False, False)
            assert "masked" in text


def test_a_key_is_asked_for_and_signing_out_leads_there_again(browser: Browser, ledger_with_messages: Running) -> None:
    with browser_of(browser, Visitor(ledger_with_messages)) as context:
        page = context.new_page()
        page.goto("/console")
        page.get_by_label("API key").fill(key_of("reader"))
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()

        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert context.cookies() == []


def test_operations_are_live_and_an_admin_rebuilds_after_being_asked(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(settings_at(tmp_path_factory.mktemp("operations"), api_keys=())) as server:
        feed(server)
        page = browser.new_page(base_url=server.url)
        page.add_init_script(WATCH)
        page.goto("/console/operations")
        expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
        count = page.locator("[data-text=events]")
        before = int(count.inner_text())
        deliver(server, "message.queued", "msg_new", sequence=1)
        expect(count).to_have_text(str(before + 1))

        page.get_by_text("Rebuild…").first.click()
        page.get_by_role("button", name="Yes, rebuild message-status").click()
        expect(page.get_by_text("The rebuild has begun.")).to_be_visible()
        assert page.evaluate("window.violations") == []
        page.close()
