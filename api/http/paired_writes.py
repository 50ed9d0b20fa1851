"""What is written to one connection, as few system calls."""

import asyncio
from collections.abc import Callable


class PairedWrites:
    """What uvicorn uses of a transport; a piece that is written waits for the next one until the turn of the event loop ends.

    uvicorn writes the head of an answer and its body apart, and uvloop would make a system call of each. No more than one
    piece is held, so that whoever writes much is told to pause in time.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, is_read_on: Callable[[], bool]
    ) -> None:
        """`is_read_on` says, where it is to be closed, whether what still comes is read first."""
        self._transport = transport
        self._is_read_on = is_read_on
        self._loop = loop
        self._held: bytes | None = None
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.abort = transport.abort
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, piece: bytes) -> None:
        """Sends a piece, with the one that is held; or holds it."""
        if self._held is None:
            self._held = piece
            self._loop.call_soon(self._send_held)
        else:
            held, self._held = self._held, None
            self._transport.writelines((held, piece))

    def close(self) -> None:
        """Closes, once everything is sent; at first the way out alone, where what still comes is read."""
        self._send_held()
        if self._is_read_on():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _send_held(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._transport.write(held)
