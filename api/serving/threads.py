"""Threads for one kind of question, so that it never waits for another kind."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A few threads, each begun when it is first needed. For one event loop."""

    def __init__(self, at_once_max: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(at_once_max, name)

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a question answers, in one of these threads; as `asyncio.to_thread` with its own."""
        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, lambda: context.run(question, *args, **kwargs)
        )

    def close(self) -> None:
        """Returns once they have ended."""
        self._pool.shutdown()
