"""What a process does that dies at its n-th step: each takes the URL of a ledger that is there, and changes it."""

import threading
from collections.abc import Callable
from random import Random

from ledger import ledger as ledger_module
from ledger.ledger import Ledger
from ledger.reception import Reception
from ledger.store import schema
from ledger.store.database import Database
from projections import lease, rebuild
from projections.inbound_conversations import INBOUND_CONVERSATIONS
from projections.log_batches import Bounds
from projections.message_status import MESSAGE_STATUS
from projections.read_models import ReadModels
from tests.faults.load import Journal, Traffic
from tests.faults.migrations import with_test_migrations

NAMES = (MESSAGE_STATUS, INBOUND_CONVERSATIONS)
FACTS_AN_APPEND = 5
REPLAYED_AT_ONCE = 3


def project(url: str) -> None:
    """Makes the read models, catches them up, and rebuilds both."""
    with Ledger.open_existing(url) as ledger, ReadModels.open(ledger) as models:
        models.catch_up()
        for name in NAMES:
            models.claim_rebuild(name).run()


def rebuild_while_appending(url: str) -> None:
    """Rebuilds both in many small batches, while another thread appends without end and the runner projects."""
    rebuild.BATCH, lease.TELL_EVERY_S = Bounds(200, 1_000_000), 0.0
    with Ledger.open_existing(url) as ledger, ReadModels.open(ledger) as models:
        models.start()
        end = threading.Event()
        appending = threading.Thread(target=_append, args=(ledger, models, end), name="appending")
        appending.start()
        try:
            for name in NAMES:
                models.claim_rebuild(name).run()
        finally:
            end.set()
            appending.join()


def replay_quarantine(url: str) -> None:
    """Records what can be read by now, a few at a time, so that there is much to be cut off: `ledger quarantine replay`."""
    ledger_module.QUARANTINE_PAGE = REPLAYED_AT_ONCE
    with Ledger.open_existing(url) as ledger:
        ledger.replay_quarantine()


def upgrade(url: str) -> None:
    """Brings the schema to the version of a program that has some migrations more: `ledger upgrade`."""
    with with_test_migrations():
        database = Database(url)
        schema.upgrade(database)
        database.close()


DEEDS: dict[str, Callable[[str], None]] = {
    "project": project,
    "rebuild-while-appending": rebuild_while_appending,
    "replay-quarantine": replay_quarantine,
    "upgrade": upgrade,
}


def _append(ledger: Ledger, models: ReadModels, end: threading.Event) -> None:
    reception = Reception(None, ledger.partitions)
    traffic = Traffic("appended", Random(1), Journal())
    while not end.is_set():
        ledger.commit([reception.receive((), traffic.next(), now_us=1) for _ in range(FACTS_AN_APPEND)])
        models.wake()
        end.wait(0.001)
