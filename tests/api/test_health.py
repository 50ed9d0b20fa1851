"""GET /livez and GET /readyz, and the shape of what is refused by the server itself."""

import time
from concurrent.futures import ThreadPoolExecutor

from api.http.problems import KINDS, TYPE_BASE, kind_of, problem_of
from tests.api.running import Running
from tests.builders import body


def test_a_server_that_can_write_is_alive_and_ready(fresh: Running) -> None:
    assert fresh.http.get("/livez").json() == {"status": "alive"}
    assert fresh.http.get("/readyz").json() == {"status": "ready", "reasons": [], "warnings": []}


def test_being_asked_changes_nothing_in_the_log(fresh: Running) -> None:
    fresh.deliver(body("message.sent", "msg_1", sequence=1))
    before = fresh.service.ledger.heads()

    for _ in range(3):
        fresh.http.get("/readyz")

    assert fresh.service.ledger.heads() == before


def test_many_who_ask_whether_it_is_ready_keep_nobody_from_being_answered(fresh: Running) -> None:
    """Asking is open to anybody; while the writer is busy it must not use up the threads that answer questions."""
    fresh.http.get("/readyz")

    def ask() -> int:
        return fresh.http.get("/readyz").status_code

    with ThreadPoolExecutor(60) as many:
        with fresh.service.ledger.database.writing():
            answers = [many.submit(ask) for _ in range(120)]
            began_s = time.perf_counter()
            statuses = {fresh.get("/feed").status_code, fresh.http.get("/livez").status_code}
            took_s = time.perf_counter() - began_s
        assert {answer.result() for answer in answers} <= {200, 503}

    assert (statuses, took_s < 2.0) == ({200}, True)


def test_every_kind_of_problem_has_a_status_a_title_and_a_link() -> None:
    for kind in KINDS.values():
        assert 400 <= kind.status <= 504
        assert kind.title
        assert kind.slug == kind.slug.lower().replace(" ", "-")


def test_an_error_that_nobody_foresaw_tells_nothing_of_itself() -> None:
    answer = problem_of(ZeroDivisionError("division of +15551234567"))

    assert kind_of(ZeroDivisionError()).status == 500
    assert answer.body == (
        b'{"type":"%sinternal","title":"Internal error","status":500,'
        b'"detail":"Something went wrong on our side; the log of the server says what."}' % TYPE_BASE.encode()
    )
