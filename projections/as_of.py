"""A message folded from the log: as the ledger knew it at a moment that has passed, or now, where no read model has it yet."""

from ledger.errors import MalformedQuestion, NotFound, UnreadableEvent
from ledger.events import stream_key
from ledger.facts import partition_of
from ledger.ledger import Ledger
from ledger.log_entries import WHY_UNREADABLE
from ledger.message import Fold
from ledger.positions import Position
from ledger.store.reads import events_of_stream
from projections.queries_messages import MessageStatus
from projections.register import now_us

FOLD_PAGE = 500


def status_in_log(ledger: Ledger, message_id: str) -> MessageStatus:
    """The status of a message by all of its events that the log has; NotFound where it has none, else as `status_as_of`."""
    partition = partition_of(stream_key(message_id), ledger.partitions)
    try:
        return status_as_of(ledger, message_id, Position(partition, ledger.heads()[partition].position))
    except NotFound:
        raise NotFound(f"nothing is known of message {message_id!r}") from None


def status_as_of(ledger: Ledger, message_id: str, as_of: Position | int) -> MessageStatus:
    """The status as the ledger knew it at a position, or at a time in microseconds since 1970, folded from the log.

    NotFound before the first event. Events are known in the order of the log, however our clock was set: one that was received
    by a clock that had gone back is known with the one before it, and one from the future with the next whose time has come.
    UnreadableEvent where one that cannot be read was known then, or may have been: without it the answer could be wrong.
    """
    stream = stream_key(message_id)
    partition = partition_of(stream, ledger.partitions)
    if isinstance(as_of, Position) and as_of.partition != partition:
        raise MalformedQuestion(
            f"position {as_of} is in another partition than message {message_id!r}, which is in {partition}"
        )
    asked_at_us = now_us()
    folded, known, version = Fold(), None, 0
    with ledger.database.reading() as connection:
        while rows := events_of_stream(connection, partition, stream, after_version=version, limit=FOLD_PAGE):
            for row in rows:
                if isinstance(as_of, Position) and row.position > as_of.number:
                    return _known(known, message_id)
                try:
                    event = ledger.codec.decode(row.topic, bytes(row.state))
                except UnreadableEvent as error:
                    raise _untold(Position(partition, row.position), known, str(error)) from error
                was_known = _was_known(as_of, event.receipt.received_at_us, asked_at_us)
                if was_known is False:
                    return _known(known, message_id)
                folded.add(event)
                if was_known:
                    known = MessageStatus(folded.message(), Position(partition, row.position))
                version = row.version
    return _known(known, message_id)


def _was_known(as_of: Position | int, received_at_us: int, asked_at_us: int) -> bool | None:
    """Whether an event up to the position was in the log then; None where its time does not tell, because it is still to come."""
    if isinstance(as_of, Position) or as_of >= asked_at_us:
        return True
    return None if received_at_us > asked_at_us else received_at_us <= as_of


def _known(known: MessageStatus | None, message_id: str) -> MessageStatus:
    if known is None:
        raise NotFound(f"the ledger knew nothing of message {message_id!r} then")
    return known


def _untold(position: Position, known: MessageStatus | None, reason: str) -> UnreadableEvent:
    before = "nothing of the message was known before it" if known is None else f"as of {known.position} it can be told"
    return UnreadableEvent(
        f"the event at {position} cannot be read, so what was known from there on cannot be told; {before}. "
        f"{reason}; {WHY_UNREADABLE}"
    )
