"""What holds with one partition holds with the most that a ledger may have, and takes no time that grows with their square."""

from collections.abc import Iterator

import pytest
from sqlalchemy import update

from ledger.positions import Cursor, Position
from ledger.store.schema import PARTITIONS_MAX
from ledger.verification import verify
from projections.inbound_conversations import CONVERSATIONS, INBOUND_CONVERSATIONS
from projections.message_status import MESSAGE_STATUS
from projections.register import live
from tests.projections.scene import Scene, inbound, outbound

MESSAGES, CONVERSATIONS_BEGUN = 400, 40


@pytest.fixture
def scene(store_url: str) -> Iterator[Scene]:
    # PostgreSQL, which has no limits of its own that are near, takes a round trip for each of them.
    with Scene(store_url, partitions=PARTITIONS_MAX if store_url.startswith("sqlite") else 128) as opened:
        opened.deliver(*(outbound("sent", f"msg_{number}", 2) for number in range(MESSAGES)))
        opened.deliver(
            *(
                inbound(f"in_{number}", conversationId=f"conv_{number % CONVERSATIONS_BEGUN}")
                for number in range(MESSAGES)
            )
        )
        yield opened


def test_a_ledger_of_the_most_partitions_stores_shows_compares_and_verifies(scene: Scene) -> None:
    models = scene.read_models
    models.catch_up()
    again = scene.deliver(*(outbound("sent", f"msg_{number}", 2) for number in range(MESSAGES)))

    shown, cursor = list[Position](), Cursor.start(scene.ledger.partitions)
    while len(shown) < 2 * MESSAGES:
        page, cursor = scene.ledger.feed(cursor, 300)
        shown += [entry.position for entry in page]
    assert len(set(shown)) == 2 * MESSAGES
    assert scene.ledger.feed(cursor, 300) == ([], cursor)
    assert len(set(again)) == MESSAGES
    assert [each.lag_events for each in models.projections()] == [0, 0]
    assert models.current_status("msg_7").message.sequence == 2
    assert verify(scene.ledger).findings == ()

    with models.stores.rows.writing() as connection:
        generation, _ = live(connection, INBOUND_CONVERSATIONS)
        table = CONVERSATIONS.table(generation)
        connection.execute(update(table).where(table.c.conversation_id == "conv_3").values(last_message_at_us=7))
    for name, differing in ((INBOUND_CONVERSATIONS, 1), (MESSAGE_STATUS, 0)):
        report = models.claim_rebuild(name).run()
        assert report.rows_differing == differing
