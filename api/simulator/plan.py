"""What a simulation is to do: every option of `ledger simulate`, checked before anything starts."""

import math
import re
from dataclasses import dataclass, field

import httpx2

from api.simulator.signing import read_secret
from ledger.errors import SettingRefused
from ledger.times import read_rfc3339

MESSAGES_MAX = 1_000_000
CONNECTIONS_MAX = 1_000
START_DEFAULT = "2026-01-01T00:00:00Z"
RETRY_AFTER_S = (60, 5 * 60, 15 * 60, 60 * 60)
"""Red Cloud's waits before the second to the fifth attempt; after that it gives up."""
SPEED_UP_DEFAULT = sum(RETRY_AFTER_S) / 10
"""All waits together then take ten seconds, which is long enough for a server to come back."""

_API_KEY = re.compile("[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The options of a simulation. SettingRefused names the option, what was expected and what was found.

    `secret` is `id:secret` or the secret alone; `inbound`, `duplicates` and `drop` are shares from 0 to 1; `rate` is in
    deliveries a second (None: as fast as they are answered); `speed_up` divides the provider's waits (`inf`: no wait at
    all); `start` is RFC 3339: when the first message happened, so that a seed alone decides every byte. `live`: all of it
    happens within seconds from `start` on, and nothing is delivered before it has happened.
    """

    url: str
    secret: str = field(repr=False)
    messages: int
    seed: int = 0
    start: str = START_DEFAULT
    live: bool = False
    inbound: float = 0.2
    shuffle: bool = False
    duplicates: float = 0.0
    drop: float = 0.0
    rate: float | None = None
    connections: int = 16
    speed_up: float = SPEED_UP_DEFAULT
    sends: bool = False
    audit: bool = True
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _check_url(self.url)
        read_secret(self.secret)
        _check_count("--messages", self.messages, MESSAGES_MAX)
        _check_count("--connections", self.connections, CONNECTIONS_MAX)
        if read_rfc3339(self.start) is None:
            raise SettingRefused(f"--start: expected RFC 3339 with a zone ({START_DEFAULT}), found {self.start!r}")
        for option, share in (("--inbound", self.inbound), ("--duplicates", self.duplicates), ("--drop", self.drop)):
            if not 0 <= share <= 1:
                raise SettingRefused(f"{option}: expected a share from 0 to 1, found {share}")
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise SettingRefused(f"--rate: expected deliveries a second above 0, found {self.rate}")
        if not self.speed_up > 0:
            raise SettingRefused(f"--speed-up: expected a factor above 0, found {self.speed_up}")
        if self.api_key is not None and _API_KEY.fullmatch(self.api_key) is None:
            raise SettingRefused("--api-key: expected visible ASCII characters, found others or none")

    @property
    def key(self) -> bytes:
        """What the provider signs with."""
        return read_secret(self.secret)

    @property
    def start_us(self) -> int:
        """When the first message happened, in microseconds since 1970."""
        return read_rfc3339(self.start) or 0

    @property
    def waits_s(self) -> tuple[float, ...]:
        """The provider's waits before each further attempt, sped up."""
        return tuple(wait_s / self.speed_up for wait_s in RETRY_AFTER_S)


def _check_url(url: str) -> None:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise SettingRefused(f"--url: expected the server's base URL, found {url!r} ({error})") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise SettingRefused(f"--url: expected a base URL such as http://127.0.0.1:8080, found {url!r}")


def _check_count(option: str, count: int, count_max: int) -> None:
    if not 1 <= count <= count_max:
        raise SettingRefused(f"{option}: expected a whole number from 1 to {count_max}, found {count}")
