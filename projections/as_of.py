"""A message folded from the log: as it is now, going on from what the read model has of it, or as it was known at a moment."""

from ledger.clock import now_us
from ledger.errors import MalformedQuestion, NotFound, UnreadableEvent
from ledger.events import MessageEvent, stream_key
from ledger.facts import partition_of
from ledger.ledger import Ledger
from ledger.log_entries import WHY_UNREADABLE
from ledger.message import Fold
from ledger.positions import Position
from ledger.store import reads
from projections.projecting import is_poison
from projections.queries_messages import MessageStatus


def status_now(ledger: Ledger, message_id: str, held: MessageStatus | None) -> MessageStatus:
    """The status of a message after every event of it that the log has; `held` is the row of it that was read before. NotFound.

    The log is read last, so no answer is older than one that anybody had before, however far behind the read model is, and
    whatever it goes on with. An event that cannot be folded is told (`parked_from`), with the message as it was before it.
    It ends with the message's last event: what a read model that is far behind lacks of a very long one takes its time.
    """
    stream = stream_key(message_id)
    partition = partition_of(stream, ledger.partitions)
    folded, position = (Fold(), None) if held is None else (Fold(held.message), held.position)
    parked_from: Position | None = None
    with ledger.database.asking() as connection:
        for row in reads.between(connection, partition, stream, folded.event_count):
            here = Position(partition, row.position)
            try:
                folded.add(ledger.codec.decode(row.topic, bytes(row.state)))
            except Exception as error:
                if not is_poison(error):
                    raise
                parked_from = here
                break
            position = here
    if position is not None:
        return MessageStatus(folded.message(), position, parked_from)
    if parked_from is None:
        raise NotFound(f"nothing is known of message {message_id!r}")
    raise NotFound(
        f"nothing can be told of message {message_id!r}: its event at {parked_from} cannot be read, which its history shows;"
        f" {WHY_UNREADABLE}"
    )


def status_as_of(ledger: Ledger, message_id: str, as_of: Position | int) -> MessageStatus:
    """The status as the ledger knew it at a position, or at a time in microseconds since 1970, folded from the log.

    NotFound before the first event, MalformedQuestion for a position that the log has not reached. Events are known in the
    order of the log, however our clock was set: one that was recorded by a clock that had gone back is known with the one
    before it, and one from the future with the next whose time has come.
    UnreadableEvent where one that cannot be read was known then, or may have been: without it the answer could be wrong.
    """
    stream = stream_key(message_id)
    partition = partition_of(stream, ledger.partitions)
    if isinstance(as_of, Position) and as_of.partition != partition:
        raise MalformedQuestion(
            f"position {as_of} is in another partition than message {message_id!r}, which is in {partition}"
        )
    asked_at_us = now_us()
    folded, known_at = Fold(), None
    unsure: list[MessageEvent] = []
    with ledger.database.reading() as connection:
        if isinstance(as_of, Position):
            _expect_reached(as_of, reads.heads(connection)[partition].position)
        for row in reads.between(connection, partition, stream, 0):
            if isinstance(as_of, Position) and row.position > as_of.number:
                break
            try:
                event = ledger.codec.decode(row.topic, bytes(row.state))
            except UnreadableEvent as error:
                raise _untold(Position(partition, row.position), known_at, str(error)) from error
            was_known = _was_known(as_of, event.receipt.recorded_at_us, asked_at_us)
            if was_known is False:
                break
            unsure.append(event)
            if was_known:
                for each in unsure:
                    folded.add(each)
                known_at, unsure = Position(partition, row.position), []
    if known_at is None:
        raise NotFound(f"the ledger knew nothing of message {message_id!r} then")
    return MessageStatus(folded.message(), known_at)


def _expect_reached(as_of: Position, end: int) -> None:
    """What comes up to there is not known yet: the answer would be another one later."""
    if as_of.number > end:
        raise MalformedQuestion(
            f"position {as_of} is beyond the end of the log, which is {Position(as_of.partition, end)} there by now"
        )


def _was_known(as_of: Position | int, recorded_at_us: int, asked_at_us: int) -> bool | None:
    """Whether an event up to the position was in the log then; None where its time does not tell, because it is still to come."""
    if isinstance(as_of, Position) or as_of >= asked_at_us:
        return True
    return None if recorded_at_us > asked_at_us else recorded_at_us <= as_of


def _untold(position: Position, known_at: Position | None, reason: str) -> UnreadableEvent:
    before = "nothing of the message was known before it" if known_at is None else f"as of {known_at} it can be told"
    return UnreadableEvent(
        f"the event at {position} cannot be read, so what was known from there on cannot be told; {before}. "
        f"{reason}; {WHY_UNREADABLE}"
    )
