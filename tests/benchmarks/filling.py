"""How a ledger is filled: facts made by processes of their own, committed in large batches, and projected in large ones.

Every row is written by the ledger's own code, and every commit is durable; only HTTP and the crowd of small commits are left out.
"""

import gc
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import islice
from multiprocessing import get_context, parent_process

from api.serving.interpreter import rare_collections
from ledger.facts import Item
from ledger.ledger import Ledger
from projections.inbound_conversations import InboundConversationsProjection
from projections.message_status import MessageStatusProjection
from projections.projecting import Projector
from projections.read_models import ReadModels
from projections.rebuild import BATCH
from projections.register import live
from tests.benchmarks.measuring import tell

PARTS_AHEAD = 6
"""So many parts are made before they are asked for: what bounds the memory."""

ALONE_PARTS_MAX = 4
"""So few parts are made sooner than a process starts."""

TELL_EVERY = 100


def made_ahead(make: Callable[[int], list[Item]], parts: Sequence[int]) -> Iterator[list[Item]]:
    """What `make` gives for each part, in their order; made while the caller stores what was made before."""
    if len(parts) <= ALONE_PARTS_MAX:
        yield from map(make, parts)
        return
    with _makers(os.cpu_count() or 1) as pool:
        left = iter(parts)
        ahead = deque(pool.submit(make, part) for part in islice(left, PARTS_AHEAD))
        while ahead:
            made = ahead.popleft().result()
            ahead.extend(pool.submit(make, part) for part in islice(left, 1))
            yield made


def store(urls: Sequence[str], parts: Iterable[Sequence[Item]], *, batch: int | None = None) -> None:
    """Commits to each of some ledgers of one partition: a part at once, or so many facts of it. Then makes the read models."""
    count = 0
    with rare_collections(), ExitStack() as stack:
        ledgers = [stack.enter_context(Ledger.open(url, partitions=1)) for url in urls]
        for ledger in ledgers:
            ledger.database.move_beside_commits()
        for count, part in enumerate(parts, start=1):
            for ledger in ledgers:
                _commit(ledger, part, batch or len(part))
            if count % TELL_EVERY == 0:
                tell(f"    {sum(head.position for head in ledgers[0].heads()):,} events")
        for ledger in ledgers:
            ledger.database.tidy()
    if count <= ALONE_PARTS_MAX:
        for url in urls:
            project(url)
        return
    with _makers(len(urls)) as pool:
        list(pool.map(project, urls))


def _commit(ledger: Ledger, part: Sequence[Item], batch: int) -> None:
    for first in range(0, len(part), batch):
        ledger.commit(part[first : first + batch])


def project(url: str) -> None:
    """Projects all that a ledger has into its read models, in batches as large as those of a rebuild."""
    with ExitStack() as stack:
        stack.enter_context(rare_collections())
        ledger = stack.enter_context(Ledger.open_existing(url))
        stores = stack.enter_context(ReadModels.open(ledger)).stores
        stores.rows.move_beside_commits()
        for projection in (MessageStatusProjection(), InboundConversationsProjection(ledger.partitions)):
            with stores.rows.reading() as connection:
                generation = live(connection, projection.name).generation
                projector = Projector(stores.rows, stores.log, stores.codec, projection, generation, 0)
                at = projector.position(connection)
            while (batch := projector.batch(at.position, BATCH)).events:
                at = projector.apply(batch)
        stores.rows.tidy()


@contextmanager
def _makers(count: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes that do what they are given; what waits is not begun once the block ends."""
    # Spawned: a fork would take along the connections of who stores.
    with ProcessPoolExecutor(count, get_context("spawn"), initializer=_begin) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    gc.disable()  # what is made are trees, which need no search for garbage
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """Whoever fills may be killed, and would otherwise leave us waiting for ever."""
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)
