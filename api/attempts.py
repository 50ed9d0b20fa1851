"""Failed attempts to authenticate, counted by address: who guesses is told to wait, and a good key is never asked to."""

import ipaddress
from collections import OrderedDict
from threading import Lock

ATTEMPTS_MAX = 100
FORGIVEN_AFTER_S = 1.0
ADDRESSES_MAX = 1_024
NEIGHBOURHOOD_BITS = 64


class FailedAttempts:
    """At most 100 failures at once from an address, one more each second; the addresses seen last are remembered. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        # When the last failure of an address will be forgiven. One number is a whole leaky bucket.
        self._forgiven_at_s: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, address: str, now_s: float) -> float:
        """Counts a failure: 0, or how long this address must wait before it may fail again."""
        place = neighbourhood(address)
        with self._lock:
            forgiven_at_s = max(self._forgiven_at_s.get(place, now_s), now_s) + FORGIVEN_AFTER_S
            excess_s = forgiven_at_s - now_s - ATTEMPTS_MAX * FORGIVEN_AFTER_S
            if excess_s > 0:
                return excess_s
            self._forgiven_at_s[place] = forgiven_at_s
            self._forgiven_at_s.move_to_end(place)
            if len(self._forgiven_at_s) > ADDRESSES_MAX:
                self._forgiven_at_s.popitem(last=False)
            return 0.0

    def __len__(self) -> int:
        return len(self._forgiven_at_s)


def neighbourhood(address: str) -> str:
    """What counts as one address: an IPv6 client has 2^64 of them."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if parsed.version == 4:  # noqa: PLR2004 - the version of the protocol
        return str(parsed)
    return str(ipaddress.ip_network((parsed, NEIGHBOURHOOD_BITS), strict=False))
