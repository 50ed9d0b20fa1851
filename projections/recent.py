"""Messages folded a moment ago, so that their next events need no query; as many as have room.

What a message holds is about what its encoding does, whatever the provider sent: bodies of failures above all.
"""

from collections.abc import Iterable

from ledger.message import Message

RECENT_BYTES_MAX = 32 * 1024 * 1024
"""For all that a runner follows: each read model in each partition has its part of it."""

MESSAGE_BYTES = 500
"""What a message takes besides the text in it."""


class Recent:
    """Messages by stream, within a bound that only what is not written yet may exceed."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._messages: dict[bytes, tuple[Message, int]] = {}
        self.held_bytes = 0

    def get(self, stream: bytes) -> Message | None:
        """The message, if it is still known."""
        found = self._messages.get(stream)
        return None if found is None else found[0]

    def remember(self, messages: Iterable[tuple[bytes, Message, int]]) -> None:
        """Keeps these messages (each with the length of its encoding), which may not be written yet; earlier ones have been."""
        self.trim()
        for stream, message, encoded_bytes in messages:
            _, before_bytes = self._messages.get(stream, (None, 0))
            size = encoded_bytes + MESSAGE_BYTES
            self._messages[stream] = message, size
            self.held_bytes += size - before_bytes

    def trim(self) -> None:
        """Forgets everything, all of which is written, if it is too much."""
        if self.held_bytes > self._bytes_max:
            self.forget()

    def forget(self) -> None:
        """Forgets everything."""
        self._messages = {}
        self.held_bytes = 0
