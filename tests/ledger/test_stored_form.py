"""The stored form of events: what was written once is read for ever, and what cannot be read is our own error.

`golden/stored-form-N.json` holds the state of one event of each topic, as hexadecimal digits, and from the second on that of
one that was replayed. A file there is never changed. When an event class gets a new version, or the receipt another field,
the newest file no longer is what we write: add the next one.
"""

import json
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import msgspec
import pytest
from eventsourcing.persistence import StoredEvent
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.errors import UnreadableEvent
from ledger.events import (
    InboundMessageReceived,
    MessageDelivered,
    MessageEvent,
    MessageFailed,
    MessageQueued,
    MessageSent,
    Receipt,
    RequestAccepted,
    UnknownKindReported,
    receipt_of,
    stream_id,
)
from ledger.facts import partition_of
from ledger.mapper import EVENT_CLASSES, EventCodec, MessageMapper, StreamEvent
from ledger.webhooks import fact_key
from tests.builders import NOW_US, sent, signature_of

GOLDEN = sorted(Path(__file__).parent.joinpath("golden").glob("stored-form-*.json"))
BODY = b'{"eventType": "message.sent", "messageId": "msg_abc123", "sequence": 2}'
SIGNED = receipt_of(BODY, signature_of(BODY), NOW_US)
UNSIGNED = Receipt(NOW_US, BODY)

EXAMPLES: list[MessageEvent] = [
    MessageQueued("msg_abc123", 0, None, None, None, UNSIGNED),
    MessageSent("msg_abc123", 2, "order_789", "SM9", 1_732_377_599_000_000, SIGNED),
    MessageDelivered("msg_😀/\n", 2**63 - 1, "order_789", None, None, SIGNED),
    MessageFailed("msg_abc123", 3, None, None, -1, SIGNED),
    InboundMessageReceived("msg_in1", "conv_1", "num_abc123", "+15557654321", "+15551234567", None, SIGNED),
    UnknownKindReported("msg_abc123", "message.read", None, None, SIGNED),
    RequestAccepted("msg_abc123", "idem_1", "QUEUED", "+15551234567", "num_abc123", "order_789", UNSIGNED),
]
REPLAYED = MessageSent("msg_abc123", 2, None, None, None, msgspec.structs.replace(SIGNED, replayed_at_us=NOW_US + 1))
NAMED = {each.TOPIC: each for each in EXAMPLES} | {"message.sent, replayed": REPLAYED}


def test_there_is_an_example_of_every_event_class() -> None:
    assert [type(each) for each in EXAMPLES] == list(EVENT_CLASSES)


def test_what_we_write_today_is_the_newest_golden_file() -> None:
    codec = EventCodec()

    assert {name: codec.encode(each).hex() for name, each in NAMED.items()} == json.loads(GOLDEN[-1].read_text())


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_every_golden_file_that_was_ever_written_is_still_read(file: Path) -> None:
    codec = EventCodec()

    for name, state in json.loads(file.read_text()).items():
        assert codec.decode(NAMED[name].TOPIC, bytes.fromhex(state)) == NAMED[name]


def test_the_ids_of_streams_are_for_ever() -> None:
    assert stream_id("msg_abc123") == UUID("118919b8-f87b-5bc1-b03c-a23fb9f2ce6e")
    assert [partition_of(stream_id("msg_abc123").bytes, each) for each in (1, 4, 1024)] == [0, 0, 440]


def test_fact_keys_are_for_ever() -> None:
    """With another formula whatever is delivered again after an upgrade would be new."""
    said: dict[str, object] = {"b": [1, 1.5, None, True], "a": "\u00e9\u2028"}

    assert {source: fact_key(source, said).hex() for source in ("webhook", "acceptance")} == {
        "webhook": "12436ee303c3721d0379dfd7ccbbc7b9",
        "acceptance": "540ba96a2a6143d32ffdec072dafaec4",
    }


class MessageSentThroughACarrier(MessageSent, frozen=True, array_like=True):
    """Version 2 of an event that might be: it names the carrier."""

    TOPIC: ClassVar[str] = "message.sent"

    carrier: str


class MessageSentThroughCarriers(MessageSent, frozen=True, array_like=True):
    """Version 3 of the same: there may be several."""

    TOPIC: ClassVar[str] = "message.sent"

    carriers: tuple[str, ...]


def name_the_carrier(fields: list[Any]) -> list[Any]:
    return [*fields, "unknown"]


def allow_several(fields: list[Any]) -> list[Any]:
    return [*fields[:-1], [fields[-1]]]


FIRST = EventCodec((MessageSent,), {})
SECOND = EventCodec((MessageSentThroughACarrier,), {"message.sent": (name_the_carrier,)})
THIRD = EventCodec((MessageSentThroughCarriers,), {"message.sent": (name_the_carrier, allow_several)})


def test_a_stored_event_is_brought_up_to_the_newest_version_of_its_class() -> None:
    stored = sent(2)
    now = THIRD.decode("message.sent", FIRST.encode(stored))

    assert isinstance(now, MessageSentThroughCarriers)
    assert (now.sequence, now.receipt, now.carriers) == (2, stored.receipt, ("unknown",))


def test_each_version_is_brought_up_from_where_it_stands() -> None:
    second = SECOND.decode("message.sent", FIRST.encode(sent(2)))
    now = THIRD.decode("message.sent", SECOND.encode(second))

    assert now == THIRD.decode("message.sent", FIRST.encode(sent(2)))
    assert THIRD.decode("message.sent", THIRD.encode(now)) == now


def test_a_version_newer_than_this_program_is_unreadable_and_says_to_upgrade() -> None:
    state = SECOND.encode(SECOND.decode("message.sent", FIRST.encode(sent(2))))

    with pytest.raises(UnreadableEvent, match="stored in version 2, this program knows 1 to 1: upgrade"):
        FIRST.decode("message.sent", state)


def test_a_version_that_never_was_is_unreadable_and_says_that_the_row_is_damaged() -> None:
    with pytest.raises(UnreadableEvent, match=r"stored in version 0, this program knows 1 to 1: its row is damaged"):
        FIRST.decode("message.sent", b"\0" + FIRST.encode(sent(2))[1:])


@pytest.mark.parametrize("topic", ["", "message.unheard-of", "os:system", "ledger.events:MessageSent"])
def test_an_unknown_topic_is_unreadable_and_imports_nothing(topic: str) -> None:
    with pytest.raises(UnreadableEvent, match="unknown topic"):
        EventCodec().decode(topic, EventCodec().encode(sent(2)))


@given(topic=st.sampled_from([each.TOPIC for each in EXAMPLES]), state=st.binary(max_size=60))
@example("message.sent", b"")
@example("message.sent", b"\0")
@example("message.sent", b"\1")
@example("message.sent", b"\1\x97\xa1\xff")
def test_any_bytes_as_a_state_are_an_event_or_unreadable(topic: str, state: bytes) -> None:
    for codec in (EventCodec(), EventCodec(EVENT_CLASSES, {topic: (lambda fields: fields,)})):
        try:
            codec.decode(topic, state)
        except UnreadableEvent:
            continue


def test_an_unreadable_state_is_told_without_the_values_in_it() -> None:
    def upcast(fields: list[Any]) -> list[Any]:
        return [{}[fields[0]]]

    codec = EventCodec(upcasts={"message.sent": (upcast,)})
    with pytest.raises(UnreadableEvent) as raised:
        codec.decode("message.sent", b"\1" + msgspec.msgpack.encode(["Call me at +15551234567"]))

    assert str(raised.value) == "the stored state of message.sent is broken: KeyError"


@given(fields=st.lists(st.none() | st.integers(-9, 9) | st.text(max_size=3), max_size=8))
def test_an_old_state_that_is_broken_is_unreadable_whatever_its_upcast_trips_over(fields: list[object]) -> None:
    def upcast(old: list[Any]) -> list[Any]:
        return [old[0].upper(), *old[1:5], {"receipt": old[5]}["receipt"], "unknown"]

    codec = EventCodec((MessageSentThroughACarrier,), {"message.sent": (upcast,)})
    with pytest.raises(UnreadableEvent):
        codec.decode("message.sent", b"\1" + msgspec.msgpack.encode(fields))


@pytest.mark.parametrize("event", NAMED.values(), ids=list(NAMED))
def test_an_event_comes_back_from_the_library_s_mapper_as_it_went_in(event: MessageEvent) -> None:
    mapper = MessageMapper(EventCodec())
    placed = StreamEvent(stream_id(event.message_id), 7, event)
    stored = mapper.to_stored_event(placed)

    assert stored == StoredEvent(placed.originator_id, 7, event.TOPIC, EventCodec().encode(event))
    assert mapper.to_domain_event(stored) == placed
