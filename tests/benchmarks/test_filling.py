from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from api.simulator.signing import signed_headers
from ledger.facts import Item, UnreadableDelivery
from ledger.ledger import Ledger
from ledger.reception import Reception
from ledger.signatures import Secret
from ledger.store.driver import Row, fetch
from ledger.verification import verify
from projections.message_ranges import MessageFilters
from projections.queries_messages import MessageStatus
from projections.read_models import ReadModels
from tests.benchmarks.databases import ENGINES, Engine, KeptPostgres
from tests.benchmarks.filled import BATCH, BEGAN_US, BLOCK_EVENTS, EACH_US, facts_between, fill, past
from tests.benchmarks.filling import ALONE_PARTS_MAX, made_ahead
from tests.benchmarks.pasts import Pasts
from tests.benchmarks.prepared import SECRET, SECRET_ID, receipt
from tests.benchmarks.processes import serving
from tests.engines import PrivatePostgres

FEW, MORE = 300, 400
LENT: tuple[tuple[Engine, int], ...] = (("sqlite", FEW), ("postgresql", FEW), ("postgresql", MORE), ("sqlite", FEW))
LISTENS_BEFORE_IT_ANSWERS = """
import os, pathlib, socket
with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))) as listener:
    connection, _ = listener.accept()
    if connection.recv(1):
        pathlib.Path(os.environ["ANSWERED"]).touch()
        connection.sendall(b"HTTP/1.1 503 Service Unavailable\\r\\nContent-Length: 0\\r\\n\\r\\n")
    listener.accept()
"""


def test_a_filled_ledger_is_what_deliveries_one_after_the_other_would_have_made(tmp_path: Path) -> None:
    filled_url, delivered_url = (f"sqlite:///{tmp_path}/{name}.db" for name in ("filled", "delivered"))
    fill([filled_url], FEW)
    fill([filled_url], MORE)
    deliver(delivered_url, MORE)

    with Ledger.open_existing(filled_url) as filled, Ledger.open_existing(delivered_url) as delivered:
        assert verify(filled).findings == ()
        assert log_of(filled) == log_of(delivered)
        assert len(log_of(filled)) == MORE
        assert read_model_of(filled) == read_model_of(delivered)
        assert len(read_model_of(filled)) == MORE


def test_facts_are_those_of_the_past_also_across_the_end_of_a_block() -> None:
    first, end = BLOCK_EVENTS - 10, BLOCK_EVENTS + 10

    assert [*chain.from_iterable(facts_between(first, end))] == list(received(first, end))


def test_parts_that_processes_make_come_in_their_order() -> None:
    parts = range(3, 3 + 2 * ALONE_PARTS_MAX)

    assert list(made_ahead(one_delivery, parts)) == [one_delivery(part) for part in parts]


def test_what_is_lent_is_a_copy_grown_from_the_next_smaller_one_on_both_engines(
    tmp_path: Path, postgres: PrivatePostgres
) -> None:
    pasts = Pasts(tmp_path, postgres)
    identities = set()
    try:
        for engine, events in LENT:
            with pasts.lent(engine, events) as url, Ledger.open_existing(url) as ledger:
                assert [head.position for head in ledger.heads()] == [events]
                assert ledger.quarantined(limit=1) == []
                ledger.commit(one_delivery(0))
                identities.add((engine, ledger.identity))
        assert len(identities) == len(ENGINES)
    finally:
        for events in (FEW, MORE):
            postgres.execute(f"DROP DATABASE IF EXISTS past_{events}")


def test_a_server_counts_as_started_once_it_answers_and_not_when_it_listens(tmp_path: Path) -> None:
    answered = tmp_path / "answered"

    with serving(["-c", LISTENS_BEFORE_IT_ANSWERS], {"ANSWERED": str(answered)}, tmp_path) as server:
        assert answered.exists()
        assert server.started_in_s > 0


def deliver(url: str, events: int) -> None:
    """The same past in commits as a busy server makes them, projected as it does."""
    with Ledger.open(url) as ledger, ReadModels.open(ledger) as read_models:
        came = received(0, events)
        while some := list(islice(came, BATCH)):
            ledger.commit(some)
        read_models.catch_up()


def received(first: int, end: int) -> Iterator[Item]:
    """The same past, each delivery signed and verified."""
    reception = Reception((Secret(SECRET_ID, SECRET),), 1)
    for number, content in enumerate(islice(past(), first, end), first):
        at_us = BEGAN_US + EACH_US * number
        headers = [(name.lower(), value) for name, value in signed_headers(SECRET, f"{at_us // 10**6}", content)]
        yield reception.receive(headers, content, now_us=at_us)


def one_delivery(part: int) -> list[Item]:
    content = b"not readable: %d" % part
    return [UnreadableDelivery(content[-16:], 0, "not readable", receipt(content, BEGAN_US))]


def log_of(ledger: Ledger) -> list[Row]:
    """All but the hashes, which begin with the ledger's own identity."""
    with ledger.database.reading() as connection:
        statement = (
            "SELECT partition, position, stream_id, version, topic, fact_key, state FROM events ORDER BY position"
        )
        return fetch(connection, statement)


def read_model_of(ledger: Ledger) -> list[MessageStatus]:
    with ReadModels.open(ledger) as read_models:
        return read_models.messages(MessageFilters(), limit=MORE).items


@pytest.mark.usefixtures("postgres")  # skips with the reason where none is installed
def test_a_kept_server_is_found_with_its_data_by_the_next_run() -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with KeptPostgres(Path(folder) / "kept") as first:
            first.execute("CREATE DATABASE kept")
        with KeptPostgres(Path(folder) / "kept") as again:
            again.execute("SELECT 1", database="kept")
