"""A pool of threads for code that waits for a database, of the size that STORE_THREADS says."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = int(os.environ.get("STORE_THREADS", "1"))

T = TypeVar("T")
_pool = ThreadPoolExecutor(THREADS)


async def in_thread(call: Callable[..., T], *arguments: object) -> T:
    """What `call` gives, called in one of the threads."""
    return await asyncio.get_running_loop().run_in_executor(_pool, call, *arguments)
