"""Who waits for a read model to reach a position, and who finds out for all of them.

One question finds out for everyone who waits for a read model on an event loop, and none is asked while nobody waits. The
runner of our own process says when to ask; beside another process's runner it is asked again and again.
"""

import asyncio
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from contextvars import Context

from ledger.positions import Position

ASK_AGAIN_S = 0.01
ASK_AGAIN_BESIDE_OUR_RUNNER_S = 0.25
REST_S = 0.002
"""Between two questions, however many begin to wait meanwhile."""

HowFar = Callable[[str], Sequence[int]]
"""The position of a projection in each partition."""


class Watch:
    """Those who wait for one projection on one event loop, each for a position, and told nothing or why it cannot be found out."""

    def __init__(self) -> None:
        self.waiting: dict[asyncio.Future[Exception | None], Position] = {}
        self.stirred = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def waits_for(self, partition: int, number: int) -> bool:
        """Whether somebody waits for this position or an earlier one."""
        return any(each.partition == partition and each.number <= number for each in self.waiting.values())


class Waiters:
    """Those who wait in this process. `reached` may be called from any thread."""

    def __init__(self, how_far: HowFar) -> None:
        self._how_far = how_far
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, AbstractEventLoop], Watch] = {}

    def reached(self, name: str, partition: int, number: int) -> None:
        """Has those told who wait for this position or an earlier one. Cheap where nobody waits."""
        if not self._waiting:
            return
        with self._lock:
            due = [
                (loop, watch.stirred)
                for (watched, loop), watch in self._waiting.items()
                if watched == name and watch.waits_for(partition, number)
            ]
        for loop, stirred in due:
            try:
                loop.call_soon_threadsafe(stirred.set)
            except RuntimeError:
                continue  # its event loop has ended, and with it whoever waited there

    async def wait(self, name: str, position: Position, *, ask_again_s: float, timeout_s: float) -> bool:
        """Whether a projection reached a position within the time. Asks how far it is off the event loop; raises what that does."""
        told: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        watch = self._join(name, position, told, ask_again_s)
        try:
            async with asyncio.timeout(timeout_s):
                error = await told
        except TimeoutError:
            return False
        finally:
            with self._lock:
                watch.waiting.pop(told, None)
        if error is not None:
            raise error.with_traceback(None)  # of all who are told the same one
        return True

    def _join(self, name: str, position: Position, told: asyncio.Future[Exception | None], ask_again_s: float) -> Watch:
        loop = asyncio.get_running_loop()
        with self._lock:
            watch = self._waiting.setdefault((name, loop), Watch())
            watch.waiting[told] = position
        if watch.task is None:
            # In a context of its own: it asks for all of them, and not for whoever came first.
            watch.task = loop.create_task(self._follow(name, watch, ask_again_s), context=Context())
        watch.stirred.set()
        return watch

    async def _follow(self, name: str, watch: Watch, ask_again_s: float) -> None:
        """Asks until nobody waits any more."""
        try:
            while watch.waiting:
                watch.stirred.clear()
                await self._find_out(name, watch)
                await asyncio.sleep(REST_S)
                if watch.waiting:
                    await _stirred_or_time(watch.stirred, ask_again_s)
        finally:
            with self._lock:
                del self._waiting[name, asyncio.get_running_loop()]

    async def _find_out(self, name: str, watch: Watch) -> None:
        try:
            numbers, error = await asyncio.to_thread(self._how_far, name), None
        except Exception as found:  # noqa: BLE001 - raised again by whoever waits
            numbers, error = [], found
        with self._lock:
            due = [
                told
                for told, (partition, number) in watch.waiting.items()
                if error is not None or (partition < len(numbers) and number <= numbers[partition])
            ]
            for told in due:
                del watch.waiting[told]
        for told in due:
            if not told.done():
                told.set_result(error)


async def _stirred_or_time(stirred: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stirred.wait()
    except TimeoutError:
        return
