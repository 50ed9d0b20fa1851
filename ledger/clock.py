"""The wall clock, which everything outside the pure core asks unless it is given another."""

import time


def now_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000
