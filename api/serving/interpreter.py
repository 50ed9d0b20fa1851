"""How Python itself is set while a process of ours works: when it looks for garbage, and how long a thread's turn is."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# The writer threads and the event loop share the interpreter's lock. At the default of 5 ms a writer that comes back from the
# disk waits that long for a busy event loop; measured: 0.5 ms brings 10 % more webhooks/s.
SWITCH_INTERVAL_S = 0.0005

# Our values are trees that reference counting frees; a full look at what the projections remember takes 20 ms and more.
COLLECTION_THRESHOLDS = (20_000, 10, 50)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Garbage is looked for seldom, and never among what was there before: at Python's default p99 is twice as long."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTION_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextmanager
def short_turns() -> Iterator[None]:
    """Threads take shorter turns than Python's default, while this lasts."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)
