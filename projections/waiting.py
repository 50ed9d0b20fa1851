"""Who waits for a read model to reach a position, and who tells them.

In the runner's own process a waiter is told at once; beside another process's runner it asks the checkpoint again and again.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import NamedTuple

from ledger.positions import Position

ASK_AGAIN_S = 0.01
ASK_AGAIN_BESIDE_OUR_RUNNER_S = 0.25


class Waiter(NamedTuple):
    """Somebody who waits for a projection to reach a position."""

    name: str
    position: Position
    loop: asyncio.AbstractEventLoop
    told: asyncio.Event


class Waiters:
    """Those who wait in this process. `reached` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Waiter] = []

    def reached(self, name: str, partition: int, number: int) -> None:
        """Tells those who wait for this position or an earlier one. Cheap where nobody waits."""
        if not self._waiting:
            return
        with self._lock:
            due = [
                each for each in self._waiting if each.name == name and _is_reached(each.position, partition, number)
            ]
        for waiter in due:
            try:
                waiter.loop.call_soon_threadsafe(waiter.told.set)
            except RuntimeError:
                continue  # its event loop has ended, and with it whoever waited there

    async def wait(
        self, name: str, position: Position, *, is_reached: Callable[[], bool], ask_again_s: float, timeout_s: float
    ) -> bool:
        """Whether `is_reached` became true within the time. It is asked off the event loop."""
        waiter = Waiter(name, position, asyncio.get_running_loop(), asyncio.Event())
        # Listen first and look afterwards: what is reached in between is not missed.
        with self._lock:
            self._waiting.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                while not await asyncio.to_thread(is_reached):
                    await _told_or_time(waiter.told, ask_again_s)
        except TimeoutError:
            return False
        finally:
            with self._lock:
                self._waiting.remove(waiter)
        return True


async def _told_or_time(told: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await told.wait()
        told.clear()
    except TimeoutError:
        return


def _is_reached(wanted: Position, partition: int, number: int) -> bool:
    return wanted.partition == partition and wanted.number <= number
