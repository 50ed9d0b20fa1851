"""The picture of both orders."""

from api.console.charts import ceiling_of, chart_of
from api.console.order import ROW_PX, Order, order_of
from ledger.events import MessageEvent
from ledger.log_entries import LogEntry
from ledger.positions import Position
from ledger.provider import Effect
from tests.builders import accepted, delivered, given, queued, sent, unknown


def orders(*events: MessageEvent) -> Order | None:
    history = given(*events).history
    return order_of(
        [LogEntry(Position(0, n), n, step.event, step.effect, b"") for n, step in enumerate(history, start=1)]
    )


def test_lines_lead_from_what_was_meant_to_what_came() -> None:
    order = orders(sent(sequence=2), accepted(), queued(sequence=1))
    assert order is not None

    assert [(row.sequence, row.words) for row in order.meant] == [(1, "accepted"), (2, "sent")]
    assert [row.words for row in order.came] == ["sent", "accepted"]
    assert [(way.path, way.effect) for way in order.ways] == [
        (f"M0 {ROW_PX + 24} C45 {ROW_PX + 24} 55 24 100 24", Effect.APPLIED),
        (f"M0 24 C45 24 55 {ROW_PX + 24} 100 {ROW_PX + 24}", Effect.SUPERSEDED),
    ]
    assert not order.is_as_meant


def test_a_hole_is_one_row_however_wide_it_is() -> None:
    order = orders(queued(sequence=1), delivered(sequence=2**62))
    assert order is not None

    assert [(row.sequence, row.last, row.is_hole) for row in order.meant] == [
        (1, 1, False),
        (2, 2**62 - 1, True),
        (2**62, 2**62, False),
    ]
    assert order.is_as_meant


def test_there_is_no_picture_of_one_event_nor_of_very_many() -> None:
    assert orders(accepted(), queued(sequence=1), unknown()) is None
    assert orders(*(sent(sequence=number, providerMessageRef=str(number)) for number in range(1, 60))) is None


def test_a_chart_s_newest_value_is_at_the_right_edge() -> None:
    chart = chart_of([0, 5, 10], places=601)

    assert (chart.line, chart.ceiling) == ("M598.0 96.0L599.0 48.0L600.0 0.0", 10)
    assert chart_of([], places=10).line == ""


def test_a_chart_s_top_is_the_next_round_number() -> None:
    assert [ceiling_of(value) for value in (0, 1, 1.5, 3, 5, 6, 11, 49, 501)] == [1, 1, 2, 5, 5, 10, 20, 50, 1000]
