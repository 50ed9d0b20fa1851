"""Threads for one kind of question, so that it never waits for another kind."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

from ledger.errors import StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")


async def in_time(answer: Awaitable[T], within_s: float) -> T:
    """What is answered within the time, or StoreUnavailable: a database may stand still, and whoever asks it with it."""
    try:
        async with asyncio.timeout(within_s):
            return await answer
    except TimeoutError:
        raise StoreUnavailable(f"the database has not answered for {within_s:.0f} s; ask again") from None


class Threads:
    """A few threads, each begun when it is first needed. For one event loop."""

    def __init__(self, at_once_max: int, name: str, within_s: float) -> None:
        self._pool = ThreadPoolExecutor(at_once_max, name)
        self._within_s = within_s

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a question answers, in one of these threads; as `asyncio.to_thread` with its own. StoreUnavailable if not in time."""
        context = copy_context()
        asked = asyncio.get_running_loop().run_in_executor(self._pool, lambda: context.run(question, *args, **kwargs))
        return await in_time(asked, self._within_s)

    def close(self) -> None:
        """Returns once they have ended."""
        self._pool.shutdown()
