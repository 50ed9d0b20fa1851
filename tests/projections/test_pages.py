"""Pages of lists are bounded in bytes as well as in rows, and nothing is left out or shown twice for it."""

from collections.abc import Callable

import pytest

from ledger.store.driver import Row
from projections import pages
from projections.message_ranges import MessageFilters
from projections.pages import read_page
from projections.queries_messages import Page
from projections.read_models import ReadModels
from tests.projections.scene import Scene, inbound, outbound

MESSAGES = 30
LONG = "x" * 10_000
PAGE_BYTES = 5 * len(LONG)


def failures(models: ReadModels, cursor: str | None) -> Page[object]:
    page = models.messages(MessageFilters(), cursor=cursor, limit=1_000)
    return Page([each.message.message_id for each in page.items], page.next)


def texts(models: ReadModels, cursor: str | None) -> Page[object]:
    page = models.conversation_messages("conv_1", cursor=cursor, limit=1_000)
    return Page([each.message_id for each in page.items], page.next)


@pytest.mark.parametrize("read", [failures, texts])
def test_a_page_of_long_bodies_ends_early_and_the_next_goes_on_behind_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, read: Callable[[ReadModels, str | None], Page[object]]
) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES_MAX", PAGE_BYTES)
    ids = [f"msg_{number}" for number in range(MESSAGES)]
    if read is failures:
        scene.deliver(*(outbound("failed", each, 1, detail=LONG) for each in ids))
    else:
        scene.deliver(*(inbound(each, body=LONG) for each in ids))
    scene.read_models.catch_up()

    found, cursor = list[list[object]](), None
    while (page := read(scene.read_models, cursor)).next is not None:
        found.append(page.items)
        cursor = page.next
    found.append(page.items)

    shown = [each for items in found for each in items]
    assert (len(shown), sorted(map(str, shown))) == (MESSAGES, sorted(ids))
    assert {len(items) for items in found[:-1]} == {5}


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 128, 129, 300])
@pytest.mark.parametrize("limit", [1, 63, 64, 128, 1_000])
def test_a_page_says_whether_there_is_more(rows: int, limit: int) -> None:
    every: list[Row] = [(number, b"") for number in range(rows)]

    def rows_after(last: Row | None, wanted: int) -> list[Row]:
        begin = last[0] + 1 if last else 0
        return every[begin : begin + wanted]

    assert read_page(rows_after, limit) == (every[:limit], rows > limit)


def test_one_row_that_is_longer_than_a_page_is_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES_MAX", 1)

    assert read_page(lambda _last, wanted: [(0, b"long"), (1, b"long")][:wanted], 2) == ([(0, b"long")], True)
    assert read_page(lambda last, _wanted: [] if last else [(0, b"long")], 2) == ([(0, b"long")], False)
